"""Shapes of layers' parameters by those of their data."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clgrad.errors import argument_error

Shape = tuple[int, ...]
Rule = Callable[[dict[str, Shape], Mapping[str, Any]], dict[str, Shape]]


def sizes(attributes: Mapping[str, Any], name: str, axes: int, default: int) -> Shape:
    """A size for each axis, as an attribute has it: one for all, or each, or none."""
    value = attributes.get(name)
    return (value,) * axes if isinstance(value, int) else tuple(value or (default,) * axes)


def _data(shapes: dict[str, Shape]) -> Shape:
    shape = shapes.get("data")
    if not shape:
        raise argument_error("infer_shape", "data", f"of shape {shape}", "one axis or more, and known")
    return shape


def _linear(shapes: dict[str, Shape], attributes: Mapping[str, Any]) -> dict[str, Shape]:
    data, units = _data(shapes), int(attributes["num_hidden"])
    inputs = math.prod(data[1:]) if attributes.get("flatten", True) else data[-1]
    return {"weight": (units, inputs), "bias": (units,)}


def _kernel(shapes: dict[str, Shape], attributes: Mapping[str, Any]) -> Shape:
    data = _data(shapes)
    kernel = sizes(attributes, "kernel", len(data) - 2, 0)
    if len(data) != len(kernel) + 2 or len(data) < 3:
        axes = f"{len(kernel) + 2} axes, to go with the kernel {kernel}"
        raise argument_error("infer_shape", "data", f"of shape {data}", axes)
    return kernel


def has_channels_last(attributes: Mapping[str, Any]) -> bool:
    """Whether a layer of windows has the layout NWC, NHWC or NDHWC."""
    return str(attributes.get("layout")).endswith("C")


def _weight(outer: int, inner: int, kernel: Shape, attributes: Mapping[str, Any]) -> Shape:
    return (outer, *kernel, inner) if has_channels_last(attributes) else (outer, inner, *kernel)


def _channels(shapes: dict[str, Shape], attributes: Mapping[str, Any]) -> int:
    return _data(shapes)[-1 if has_channels_last(attributes) else 1]


def _convolution(shapes: dict[str, Shape], attributes: Mapping[str, Any]) -> dict[str, Shape]:
    kernel, filters = _kernel(shapes, attributes), int(attributes["num_filter"])
    each = _channels(shapes, attributes) // int(attributes.get("num_group", 1))
    return {"weight": _weight(filters, each, kernel, attributes), "bias": (filters,)}


def _deconvolution(shapes: dict[str, Shape], attributes: Mapping[str, Any]) -> dict[str, Shape]:
    kernel, filters = _kernel(shapes, attributes), int(attributes["num_filter"])
    each = filters // int(attributes.get("num_group", 1))
    return {
        "weight": _weight(_channels(shapes, attributes), each, kernel, attributes),
        "bias": (filters,),
    }


def _vectors(default_axis: int) -> Rule:
    """Of normalisation: one number for each place along an axis."""

    def rule(shapes: dict[str, Shape], attributes: Mapping[str, Any]) -> dict[str, Shape]:
        data, axis = _data(shapes), int(attributes.get("axis", default_axis))
        if not -len(data) <= axis < len(data):
            accepted = f"a shape that has the axis {axis}"
            raise argument_error("infer_shape", "data", f"of shape {data}", accepted)
        return dict.fromkeys(("gamma", "beta", "moving_mean", "moving_var"), (data[axis],))

    return rule


def _groups(shapes: dict[str, Shape], attributes: Mapping[str, Any]) -> dict[str, Shape]:
    return dict.fromkeys(("gamma", "beta"), (int(attributes.get("num_groups", 1)),))


def _embedding(shapes: dict[str, Shape], attributes: Mapping[str, Any]) -> dict[str, Shape]:
    return {"weight": (int(attributes["input_dim"]), int(attributes["output_dim"]))}


def _slopes(shapes: dict[str, Shape], attributes: Mapping[str, Any]) -> dict[str, Shape]:
    data = _data(shapes)
    return {"gamma": data[1:2] or data}


def _alike(names: Sequence[str]) -> Rule:
    """Of elementwise ops that do not broadcast: all as the one that is known."""

    def rule(shapes: dict[str, Shape], attributes: Mapping[str, Any]) -> dict[str, Shape]:
        return dict.fromkeys(names, next(iter(shapes.values())))

    return rule


#: Rules by the names that ops have in ``nd``.
PARAMETERS: dict[str, Rule] = {
    "FullyConnected": _linear,
    "Convolution": _convolution,
    "Deconvolution": _deconvolution,
    "BatchNorm": _vectors(1),
    "contrib.BatchNormWithReLU": _vectors(1),
    "contrib.SyncBatchNorm": _vectors(1),
    "LayerNorm": _vectors(-1),
    "InstanceNorm": _vectors(1),
    "GroupNorm": _groups,
    "Embedding": _embedding,
    "LeakyReLU": _slopes,
    **dict.fromkeys(
        ("elemwise_add", "elemwise_sub", "elemwise_mul", "elemwise_div"), _alike(("lhs", "rhs"))
    ),
}
