"""What transforms have in common, and those of elements: dtypes, scales, and several in a row."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from clgrad import dtypes, host_random, nd
from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError, argument_error
from clgrad.gluon.block import Block
from clgrad.gluon.data.dataset import takes_numpy
from clgrad.gluon.nn import Sequential


def constant(values: Any, x: Any, dtype: Any = np.float32) -> Any:
    """Numbers as an array of x's kind."""
    host = np.asarray(values, np.float32)
    return host.astype(dtype) if isinstance(x, np.ndarray) else nd.array(host, x.context, dtype)


def check_picture(owner: object, x: Any) -> None:
    """Refuse what is not one picture, (height, width, channels)."""
    if x.ndim != 3:
        accepted = "(height, width, channels)"
        raise argument_error(type(owner).__name__, "x", f"of shape {x.shape}", accepted)


class Compose(Sequential):
    """Transforms one after the other.

    Parameters
    ----------
    transforms : list of Block

    Examples
    --------
    >>> import clgrad as mx
    >>> transforms = mx.gluon.data.vision.transforms
    >>> prepare = transforms.Compose([transforms.Resize(8), transforms.ToTensor()])
    >>> prepare(mx.nd.ones((16, 12, 3), dtype="uint8")).shape
    (3, 8, 8)
    """

    def __init__(self, transforms: Sequence[Block]):
        super().__init__()
        self.add(*transforms)

    @property
    def takes_numpy(self) -> bool:
        """Whether all transforms take numpy arrays."""
        return all(map(takes_numpy, self._children.values()))


class RandomApply(Compose):
    """All of some transforms, or none of them.

    Parameters
    ----------
    transforms : Block or list of Block
    p : float, default 0.5
        How probable it is that they are applied.
    """

    def __init__(self, transforms: Block | Sequence[Block], p: float = 0.5):
        super().__init__([transforms] if isinstance(transforms, Block) else transforms)
        self.p = p

    def forward(self, x):
        """Apply them or not."""
        return super().forward(x) if host_random.source().uniform() < self.p else x


class Transform(Block):
    """A transform that takes NDArrays and numpy arrays."""

    takes_numpy = True

    def __call__(self, *args):
        """Run it on a picture; what follows that one in a sample is handed through."""
        for x in args[:1]:
            if not isinstance(x, NDArray | np.ndarray):
                raise OperatorTypeError(
                    f"{type(self).__name__}: x is {type(x).__name__}; accepted: NDArray or numpy.ndarray"
                )
        if len(args) > 1:
            return (super().__call__(args[0]), *args[1:])
        return super().__call__(*args)


class Cast(Transform):
    """Another dtype.

    Parameters
    ----------
    dtype : str or type, default 'float32'
    """

    def __init__(self, dtype="float32"):
        super().__init__()
        self._to = dtypes.resolve(dtype, "Cast")

    def forward(self, x):
        """Convert."""
        return x.astype(self._to)


class ToTensor(Transform):
    """x / 255 as float32, with channels first: (channels, height, width); batches of four axes likewise.

    Examples
    --------
    >>> import clgrad as mx
    >>> to_tensor = mx.gluon.data.vision.transforms.ToTensor()
    >>> to_tensor(mx.nd.full((2, 4, 3), 51, dtype="uint8"))[0].asnumpy().round(3)
    array([[0.2, 0.2, 0.2, 0.2],
           [0.2, 0.2, 0.2, 0.2]], dtype=float32)
    """

    def forward(self, x):
        """Convert."""
        if x.ndim not in (3, 4):
            accepted = "(height, width, channels), or a batch of such"
            raise argument_error("ToTensor", "x", f"of shape {x.shape}", accepted)
        axes = (2, 0, 1) if x.ndim == 3 else (0, 3, 1, 2)
        return x.transpose(axes).astype(np.float32) / np.float32(255)


class Normalize(Transform):
    """(x - mean) / std of each channel, behind :class:`ToTensor`.

    Parameters
    ----------
    mean, std : float or tuple of float
        One for all channels, or one for each.
    """

    def __init__(self, mean=0.0, std=1.0):
        super().__init__()
        self._mean, self._std = (np.float32(v).reshape(-1, 1, 1) for v in (mean, std))
        if not self._std.all():
            raise argument_error("Normalize", "std", repr(std), "numbers other than 0")

    def forward(self, x):
        """Normalise."""
        dtype = np.dtype(x.dtype)
        if dtype.kind in "biu":
            accepted = "floating point, as ToTensor gives"
            raise argument_error("Normalize", "x", f"of dtype {dtype}", accepted)
        return (x - constant(self._mean, x, dtype)) / constant(self._std, x, dtype)
