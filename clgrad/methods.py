"""NDArray's operators and methods, made from the table of ops."""

import itertools
import numbers
from collections.abc import Callable

import numpy as np

from clgrad import array, autograd, dlpack, ndindex, ops  # noqa: F401  (ops fills the table)
from clgrad.array import NDArray
from clgrad.autograd.variables import attach_grad, unmark
from clgrad.errors import AbsentError, OperatorTypeError, argument_error
from clgrad.ops import conversion
from clgrad.registry import table
from clgrad.registry.arrays import of_numpy

#: Python's binary operators and the ops that they mean.
_OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "mod": "modulo",
    "pow": "power",
    "floordiv": "_floor_divide",
}
_COMPARISONS = {
    "eq": "equal",
    "ne": "not_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "lt": "lesser",
    "le": "lesser_equal",
}

#: Ops whose first argument is the array that the method is called on.
_METHODS = [
    "abs",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "argmax",
    "argmax_channel",
    "argmin",
    "argsort",
    "broadcast_axes",
    "broadcast_like",
    "broadcast_to",
    "cbrt",
    "ceil",
    "clip",
    "cos",
    "cosh",
    "degrees",
    "depth_to_space",
    "diag",
    "exp",
    "expm1",
    "fix",
    "flip",
    "floor",
    "log",
    "log10",
    "log1p",
    "log2",
    "log_softmax",
    "max",
    "mean",
    "min",
    "moveaxis",
    "nanprod",
    "nansum",
    "norm",
    "one_hot",
    "ones_like",
    "pad",
    "pick",
    "prod",
    "radians",
    "rcbrt",
    "reciprocal",
    "relu",
    "repeat",
    "reshape_like",
    "rint",
    "round",
    "rsqrt",
    "shape_array",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "size_array",
    "slice",
    "slice_axis",
    "slice_like",
    "softmax",
    "softmin",
    "sort",
    "space_to_depth",
    "split",
    "split_v2",
    "sqrt",
    "square",
    "sum",
    "swapaxes",
    "take",
    "tan",
    "tanh",
    "tile",
    "topk",
    "transpose",
    "trunc",
    "zeros_like",
]


_OPERANDS = (NDArray, numbers.Number, np.ndarray, np.bool_)
_BOTH, _LEFT, _RIGHT = ("lhs", "rhs"), ("lhs",), ("rhs",)


def _binary(op_name: str, reflected: bool) -> Callable:
    op = table[op_name]

    def method(self, other):
        # The two usual cases first: they need no sorting of arguments.
        if type(other) is NDArray:
            return op.apply(_BOTH, (self, other), {})
        if type(other) in (int, float):
            return op.apply(_LEFT, (self,), {"rhs": other})
        if isinstance(other, _OPERANDS):
            return op.apply_mixed({"lhs": self, "rhs": other})
        return NotImplemented

    def reflected_method(self, other):
        if type(other) in (int, float):
            return op.apply(_RIGHT, (self,), {"lhs": other})
        return (
            op.apply_mixed({"lhs": other, "rhs": self}) if isinstance(other, _OPERANDS) else NotImplemented
        )

    return reflected_method if reflected else method


def _in_place(op_name: str) -> Callable:
    op = table[op_name]

    def method(self, other):
        if not isinstance(other, _OPERANDS):
            return NotImplemented
        return op.apply_mixed({"lhs": self, "rhs": other}, out=self)

    return method


def _method(op_name: str) -> Callable:
    op = table[op_name]

    def method(self, *args, **kwargs):
        return op(self, *args, **kwargs)

    method.__name__ = op_name
    method.__doc__ = op.__doc__
    return method


def _reshape(self: NDArray, *shape, **kwargs) -> NDArray:
    """The same elements under another shape, given as numbers or as one tuple; sharing memory."""
    return table["reshape"](self, **_with_numbers("reshape", "shape", shape, kwargs))


def _transpose(self: NDArray, *axes, **kwargs) -> NDArray:
    """Axes in another order, given as numbers or as one tuple; reversed where not given."""
    return table["transpose"](self, **_with_numbers("transpose", "axes", axes, kwargs))


def _with_numbers(op: str, argument: str, values: tuple, others: dict) -> dict:
    """Arguments by name, with those numbers that were given one by one, or as one list or tuple."""
    if not values:
        return others
    if argument in others:
        raise OperatorTypeError(f"{op}: argument {argument!r} is given twice")
    sole = len(values) == 1 and not isinstance(values[0], int)
    return {**others, argument: values[0] if sole else values}


def _relabelling(op_name: str) -> Callable:
    op = table[op_name]

    def method(self, *args, inplace: bool = False, **kwargs):
        return op(self, *args, **kwargs)  # the result shares memory, with inplace or without

    method.__name__ = op_name
    method.__doc__ = op.__doc__
    return method


def _slice_assign(self: NDArray, rhs, begin, end, step=()) -> NDArray:
    """Write rhs to the elements from ``begin`` to ``end``, ``step`` apart, of each axis."""
    slices = itertools.zip_longest(begin, end, step or ())
    ndindex.write(self, tuple(slice(*bounds) for bounds in slices), rhs)
    return self


def _slice_assign_scalar(self: NDArray, value: float, begin, end, step=()) -> NDArray:
    """Write a number to the elements from ``begin`` to ``end``, ``step`` apart, of each axis."""
    return _slice_assign(self, value, begin, end, step)


def _tostype(self: NDArray, stype: str):
    """The array in storage type ``'default'``, as a copy, or a matrix in ``'csr'``."""
    return table["cast_storage"](self, stype)


def _as_np_ndarray(self: NDArray):
    """Absent: MXNet converts to its numpy interface here.

    Raises
    ------
    AbsentError
        Always.
    """
    raise AbsentError("as_np_ndarray: MXNet's numpy interface is not part of clgrad")


def _matmul(self, other):
    """Matrix product, with numpy's rule on leading axes: they are those of stacks, and broadcast."""
    if isinstance(other, np.ndarray):
        other = of_numpy("matmul", "rhs", other, self)
    return _product(self, other) if isinstance(other, NDArray) else NotImplemented


def _rmatmul(self, other):
    """Matrix product with a numpy array on the left."""
    if not isinstance(other, np.ndarray):
        return NotImplemented
    return _product(of_numpy("matmul", "lhs", other, self), self)


def _product(a: NDArray, b: NDArray) -> NDArray:
    if a.ndim <= 2 and b.ndim <= 2:
        return table["dot"](a, b)
    left, right = a.ndim > 1, b.ndim > 1  # vectors become matrices for a while
    a = a if left else table["expand_dims"](a, axis=0)
    b = b if right else table["expand_dims"](b, axis=1)
    try:
        stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise argument_error(
            "matmul", "rhs", f"of shape {b.shape}", f"leading axes that broadcast with {a.shape}"
        ) from None
    result = table["batch_dot"](
        table["_expand_to"](a, shape=(*stack, *a.shape[-2:])),
        table["_expand_to"](b, shape=(*stack, *b.shape[-2:])),
    )
    shape = (*stack, *a.shape[-2:-1][: int(left)], *b.shape[-1:][: int(right)])
    return result if result.shape == shape else table["_with_shape"](result, shape=shape)


def _divmod(self, other):
    """The pair ``(x // y, x % y)``."""
    if not isinstance(other, _OPERANDS):
        return NotImplemented
    return self // other, self % other


def _rdivmod(self, other):
    """The pair ``(y // x, y % x)``."""
    if not isinstance(other, _OPERANDS):
        return NotImplemented
    return other // self, other % self


def _logical(op_name: str, in_place: bool = False) -> Callable:
    """``&``, ``|`` or ``^`` of masks: arrays, or numbers, of dtype bool."""
    op = table[op_name]

    def method(self, other):
        if not (_is_mask(self) and _is_mask(other)):
            return NotImplemented
        return op.apply_mixed({"lhs": self, "rhs": other}, out=self if in_place else None)

    return method


def _is_mask(value) -> bool:
    if isinstance(value, NDArray | np.ndarray):
        return np.dtype(value.dtype) == np.dtype(bool)
    return isinstance(value, bool | np.bool_)


def _invert(self: NDArray) -> NDArray:
    """``~`` of a mask: true where it is false."""
    if not _is_mask(self):
        raise TypeError(f"bad operand type for unary ~: an array of {self._view.dtype}; accepted: bool")
    return table["logical_not"](self)


def _backward(self: NDArray, out_grad=None, retain_graph=False, train_mode=True) -> None:
    """Compute the gradients of this array; see :func:`clgrad.autograd.backward`."""
    autograd.backward([self], [out_grad], retain_graph, train_mode)


def _as_nd_ndarray(self: NDArray) -> NDArray:
    """The array itself; MXNet converts from its numpy interface here."""
    return self


def _drop_grad(self: NDArray) -> None:
    """Forget the gradient that :meth:`attach_grad` made."""
    unmark(self)


def _copy(self: NDArray) -> NDArray:
    """A copy with memory of its own."""
    return table["identity"](self)


def _reduce(self: NDArray):
    """Pickle as bytes, to be put on the current device again by :func:`clgrad.array.from_bytes` alone."""
    host = self.asnumpy()
    content = host.astype(host.dtype.newbyteorder("<"), copy=False).tobytes()
    return array.from_bytes, (content, self.shape, host.dtype.name)


def _iterate(self):
    for i in range(len(self)):
        yield self[i]


for _name, _op in _OPERATORS.items():
    setattr(NDArray, f"__{_name}__", _binary(_op, reflected=False))
    setattr(NDArray, f"__r{_name}__", _binary(_op, reflected=True))
    setattr(NDArray, f"__i{_name}__", _in_place(_op))
for _name, _op in _COMPARISONS.items():
    setattr(NDArray, f"__{_name}__", _binary(_op, reflected=False))
for _name, _op in {"and": "logical_and", "or": "logical_or", "xor": "logical_xor"}.items():
    setattr(NDArray, f"__{_name}__", _logical(_op))
    setattr(NDArray, f"__r{_name}__", _logical(_op))
    setattr(NDArray, f"__i{_name}__", _logical(_op, in_place=True))
for _name in _METHODS:
    setattr(NDArray, _name, _method(_name))
for _name, _function in {
    "__neg__": lambda self: table["negative"](self),
    "__abs__": lambda self: table["abs"](self),
    "__pos__": lambda self: table["identity"](self),
    "__invert__": _invert,
    "__matmul__": _matmul,
    "__rmatmul__": _rmatmul,
    "__divmod__": _divmod,
    "__rdivmod__": _rdivmod,
    "__getitem__": ndindex.read,
    "__setitem__": ndindex.write,
    "__iter__": _iterate,
    "__hash__": object.__hash__,
    "__dlpack__": dlpack.export,
    "__dlpack_device__": dlpack.device_of,
    "to_dlpack_for_read": dlpack.to_dlpack_for_read,
    "to_dlpack_for_write": dlpack.to_dlpack_for_write,
    "T": property(lambda self: table["transpose"](self)),
    "reshape": _reshape,
    "transpose": _transpose,
    "expand_dims": _relabelling("expand_dims"),
    "flatten": _relabelling("flatten"),
    "squeeze": _relabelling("squeeze"),
    "slice_assign": _slice_assign,
    "slice_assign_scalar": _slice_assign_scalar,
    "tostype": _tostype,
    "as_np_ndarray": _as_np_ndarray,
    "astype": conversion.astype,
    "copyto": conversion.copyto,
    "as_in_context": conversion.as_in_context,
    "as_in_ctx": conversion.as_in_context,
    "as_nd_ndarray": _as_nd_ndarray,
    "copy": _copy,
    "__copy__": _copy,
    "__deepcopy__": lambda self, memo: _copy(self.detach()),
    "__reduce__": _reduce,
    "backward": _backward,
    "attach_grad": attach_grad,
    "drop_grad": _drop_grad,
}.items():
    setattr(NDArray, _name, _function)
