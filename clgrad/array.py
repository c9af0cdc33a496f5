"""NDArray: a view of device memory with its place in the recorded graph.

Operators and methods are attached by :mod:`clgrad.methods`; this file is what every op needs of an array.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from clgrad import dtypes, memory, tape
from clgrad.device import Context, as_context
from clgrad.errors import AutogradError, OperatorError, argument_error
from clgrad.memory import Stream, View


class NDArray:
    """An n-dimensional array of one dtype on one OpenCL device.

    Made by :func:`clgrad.nd.array` and the other creation functions. Calls return at once; the device
    works behind them, and reading a value waits for it.
    """

    __slots__ = ("__weakref__", "_entry", "_view")

    if TYPE_CHECKING:  # what clgrad.methods attaches
        __getitem__: Any
        __setitem__: Any
        __neg__: Any
        __add__: Any
        __radd__: Any
        __sub__: Any
        __rsub__: Any
        __mul__: Any
        __rmul__: Any
        __truediv__: Any
        __rtruediv__: Any
        __pow__: Any
        __lt__: Any
        __le__: Any
        __gt__: Any
        __ge__: Any

        def __getattr__(self, name: str) -> Any: ...

    # numpy must leave `numpy_array + x` to this class instead of looping over its elements.
    __array_priority__ = 1000.0

    def __init__(self, view: View, entry: tuple | None = None):
        self._view = view
        #: (source, index) in the recorded graph, or None
        self._entry = entry

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self._view.shape

    @property
    def dtype(self) -> type:
        """Element type, as a numpy scalar type such as ``numpy.float32``."""
        return self._view.dtype.type

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._view.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._view.size

    @property
    def context(self) -> Context:
        """The device that holds the array."""
        device = self._view.device
        return Context(device.kind, device.index)

    ctx = context

    @property
    def stype(self) -> str:
        """Storage type; always ``'default'`` (dense)."""
        return "default"

    @property
    def writable(self) -> bool:
        """Whether the array may be written in place: always."""
        return True

    @property
    def handle(self) -> int:
        """The ``cl_mem`` buffer handle as an integer; 0 for an array of size 0."""
        storage = self._view.storage
        storage.stream.flush()  # whoever asks may use it in a queue of their own
        return storage.handle

    @property
    def grad(self) -> "NDArray | None":
        """The gradient that ``backward`` fills; None unless :meth:`attach_grad` made one."""
        source = self._entry[0] if self._entry is not None else None
        return source.grad if isinstance(source, tape.Variable) else None

    def asnumpy(self) -> np.ndarray:
        """The elements as a new numpy array; waits for the device.

        Examples
        --------
        >>> import clgrad as mx
        >>> mx.nd.ones((2,)).asnumpy()
        array([1., 1.], dtype=float32)
        """
        return memory.download(stream_of(self), self._view)

    def asscalar(self):
        """The only element of an array of size 1, as a numpy scalar.

        Raises
        ------
        OperatorError
            The array does not have exactly one element.
        """
        if self.size != 1:
            raise OperatorError(f"asscalar: the array has shape {self.shape}; accepted: one element")
        return self.asnumpy().reshape(())[()]

    item = asscalar

    def wait_to_read(self) -> None:
        """Wait until the array's value has been computed."""
        self._view.storage.stream.finish()

    def detach(self) -> "NDArray":
        """The same memory outside the graph: gradients do not flow through it."""
        return NDArray(self._view)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-dimensional array")
        return self.shape[0]

    def _sole(self, kind: str):
        if self.size != 1:
            raise OperatorError(
                f"{kind}: an array of shape {self.shape} has no single value; accepted: one element"
            )
        return self.asscalar()

    def __bool__(self) -> bool:
        if self.size == 0:
            return False
        return bool(self._sole("bool"))

    def __float__(self) -> float:
        return float(self._sole("float"))

    def __int__(self) -> int:
        return int(self._sole("int"))

    def __index__(self) -> int:
        if self._view.dtype.kind not in "iu":
            raise TypeError(f"only integer arrays can be an index, not {self._view.dtype}")
        return int(self._sole("index"))

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        if copy is False:
            raise ValueError("the array lies on a device: numpy gets a copy")
        host = self.asnumpy()
        return host if dtype is None else host.astype(dtype)

    def __repr__(self) -> str:
        shape = "x".join(str(n) for n in self.shape)
        return f"\n{self.asnumpy()!s}\n<NDArray {shape} @{self.context}>"

    __str__ = __repr__


def stream_of(array: NDArray) -> Stream:
    """The calling thread's stream on the array's device."""
    return memory.current_stream(array._view.device)


def empty(shape: tuple[int, ...], dtype: np.dtype, ctx: Context | None = None) -> NDArray:
    """An array without a value yet, on ``ctx`` (the current context by default).

    Raises
    ------
    OperatorError
        The dtype is float64 and the device has none.
    """
    device = as_context(ctx).device
    check_dtype(dtype, device)
    return NDArray(memory.empty(memory.current_stream(device), shape, dtype))


def check_dtype(dtype: np.dtype, device) -> None:
    """Raise where the device cannot compute with the dtype."""
    if dtype == dtypes.float64 and not device.capabilities.fp64:
        raise OperatorError(
            f"dtype float64: the device {device.name} has no double precision (cl_khr_fp64); "
            "use float32, or another device (see `clgrad devices`)"
        )


def from_host(host: np.ndarray, dtype: np.dtype, ctx: Context | None = None) -> NDArray:
    """A device copy of a numpy array, converted to ``dtype`` on the way."""
    result = empty(host.shape, dtype, ctx)
    memory.upload(stream_of(result), host.astype(dtype, copy=False), result._view)
    return result


def from_bytes(content: bytes, shape: tuple[int, ...], dtype: str) -> NDArray:
    """The array, on the current context, whose elements in C order are these bytes: what pickles call.

    Raises
    ------
    OperatorError
        The bytes are not as many as shape and dtype ask for.
    """
    resolved = dtypes.resolve(dtype, "from_bytes")
    expected = math.prod(shape) * resolved.itemsize
    if len(content) != expected:
        raise argument_error("from_bytes", "content", f"{len(content):,} bytes", f"{expected:,} bytes")
    return from_host(np.frombuffer(content, resolved.newbyteorder("<")).reshape(shape), resolved)


def begin_write(array: NDArray, op: str) -> None:
    """Check that ``array`` may be written in place now, and count the write.

    Raises
    ------
    AutogradError
        Recording is on and the array is already part of a graph: its gradient would be undefined.
    """
    if tape.state.recording and array._entry is not None:
        raise AutogradError(
            f"{op}: in-place write, while recording, to an array that is already part of the graph; "
            "compute a new array instead, or write inside autograd.pause()"
        )
    if tape.state.watcher is not None:
        tape.state.watcher.writes(array)
    array._view.storage.begin_write()
