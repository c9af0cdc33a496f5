"""Shapes of what layers give, without running them: of the ops that most nets are made of.

A rule answers None where it does not know, or where something is wrong; then the op itself is asked, which
raises what is to be said.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clgrad import dtypes
from clgrad.registry import Spec
from clgrad.symbol.parameters import PARAMETERS, Shape, has_channels_last, sizes

Rule = Callable[[dict[str, Spec], Mapping[str, Any]], Spec | None]


def _alike(inputs: dict[str, Spec], attributes: Mapping[str, Any]) -> Spec | None:
    """Elementwise ops of one array."""
    (first, *others) = inputs.values()
    return None if others or not dtypes.is_floating(first.dtype) or attributes.get("dtype") else first


def _activation(inputs: dict[str, Spec], attributes: Mapping[str, Any]) -> Spec | None:
    known = attributes.get("act_type") in ("relu", "sigmoid", "tanh", "softrelu", "softsign")
    return _alike(inputs, attributes) if known else None


def _broadcast(inputs: dict[str, Spec], attributes: Mapping[str, Any]) -> Spec | None:
    first, *rest = inputs.values()
    if any(spec.dtype != first.dtype for spec in rest) or not dtypes.is_floating(first.dtype):
        return None
    try:
        return Spec(np.broadcast_shapes(*[spec.shape for spec in inputs.values()]), first.dtype)
    except ValueError:
        return None


def _with_parameters(key: str, shape_of: Callable[[Shape, Mapping[str, Any]], Shape | None]) -> Rule:
    """Layers: where the parameters have the shapes that follow from the data's."""

    def rule(inputs: dict[str, Spec], attributes: Mapping[str, Any]) -> Spec | None:
        data = inputs["data"]
        expected = PARAMETERS[key]({"data": data.shape}, attributes)
        for name, spec in inputs.items():
            if name != "data" and (spec.shape != expected.get(name) or spec.dtype != data.dtype):
                return None
        shape = shape_of(data.shape, attributes)
        return None if shape is None or any(n < 1 for n in shape) else Spec(shape, data.dtype)

    return rule


def _unchanged(data: Shape, attributes: Mapping[str, Any]) -> Shape | None:
    return None if attributes.get("output_mean_var") or attributes.get("act_type") == "rrelu" else data


def _linear(data: Shape, attributes: Mapping[str, Any]) -> Shape:
    leading = data[:1] if attributes.get("flatten", True) else data[:-1]
    return (*leading, int(attributes["num_hidden"]))


def _windows(
    shape_of: Callable[[Shape, Mapping[str, Any]], Shape | None],
) -> Callable[[Shape, Mapping[str, Any]], Shape | None]:
    """A rule for shapes with the channels first, applied to any layout."""

    def rule(data: Shape, attributes: Mapping[str, Any]) -> Shape | None:
        if not has_channels_last(attributes):
            return shape_of(data, attributes)
        shape = shape_of((data[0], data[-1], *data[1:-1]), attributes)
        return None if shape is None else (shape[0], *shape[2:], shape[1])

    return rule


@_windows
def _convolution(data: Shape, attributes: Mapping[str, Any]) -> Shape | None:
    rank = len(data) - 2
    taps, step, spread = (sizes(attributes, name, rank, 1) for name in ("kernel", "stride", "dilate"))
    pad = sizes(attributes, "pad", rank, 0)
    groups, filters = int(attributes.get("num_group", 1)), int(attributes["num_filter"])
    if data[1] % groups or filters % groups or not len(taps) == len(step) == len(spread) == len(pad):
        return None
    axes = zip(data[2:], taps, step, spread, pad, strict=True)
    space = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, d, p in axes]
    return (data[0], filters, *space)


@_windows
def _deconvolution(data: Shape, attributes: Mapping[str, Any]) -> Shape | None:
    rank = len(data) - 2
    taps, step, spread = (sizes(attributes, name, rank, 1) for name in ("kernel", "stride", "dilate"))
    pad, more, target = (sizes(attributes, name, rank, 0) for name in ("pad", "adj", "target_shape"))
    groups, filters = int(attributes.get("num_group", 1)), int(attributes["num_filter"])
    if any(target) or not len(taps) == len(step) == len(spread) == len(pad) == len(more):
        return None
    if data[1] % groups or filters % groups:
        return None
    if any(a >= s for a, s in zip(more, step, strict=True)):
        return None
    axes = zip(data[2:], taps, step, spread, pad, more, strict=True)
    space = [s * (n - 1) + d * (k - 1) + 1 - 2 * p + a for n, k, s, d, p, a in axes]
    return (data[0], filters, *space)


@_windows
def _pooling(shape: Shape, attributes: Mapping[str, Any]) -> Shape | None:
    convention, rank = attributes.get("pooling_convention", "valid"), len(shape) - 2
    if convention not in ("valid", "full") or rank < 1:
        return None
    if attributes.get("global_pool"):
        return (*shape[:2], *(1,) * rank)
    taps, step = (sizes(attributes, name, rank, 1) for name in ("kernel", "stride"))
    pad = sizes(attributes, "pad", rank, 0)
    if not len(taps) == len(step) == len(pad) == rank:
        return None
    space = []
    for n, k, s, p in zip(shape[2:], taps, step, pad, strict=True):
        room = n + 2 * p - k
        if room < 0 or p >= k:
            return None
        space.append((-(-room // s) if convention == "full" else room // s) + 1)
    return (*shape[:2], *space)


def _pooled(inputs: dict[str, Spec], attributes: Mapping[str, Any]) -> Spec | None:
    shape = _pooling(inputs["data"].shape, attributes)
    return None if shape is None else Spec(shape, inputs["data"].dtype)


def _flatten(inputs: dict[str, Spec], attributes: Mapping[str, Any]) -> Spec | None:
    shape, dtype = inputs["data"]
    return Spec((shape[0], math.prod(shape[1:])), dtype) if shape else None


def _concat(inputs: dict[str, Spec], attributes: Mapping[str, Any]) -> Spec | None:
    first, *rest = inputs.values()
    ndim, axis = len(first.shape), int(attributes.get("dim", 1))
    if not 0 <= axis < ndim or any(len(s.shape) != ndim or s.dtype != first.dtype for s in rest):
        return None
    if any(
        a != b for s in rest for i, (a, b) in enumerate(zip(first.shape, s.shape, strict=True)) if i != axis
    ):
        return None
    total = sum(s.shape[axis] for s in inputs.values())
    return Spec((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype)


#: Rules by the names that ops have in ``nd``.
OUTPUTS: dict[str, Rule] = {
    **dict.fromkeys(
        ("relu", "sigmoid", "tanh", "exp", "identity", "Dropout", "softmax", "log_softmax"),
        _alike,
    ),
    **dict.fromkeys(("add", "subtract", "multiply", "divide", "maximum", "minimum"), _broadcast),
    **{
        key: _with_parameters(key, _unchanged)
        for key in ("BatchNorm", "LayerNorm", "InstanceNorm", "GroupNorm", "LeakyReLU")
    },
    "FullyConnected": _with_parameters("FullyConnected", _linear),
    "Convolution": _with_parameters("Convolution", _convolution),
    "Deconvolution": _with_parameters("Deconvolution", _deconvolution),
    "Activation": _activation,
    "Pooling": _pooled,
    "flatten": _flatten,
    "concat": _concat,
}
