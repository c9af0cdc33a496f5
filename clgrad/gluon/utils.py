"""``mx.gluon.utils``: batches over several devices, norms of gradients, files."""

import hashlib
import math
import os
import warnings
from collections.abc import Sequence

from clgrad import nd
from clgrad.array import NDArray
from clgrad.device import Context, as_context
from clgrad.errors import AbsentError, OperatorTypeError, argument_error
from clgrad.gluon.arguments import number
from clgrad.gluon.resume import Checkpoint
from clgrad.ops.multi_optimizer import multi_scale

__all__ = ["Checkpoint", "check_sha1", "clip_global_norm", "download", "split_and_load", "split_data"]


def split_data(
    data: NDArray, num_slice: int, batch_axis: int = 0, even_split: bool = True
) -> list[NDArray]:
    """Parts of an array along an axis.

    Parameters
    ----------
    data : NDArray
    num_slice : int
        How many parts.
    batch_axis : int
    even_split : bool
        Whether all parts must be of the same size; else the first ones are larger by 1, where it does not
        divide evenly, and the last ones are empty, where there are more parts than elements.

    Raises
    ------
    OperatorError
        The axis cannot be divided evenly, although it must be.

    Examples
    --------
    >>> import clgrad as mx
    >>> [a.shape for a in mx.gluon.utils.split_data(mx.nd.zeros((7, 2)), 3, even_split=False)]
    [(3, 2), (2, 2), (2, 2)]
    """
    if not isinstance(num_slice, int) or num_slice < 1:
        raise argument_error("split_data", "num_slice", repr(num_slice), "a whole number of at least 1")
    if not isinstance(data, NDArray):
        raise OperatorTypeError(f"split_data: data is {type(data).__name__}; accepted: NDArray")
    if not isinstance(batch_axis, int) or not -data.ndim <= batch_axis < data.ndim:
        raise argument_error("split_data", "batch_axis", batch_axis, f"an axis of {data.shape}")
    size = data.shape[batch_axis]
    if even_split and size % num_slice:
        accepted = f"a multiple of {num_slice}, the num_slice; or even_split=False"
        raise argument_error("split_data", "the size of data", f"{size} along axis {batch_axis}", accepted)
    if num_slice == 1:
        return [data]
    least, larger = divmod(size, num_slice)
    ends = [least * (i + 1) + min(i + 1, larger) for i in range(num_slice)]
    return [
        nd.slice_axis(data, axis=batch_axis, begin=begin, end=end)
        for begin, end in zip([0, *ends[:-1]], ends, strict=True)
    ]


def split_and_load(
    data, ctx_list: Context | Sequence[Context], batch_axis: int = 0, even_split: bool = True
) -> list[NDArray]:
    """Parts of an array along an axis, one on each context.

    Parameters
    ----------
    data : NDArray, or what ``nd.array`` takes
    ctx_list : list of Context
    batch_axis, even_split
        As for :func:`split_data`.
    """
    contexts = [as_context(c) for c in ([ctx_list] if isinstance(ctx_list, Context) else ctx_list)]
    if not contexts:
        raise argument_error("split_and_load", "ctx_list", "empty", "at least one context")
    if not isinstance(data, NDArray):
        data = nd.array(data, ctx=contexts[0])
    parts = split_data(data, len(contexts), batch_axis, even_split)
    return [part.as_in_context(c) for part, c in zip(parts, contexts, strict=True)]


def clip_global_norm(arrays: Sequence[NDArray], max_norm: float, check_isfinite: bool = True):
    """Scale arrays in place by max_norm / (norm + 1e-8), if that is below 1; norm is that of all together.

    Pascanu, Mikolov & Bengio, On the difficulty of training recurrent neural networks, 2013.

    Parameters
    ----------
    arrays : list of NDArray
        Of floating-point dtypes, on any devices.
    max_norm : float
    check_isfinite : bool
        Read the norm on the host, and warn if it is infinite or NaN.

    Returns
    -------
    float, or NDArray of shape (1,)
        The norm before: an array, without waiting for the device, where it is not to be checked.

    Examples
    --------
    >>> import clgrad as mx
    >>> arrays = [mx.nd.array([3.0]), mx.nd.array([0.0, 4.0])]
    >>> mx.gluon.utils.clip_global_norm(arrays, 1.0)
    5.0
    >>> arrays[1].asnumpy().round(3)
    array([0. , 0.8], dtype=float32)
    """
    arrays = list(arrays)
    if not arrays or not all(isinstance(a, NDArray) for a in arrays):
        kinds = ", ".join(sorted({type(a).__name__ for a in arrays})) or "empty"
        raise OperatorTypeError(f"clip_global_norm: arrays is {kinds}; accepted: a list of NDArray")
    if not number("clip_global_norm", "max_norm", max_norm) > 0:
        raise argument_error("clip_global_norm", "max_norm", repr(max_norm), "a number above 0")
    groups: dict[tuple, list[NDArray]] = {}
    for array in arrays:
        groups.setdefault((array.context, array._view.dtype), []).append(array)
    first = arrays[0].context
    sums = [nd.multi_sum_sq(*same, num_arrays=len(same)).sum() for same in groups.values()]
    total = nd.add_n(*(s.as_in_context(first).astype("float32") for s in sums)).sqrt()
    scale = nd.minimum(max_norm / (total + 1e-8), 1.0)
    norm = float(total.asscalar()) if check_isfinite else total
    if check_isfinite and not math.isfinite(norm):
        warnings.warn(f"clip_global_norm: the norm is {norm}; the arrays are scaled by it", stacklevel=2)
    for (context, _), same in groups.items():
        multi_scale(*same, scale.as_in_context(context), out=same)
    return norm


def check_sha1(filename: str | os.PathLike, sha1_hash: str) -> bool:
    """Whether a file's SHA-1 hash, in hexadecimal digits, is this one."""
    digest = hashlib.sha1(usedforsecurity=False)
    with open(filename, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == sha1_hash


def download(url: str, path=None, overwrite=False, sha1_hash=None, retries=5, verify_ssl=True) -> str:
    """Refused: clgrad opens no connections. Fetch a file by other means, and check it by ``check_sha1``."""
    raise AbsentError(f"gluon.utils.download: {url}: clgrad opens no connections; fetch it by other means")
