"""Elementwise functions of two arrays (or an array and a number), comparisons, sums of many."""

import math

import numpy as np

from clgrad.kernels import expr, map
from clgrad.kernels.expr import call
from clgrad.ops.selection import select
from clgrad.ops.unary import cube, floor, log, square
from clgrad.registry import Call, Spec, elementwise, operator


@elementwise(aliases=("broadcast_add", "broadcast_plus"), reference=np.add, integers=True)
def add(lhs, rhs):
    """lhs + rhs."""
    return lhs + rhs


add.gradient(lhs=lambda dy: dy, rhs=lambda dy: dy)


@elementwise(aliases=("broadcast_sub", "broadcast_minus"), reference=np.subtract, integers=True)
def subtract(lhs, rhs):
    """lhs - rhs."""
    return lhs - rhs


subtract.gradient(lhs=lambda dy: dy, rhs=lambda dy: -dy)


@elementwise(aliases=("broadcast_mul",), reference=np.multiply, integers=True)
def multiply(lhs, rhs):
    """lhs * rhs."""
    return lhs * rhs


multiply.gradient(lhs=lambda dy, rhs: dy * rhs, rhs=lambda dy, lhs: dy * lhs)


@elementwise(aliases=("broadcast_div", "true_divide"), reference=np.divide, domain=(0.5, 3))
def divide(lhs, rhs):
    """lhs / rhs; whole numbers divide as in C, and give 0 where rhs is 0."""
    return lhs / rhs


divide.gradient(lhs=lambda dy, rhs: dy / rhs, rhs=lambda dy, y, rhs: -(dy * y / rhs))


@elementwise(aliases=("broadcast_mod",), reference=np.mod, domain=(0.7, 3), integers=True)
def modulo(lhs, rhs):
    """The remainder of lhs / rhs with the sign of rhs; 0 where rhs is 0."""
    real = expr.promote(lhs, rhs)[0].dtype.kind == "f"
    return call("float_modulo" if real else "int_modulo", lhs, rhs)


modulo.gradient(lhs=lambda dy: dy, rhs=lambda dy, lhs, rhs: -(dy * floor(lhs / rhs)))


@elementwise(name="_floor_divide", reference=np.floor_divide, domain=(0.7, 3))
def floor_divide(lhs, rhs):
    """The largest whole number not above lhs / rhs; of whole numbers, 0 where rhs is 0."""
    if expr.promote(lhs, rhs)[0].dtype.kind == "f":
        quotient = call("floor", lhs / rhs)
        # A negative quotient that underflows is still below 0; and infinity has no remainder by numbers.
        below = (quotient == 0) * logical_xor(lhs < 0, rhs < 0) * (lhs != 0)
        infinite = call("fabs", lhs) == math.inf
        return select(infinite * (rhs != 0), math.nan, select(below, -1, quotient))
    return call("int_floor_divide", lhs, rhs)


@elementwise(
    aliases=("broadcast_power", "pow"),
    synonyms={"base": "lhs", "exp": "rhs"},
    reference=np.power,
    domain=(0.5, 2),
)
def power(lhs, rhs):
    """lhs to the power of rhs; MXNet's names of the two, base and exp, serve as well."""
    real = expr.promote(lhs, rhs)[0].dtype.kind == "f"
    return call("pow" if real else "int_power", lhs, rhs)


# x^0 is 1 everywhere, so its derivative is 0 even at x = 0; and 0^y is constant in y > 0.
power.gradient(
    lhs=lambda dy, lhs, rhs: dy * rhs * power(lhs, select((lhs == 0) * (rhs == 0), 0, rhs - 1)),
    rhs=lambda dy, y, lhs: select(lhs == 0, 0, dy * y * log(select(lhs == 0, 1, lhs))),
)


# pow takes some ten times as long as a product.
power.becomes(square, rhs=2)
power.becomes(cube, rhs=3)


@elementwise(aliases=("broadcast_maximum",), reference=np.maximum, integers=True)
def maximum(lhs, rhs):
    """The larger of two, NaN if either is NaN; at a tie lhs gets the whole gradient."""
    return select((lhs >= rhs) + (lhs != lhs), lhs, rhs)


maximum.gradient(
    lhs=lambda dy, lhs, rhs: select(lhs >= rhs, dy, 0),
    rhs=lambda dy, lhs, rhs: select(lhs >= rhs, 0, dy),
)


@elementwise(aliases=("broadcast_minimum",), reference=np.minimum, integers=True)
def minimum(lhs, rhs):
    """The smaller of two, NaN if either is NaN; at a tie lhs gets the whole gradient."""
    return select((lhs <= rhs) + (lhs != lhs), lhs, rhs)


minimum.gradient(
    lhs=lambda dy, lhs, rhs: select(lhs <= rhs, dy, 0),
    rhs=lambda dy, lhs, rhs: select(lhs <= rhs, 0, dy),
)


@elementwise(aliases=("broadcast_hypot",), reference=np.hypot, domain=(0.5, 2))
def hypot(lhs, rhs):
    """sqrt(lhs^2 + rhs^2), without overflow on the way."""
    return call("hypot", lhs, rhs)


def _share(side, length):
    """side / length; 0 (a subgradient) at the origin, to every order."""
    return select(length == 0, 0, side / select(length == 0, 1, length))


hypot.gradient(
    lhs=lambda dy, y, lhs: dy * _share(lhs, y),
    rhs=lambda dy, y, rhs: dy * _share(rhs, y),
)


@elementwise(aliases=("broadcast_arctan2",), reference=np.arctan2, domain=(0.5, 2))
def arctan2(lhs, rhs):
    """The angle of the point (rhs, lhs)."""
    return call("atan2", lhs, rhs)


def _over_square(side, length):
    """side / length^2, without overflow on the way; 0 at the origin."""
    return _share(_share(side, length), length)


arctan2.gradient(
    lhs=lambda dy, lhs, rhs: dy * _over_square(rhs, hypot(lhs, rhs)),
    rhs=lambda dy, lhs, rhs: -(dy * _over_square(lhs, hypot(lhs, rhs))),
)


@elementwise(aliases=("broadcast_equal",), reference=np.equal, integers=True)
def equal(lhs, rhs):
    """1 where lhs == rhs, else 0, in the operands' dtype."""
    return expr.compare("eq", lhs, rhs)


@elementwise(aliases=("broadcast_not_equal",), reference=np.not_equal, integers=True)
def not_equal(lhs, rhs):
    """1 where lhs != rhs, else 0, in the operands' dtype."""
    return expr.compare("ne", lhs, rhs)


@elementwise(aliases=("broadcast_greater",), reference=np.greater, integers=True)
def greater(lhs, rhs):
    """1 where lhs > rhs, else 0, in the operands' dtype."""
    return expr.compare("gt", lhs, rhs)


@elementwise(aliases=("broadcast_greater_equal",), reference=np.greater_equal, integers=True)
def greater_equal(lhs, rhs):
    """1 where lhs >= rhs, else 0, in the operands' dtype."""
    return expr.compare("ge", lhs, rhs)


@elementwise(aliases=("broadcast_lesser",), reference=np.less, integers=True)
def lesser(lhs, rhs):
    """1 where lhs < rhs, else 0, in the operands' dtype."""
    return expr.compare("lt", lhs, rhs)


@elementwise(aliases=("broadcast_lesser_equal",), reference=np.less_equal, integers=True)
def lesser_equal(lhs, rhs):
    """1 where lhs <= rhs, else 0, in the operands' dtype."""
    return expr.compare("le", lhs, rhs)


@elementwise(aliases=("broadcast_logical_and",), reference=np.logical_and, integers=True)
def logical_and(lhs, rhs):
    """1 where both are not 0, else 0."""
    return expr.compare("ne", lhs, 0) * expr.compare("ne", rhs, 0)


@elementwise(aliases=("broadcast_logical_or",), reference=np.logical_or, integers=True)
def logical_or(lhs, rhs):
    """1 where at least one is not 0, else 0."""
    return (expr.compare("ne", lhs, 0) + expr.compare("ne", rhs, 0)) > 0


@elementwise(aliases=("broadcast_logical_xor",), reference=np.logical_xor, integers=True)
def logical_xor(lhs, rhs):
    """1 where exactly one is not 0, else 0."""
    return expr.compare("ne", expr.compare("ne", lhs, 0), expr.compare("ne", rhs, 0))


def _equal_shapes(name: str, op):
    """MXNet's elemwise form of a broadcasting op: the same formula and rules, equal shapes wanted."""
    twin = elementwise(name, broadcasts=False, **op.testing)(op.function)
    twin.gradients.update(op.gradients)
    return twin


elemwise_add = _equal_shapes("elemwise_add", add)
elemwise_sub = _equal_shapes("elemwise_sub", subtract)
elemwise_mul = _equal_shapes("elemwise_mul", multiply)
elemwise_div = _equal_shapes("elemwise_div", divide)


@operator(aliases=("ElementWiseSum",))
def add_n(call: Call, *args: Spec):
    """The sum of any number of arrays of one shape and dtype, added from the first to the last."""
    shape, dtype = args[0]
    for position, other in enumerate(args):
        if other != args[0]:
            raise call.error(f"args[{position}]", f"{other.dtype} {other.shape}", f"{dtype} {shape}")
    return map.plan_sum(call.device, call.kernel(dtype), shape, dtype, len(args))


add_n.gradient(args=lambda dy: dy)
