"""``mx.io``: iterators that give :class:`DataBatch`, MXNet's older way to feed a training loop."""

from collections import namedtuple
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from clgrad import absent as _absent
from clgrad import nd
from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError, argument_error

__getattr__ = _absent.getter("mx.io", __name__)

__all__ = ["DataBatch", "DataDesc", "DataIter", "NDArrayIter"]


class DataDesc(namedtuple("DataDesc", ["name", "shape"])):
    """Name and shape of an array of a batch, with its ``dtype`` and ``layout``.

    Parameters
    ----------
    name : str
    shape : tuple of int
    dtype : type, default numpy.float32
    layout : str, default 'NCHW'

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.io.DataDesc("data", (8, 3))
    DataDesc[data,(8, 3),<class 'numpy.float32'>,NCHW]
    """

    dtype: Any
    layout: str

    def __new__(cls, name, shape, dtype=np.float32, layout="NCHW"):
        """Make one."""
        made = super().__new__(cls, name, shape)
        made.dtype, made.layout = dtype, layout
        return made

    def __repr__(self) -> str:
        return f"DataDesc[{self.name},{self.shape},{self.dtype},{self.layout}]"

    @staticmethod
    def get_list(shapes, types=None) -> "list[DataDesc]":
        """Descriptions from pairs of name and shape, and perhaps of name and dtype."""
        known = dict(types or ())
        return [DataDesc(name, shape, known.get(name, np.float32)) for name, shape in shapes]

    @staticmethod
    def get_batch_axis(layout: str | None) -> int:
        """Which axis counts the samples."""
        return 0 if layout is None else layout.find("N")


class DataBatch:
    """Arrays of a batch.

    Parameters
    ----------
    data, label : list of NDArray
    pad : int, optional
        How many samples at the end only fill the batch.
    index : numpy.ndarray, optional
        Numbers of the samples.
    bucket_key : object, optional
    provide_data, provide_label : list of DataDesc, optional
    """

    def __init__(
        self,
        data,
        label=None,
        pad=None,
        index=None,
        bucket_key=None,
        provide_data=None,
        provide_label=None,
    ):
        for name, arrays in (("data", data), ("label", label)):
            if arrays is not None and not isinstance(arrays, list | tuple):
                given = type(arrays).__name__
                raise OperatorTypeError(f"DataBatch: {name} is {given}; accepted: a list of NDArray")
        self.data, self.label, self.pad, self.index = data, label, pad, index
        self.bucket_key = bucket_key
        self.provide_data, self.provide_label = provide_data, provide_label

    def __str__(self) -> str:
        arrays = (self.data, self.label)
        data, label = ([a.shape for a in several] if several else None for several in arrays)
        return f"{type(self).__name__}: data shapes: {data} label shapes: {label}"


class DataIter:
    """An iterator over batches, which :meth:`reset` lets begin again.

    One of one's own has ``iter_next``, ``getdata``, ``getlabel`` and ``getpad``, or ``next`` itself.

    Parameters
    ----------
    batch_size : int, default 0
    """

    def __init__(self, batch_size: int = 0):
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[DataBatch]:
        return self

    def __next__(self) -> DataBatch:
        return self.next()

    def reset(self) -> None:
        """Begin again."""

    def next(self) -> DataBatch:
        """The next batch; raises StopIteration behind the last one."""
        if not self.iter_next():
            raise StopIteration
        return DataBatch(self.getdata(), self.getlabel(), self.getpad(), self.getindex())

    def iter_next(self) -> bool:
        """Go to the next batch, and say whether there is one."""
        raise NotImplementedError(f"{type(self).__name__} has no iter_next")

    def getdata(self) -> list[NDArray]:
        """The data of the batch."""
        raise NotImplementedError(f"{type(self).__name__} has no getdata")

    def getlabel(self) -> list[NDArray]:
        """The labels of the batch."""
        raise NotImplementedError(f"{type(self).__name__} has no getlabel")

    def getindex(self) -> np.ndarray | None:
        """Numbers of the batch's samples, where they are known."""
        return None

    def getpad(self) -> int | None:
        """How many samples at the end only fill the batch."""
        raise NotImplementedError(f"{type(self).__name__} has no getpad")


class NDArrayIter(DataIter):
    """Batches of arrays, on the context that is current when they are asked for.

    Parameters
    ----------
    data : NDArray, numpy.ndarray, list or dict of them
        Samples along the first axis; what is no NDArray becomes float32.
    label : the same, optional
    batch_size : int, default 1
    shuffle : bool, default False
        Another order after each reset, drawn from ``numpy.random``.
    last_batch_handle : str, default 'pad'
        What becomes of samples that fill no batch: ``'pad'`` fills it with the first ones, and says how
        many in ``batch.pad``; ``'discard'`` leaves them out; ``'roll_over'`` puts them before those of the
        next pass.
    data_name, label_name : str, default 'data' and 'softmax_label'
        Names of arrays that have none.
    layout : str, default 'NCHW'
        Of descriptions; samples are along the first axis.

    Raises
    ------
    OperatorError
        Arrays of different lengths, or without samples.

    Examples
    --------
    >>> import clgrad as mx
    >>> import numpy as np
    >>> batches = mx.io.NDArrayIter(np.arange(10).reshape(5, 2), np.arange(5), batch_size=2)
    >>> for batch in batches:
    ...     print(batch.label[0].asnumpy(), batch.pad)
    [0. 1.] 0
    [2. 3.] 0
    [4. 0.] 1
    >>> batches.provide_data
    [DataDesc[data,(2, 2),<class 'numpy.float32'>,NCHW]]
    """

    def __init__(
        self,
        data,
        label=None,
        batch_size=1,
        shuffle=False,
        last_batch_handle="pad",
        data_name="data",
        label_name="softmax_label",
        layout="NCHW",
    ):
        super().__init__(batch_size)
        if last_batch_handle not in ("pad", "discard", "roll_over"):
            accepted = "pad, discard, roll_over"
            raise argument_error("NDArrayIter", "last_batch_handle", repr(last_batch_handle), accepted)
        if not layout.startswith("N"):
            raise argument_error("NDArrayIter", "layout", repr(layout), "one that begins with N")
        self.data, self.label = _named("data", data, data_name), _named("label", label, label_name)
        if not self.data:
            raise argument_error("NDArrayIter", "data", "empty", "one array or more")
        lengths = {name: len(host) for name, host in self.data + self.label}
        if len(set(lengths.values())) > 1:
            raise argument_error("NDArrayIter", "data and label", f"of lengths {lengths}", "one length")
        self.num_data = len(self.data[0][1])
        if not self.num_data:
            raise argument_error("NDArrayIter", "data", "without samples", "one sample or more")
        if batch_size < 1:
            raise argument_error("NDArrayIter", "batch_size", batch_size, "a whole number from 1 on")
        self.shuffle, self.last_batch_handle, self.layout = shuffle, last_batch_handle, layout
        #: How the samples of the pass before are put into another order, and their order in this one.
        self.idx, self._samples = np.arange(self.num_data), np.arange(self.num_data)
        self._left = self.idx[:0]
        self._begin()

    def _begin(self) -> None:
        if self.shuffle:
            np.random.shuffle(self.idx)
            self._samples = self._samples[self.idx]
        self._order = np.concatenate([self._left, self._samples])
        self._start = -self.batch_size

    def reset(self) -> None:
        """Begin another pass, with what has rolled over before it."""
        ended = self._start + self.batch_size > len(self._order)
        if self.last_batch_handle == "roll_over" and ended:
            self._left = self._order[self._start :].copy()
        else:
            self._left = self.idx[:0]
        self._begin()

    def hard_reset(self) -> None:
        """Begin another pass, and forget what has rolled over."""
        self._left = self.idx[:0]
        self._begin()

    @property
    def provide_data(self) -> list[DataDesc]:
        """Names, shapes and dtypes of a batch's data."""
        return self._described(self.data)

    @property
    def provide_label(self) -> list[DataDesc]:
        """Names, shapes and dtypes of a batch's labels."""
        return self._described(self.label)

    def _described(self, source: Sequence[tuple[str, np.ndarray]]) -> list[DataDesc]:
        return [
            DataDesc(name, (self.batch_size, *host.shape[1:]), host.dtype.type, self.layout)
            for name, host in source
        ]

    def iter_next(self) -> bool:
        """Go to the next batch, and say whether there is one."""
        self._start += self.batch_size
        if self.last_batch_handle == "pad":
            return self._start < len(self._order)
        return self._start + self.batch_size <= len(self._order)

    def _chosen(self) -> np.ndarray:
        chosen = self._order[self._start : self._start + self.batch_size]
        return np.concatenate([chosen, np.resize(self._order, self.batch_size - len(chosen))])

    def _taken(self, source: Sequence[tuple[str, np.ndarray]]) -> list[NDArray]:
        chosen = self._chosen()
        return [nd.array(host[chosen], dtype=host.dtype) for _, host in source]

    def getdata(self) -> list[NDArray]:
        """The data of the batch."""
        return self._taken(self.data)

    def getlabel(self) -> list[NDArray]:
        """The labels of the batch."""
        return self._taken(self.label)

    def getpad(self) -> int:
        """How many samples at the end only fill the batch; or how many have rolled over into it."""
        if self.last_batch_handle == "roll_over":
            return len(self._left) if self._start == 0 else 0
        return max(0, self._start + self.batch_size - len(self._order))


def _named(argument: str, given: Any, default: str) -> list[tuple[str, np.ndarray]]:
    """Arrays on the host, by name, in the order of the names."""
    if given is None:
        given = []
    if isinstance(given, NDArray | np.ndarray):
        given = [given]
    if isinstance(given, list | tuple):
        names = [default] if len(given) == 1 else [f"_{i}_{default}" for i in range(len(given))]
        given = dict(zip(names, given, strict=True))
    if not isinstance(given, Mapping):
        accepted = "NDArray, numpy.ndarray, or a list or dict of them"
        raise OperatorTypeError(f"NDArrayIter: {argument} is {type(given).__name__}; accepted: {accepted}")
    return [(name, _on_host(argument, name, given[name])) for name in sorted(given)]


def _on_host(argument: str, name: str, array: Any) -> np.ndarray:
    if isinstance(array, NDArray):
        return array.asnumpy()
    try:
        host = np.asarray(array, np.float32)
    except (TypeError, ValueError) as error:
        raise OperatorTypeError(
            f"NDArrayIter: {argument}[{name!r}] is no array of numbers: {error}"
        ) from error
    if host.ndim == 0:
        raise argument_error("NDArrayIter", f"{argument}[{name!r}]", "a number", "an array of samples")
    return host
