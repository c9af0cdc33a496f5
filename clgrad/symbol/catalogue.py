"""The ops of ``nd`` as nodes of MXNet's graphs: their names there, inputs, outputs and attributes."""

import ast
import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clgrad.device import Context
from clgrad.errors import AbsentError, MXNetError
from clgrad.ops import creation
from clgrad.registry import table

#: Ops of two arrays that MXNet calls otherwise in graphs; the name there takes arrays of any shapes.
_BROADCAST = {
    "add": "broadcast_add",
    "subtract": "broadcast_sub",
    "multiply": "broadcast_mul",
    "divide": "broadcast_div",
    "true_divide": "broadcast_div",
    "modulo": "broadcast_mod",
    "power": "broadcast_power",
    "pow": "broadcast_power",
    "maximum": "broadcast_maximum",
    "minimum": "broadcast_minimum",
    "hypot": "broadcast_hypot",
    "arctan2": "broadcast_arctan2",
    "equal": "broadcast_equal",
    "not_equal": "broadcast_not_equal",
    "greater": "broadcast_greater",
    "greater_equal": "broadcast_greater_equal",
    "lesser": "broadcast_lesser",
    "lesser_equal": "broadcast_lesser_equal",
    "logical_and": "broadcast_logical_and",
    "logical_or": "broadcast_logical_or",
    "logical_xor": "broadcast_logical_xor",
}
#: Other ops that MXNet calls otherwise in graphs.
_WRITTEN = _BROADCAST | {
    "boolean_mask": "_contrib_boolean_mask",
    "div_sqrt_dim": "_contrib_div_sqrt_dim",
    "index_array": "_contrib_index_array",
    "index_copy": "_contrib_index_copy",
    "linalg_syevd": "_linalg_syevd",
    "split_v2": "_split_v2",
    "cast": "Cast",
    "concat": "Concat",
    "flatten": "Flatten",
    "identity": "_copy",
    "pad": "Pad",
    "reshape": "Reshape",
    "split": "SliceChannel",
    "stop_gradient": "BlockGrad",
    "swapaxes": "SwapAxis",
}
#: Those of an array and a number: the op, and the side of the number.
_SCALAR = {
    "_plus_scalar": ("add", "rhs"),
    "_minus_scalar": ("subtract", "rhs"),
    "_rminus_scalar": ("subtract", "lhs"),
    "_mul_scalar": ("multiply", "rhs"),
    "_div_scalar": ("divide", "rhs"),
    "_rdiv_scalar": ("divide", "lhs"),
    "_mod_scalar": ("modulo", "rhs"),
    "_rmod_scalar": ("modulo", "lhs"),
    "_power_scalar": ("power", "rhs"),
    "_rpower_scalar": ("power", "lhs"),
    "_maximum_scalar": ("maximum", "rhs"),
    "_minimum_scalar": ("minimum", "rhs"),
    "_hypot_scalar": ("hypot", "rhs"),
    "_equal_scalar": ("equal", "rhs"),
    "_not_equal_scalar": ("not_equal", "rhs"),
    "_greater_scalar": ("greater", "rhs"),
    "_greater_equal_scalar": ("greater_equal", "rhs"),
    "_lesser_scalar": ("lesser", "rhs"),
    "_lesser_equal_scalar": ("lesser_equal", "rhs"),
    "_logical_and_scalar": ("logical_and", "rhs"),
    "_logical_or_scalar": ("logical_or", "rhs"),
    "_logical_xor_scalar": ("logical_xor", "rhs"),
}
#: Ops that are the same with their operands exchanged, and those that are others then: 1 < x is x > 1.
_MIRRORED = {
    **{op: op for op in ("add", "multiply", "maximum", "minimum", "hypot", "equal", "not_equal")},
    **{op: op for op in ("logical_and", "logical_or", "logical_xor")},
    "greater": "lesser",
    "greater_equal": "lesser_equal",
    "lesser": "greater",
    "lesser_equal": "greater_equal",
}
#: Names of ops of an array and a number, by op and the side of the number.
SCALAR_NAMES = {pair: name for name, pair in _SCALAR.items()}
SCALAR_NAMES |= {(op, "lhs"): SCALAR_NAMES[mirrored, "rhs"] for op, mirrored in _MIRRORED.items()}
#: Other names that MXNet writes, and ours.
_RENAMED = {
    "_copy": "identity",
    "_mul": "multiply",
    "_plus": "add",
    "_minus": "subtract",
    "_div": "divide",
    "_power": "power",
    "_maximum": "maximum",
    "_minimum": "minimum",
    "_equal": "equal",
    "_not_equal": "not_equal",
    "_greater": "greater",
    "_greater_equal": "greater_equal",
    "_lesser": "lesser",
    "_lesser_equal": "lesser_equal",
    "_mod": "modulo",
    "_hypot": "hypot",
    "_grad_add": "add",
    "_shuffle": "shuffle",
    "_rnn_param_concat": "concat",
}


def _split_v2(data, indices=(), axis=0, squeeze_axis=False, sections=0):
    """``split_v2`` as graphs have it: places of the parts' beginnings, or the number of parts."""
    where = sections or tuple(indices)[1:]
    return table["split_v2"](data, where, axis=axis, squeeze_axis=squeeze_axis)


def _rnn(data, parameters, state, state_cell=None, **rest):
    """``RNN``; states of a batch of 0 are MXNet's zeros for a batch that it does not know yet."""

    def whole(given):
        if given is None or given.ndim != 3 or given.shape[1] or not data.shape[1]:
            return given
        return creation.zeros((given.shape[0], data.shape[1], given.shape[2]), data.context, data.dtype)

    return table["RNN"](data, parameters, whole(state), whole(state_cell), **rest)


_CREATION: dict[str, Callable] = {
    "_zeros": creation.zeros,
    "_ones": creation.ones,
    "_full": creation.full,
    "_arange": creation.arange,
    "_linspace": creation.linspace,
    "_eye": creation.eye,
}
#: Namespaces of ``nd``, and what MXNet's names of their ops begin with.
_SPACES = {"_contrib_": "contrib.", "_linalg_": "linalg.", "_image_": "image.", "_random_": "random_"}
#: Ops that call functions, or are no ops in MXNet.
_NOT_IN_GRAPHS = {"contrib.foreach", "contrib.while_loop", "contrib.cond", "contrib.flash_attention"}
#: Ops of any number of arrays to which MXNet wants to be told the number.
COUNTED = {"concat", "stack", "add_n", "khatri_rao", "UpSampling"}
#: Parameters that ops write to: MXNet's auxiliary states.
AUXILIARY = ("moving_mean", "moving_var")


def graph_name(op: str) -> str:
    """What MXNet calls an op of ``nd`` in graphs.

    Examples
    --------
    >>> graph_name("linalg.gemm"), graph_name("add"), graph_name("FullyConnected")
    ('_linalg_gemm', 'broadcast_add', 'FullyConnected')
    """
    if f"_{op}" in _CREATION:
        return f"_{op}"
    for prefix, space in _SPACES.items():
        if op.startswith(space) and "." in space:
            return prefix + op[len(space) :]
    return _WRITTEN.get(op, op)


@dataclass(frozen=True)
class Kind:
    """What is known of an op of graphs.

    Attributes
    ----------
    op_name : str
        Its name in graphs.
    key : str
        Its name in ``nd``.
    function : callable
    arrays : tuple of str
        Parameters that take arrays, in MXNet's order.
    order : tuple of str
        All parameters that take arguments by position.
    variadic : str or None
        The parameter that takes any number of arrays.
    number : str or None
        The parameter that the attribute ``scalar`` stands for.
    numbers : set of str
        Parameters of ``arrays`` that take numbers as well.
    """

    op_name: str
    key: str
    function: Callable
    arrays: tuple[str, ...]
    order: tuple[str, ...]
    variadic: str | None
    number: str | None = None
    numbers: frozenset[str] = frozenset()

    def call(self, parameters: Sequence[str], arrays: Sequence, attributes: dict[str, Any]) -> Any:
        """Call the op on arrays."""
        if self.variadic is not None:
            return self.function(*arrays, **attributes)
        if self.number is not None:
            number = _number(attributes.get("scalar"), self.op_name)
            return (
                self.function(number, *arrays) if self.number == "lhs" else self.function(*arrays, number)
            )
        return self.function(**dict(zip(parameters, arrays, strict=True)), **attributes)

    def outputs(self, attributes: dict[str, Any]) -> int:
        """How many outputs a call has that MXNet shows."""
        count = _OUTPUTS.get(self.key)
        return 1 if count is None else count(attributes)


def _number(value: Any, op_name: str) -> Any:
    if isinstance(value, bool | int | float):
        return value
    raise MXNetError(f"{op_name}: scalar is {value!r}; accepted: a number")


def _with_moments(attributes: dict[str, Any]) -> int:
    return 3 if attributes.get("output_mean_var") else 1


def _states(attributes: dict[str, Any]) -> int:
    if not attributes.get("state_outputs"):
        return 1
    return 3 if attributes.get("mode") == "lstm" else 2


def _parts(attributes: dict[str, Any]) -> int:
    return int(attributes.get("num_outputs", 1))


def _sections(attributes: dict[str, Any]) -> int:
    return int(attributes.get("sections", 0)) or len(attributes.get("indices", (0,)))


#: Ops that have other numbers of outputs than one.
_OUTPUTS: dict[str, Callable[[dict[str, Any]], int]] = {
    "split": _parts,
    "split_v2": _sections,
    "amp_multicast": _parts,
    "topk": lambda attributes: 2 if attributes.get("ret_typ") == "both" else 1,
    "moments": lambda attributes: 2,
    "BatchNorm": _with_moments,
    "contrib.BatchNormWithReLU": _with_moments,
    "contrib.SyncBatchNorm": _with_moments,
    "LayerNorm": _with_moments,
    "GroupNorm": _with_moments,
    "RNN": _states,
    "linalg.slogdet": lambda attributes: 2,
    "linalg.gelqf": lambda attributes: 2,
    "linalg.syevd": lambda attributes: 2,
}


def find(op_name: str) -> Kind:
    """What is known of an op, by its name in MXNet's graphs.

    Raises
    ------
    AbsentError
        clgrad has no such op.
    """
    kind = _find(op_name)
    if kind is None:
        raise AbsentError(f"Symbol: the op {op_name!r} is not part of clgrad")
    return kind


@functools.cache
def _find(op_name: str) -> Kind | None:
    if op_name in _SCALAR:
        key, number = _SCALAR[op_name]
        array = "rhs" if number == "lhs" else "lhs"
        return Kind(op_name, key, table[key], (array,), (array, "scalar"), None, number)
    if op_name in _CREATION:
        function = _CREATION[op_name]
        names = tuple(inspect.signature(function).parameters)
        return Kind(op_name, op_name[1:], function, (), names, None)
    if op_name == "_split_v2":
        names = tuple(inspect.signature(_split_v2).parameters)
        return Kind(op_name, "split_v2", _split_v2, ("data",), names, None)
    key = _RENAMED.get(op_name, op_name)
    for prefix, space in _SPACES.items():
        if key.startswith(prefix):
            key = space + key[len(prefix) :]
    op = table.get(key)
    if op is None or key.startswith("_") or op.name in _NOT_IN_GRAPHS:
        return None
    order = tuple(n for n, p in op.__signature__.parameters.items() if p.kind is not p.VAR_POSITIONAL)
    arrays = set(op.arrays if hasattr(op, "arrays") else op.arguments)
    numbers = {n for n, kind in op._kinds.items() if kind.name == "float or NDArray"}
    numbers |= {"x", "y"} if key == "where" else set()  # which looks at them itself
    named = tuple(n for n in order if n in arrays | numbers)
    function = _rnn if key == "RNN" else op
    return Kind(op_name, op.name, function, named, order, op.variadic, numbers=frozenset(numbers))


def text(value: Any) -> str:
    """An attribute as MXNet writes it."""
    if isinstance(value, type | np.dtype):
        return np.dtype(value).name
    if isinstance(value, list):
        return str(tuple(value))
    if isinstance(value, Context):
        return f"{value.device_type}({value.device_id})"
    return str(value)


def value(written: str) -> Any:
    """An attribute as MXNet wrote it: a number, a sequence of them, True, False, None, or a word."""
    try:
        return ast.literal_eval(written)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return written
