"""Dropout (Srivastava et al., 2014)."""

from clgrad import tape
from clgrad.errors import argument_error
from clgrad.kernels import random
from clgrad.ops.arguments import check_floating, kept_shape, reduced_axes
from clgrad.ops.arithmetic import multiply
from clgrad.ops.creation import dtype_of, zeros_like
from clgrad.ops.generator import generator
from clgrad.ops.selection import select
from clgrad.ops.unary import identity
from clgrad.registry import Call, Spec, composite, operator


@operator(name="_dropout", label="Dropout", outputs=("y", "mask"), numbers=("seed", "draw", "keep"))
def _dropout(call: Call, data: Spec, *, seed, draw, keep):
    """Each element kept with probability ``keep`` and divided by it, else 0; and the factors."""
    return random.plan_dropout(call.device, call.kernel(data.dtype), data.shape, data.dtype)


_dropout.gradient(data=lambda dy, mask: dy * mask.detach())  # no gradient flows to what was drawn


@operator(name="_dropout_mask", numbers=("seed", "draw", "keep"))
def _dropout_mask(call: Call, *, shape, dtype, seed, draw, keep):
    """1 / keep with probability ``keep``, else 0."""
    dtype = dtype_of(call, dtype)
    return random.plan_mask(call.device, call.kernel(dtype), shape, dtype)


@composite()
def Dropout(data, p=0.5, mode="training", axes=(), cudnn_off=False):
    """Elements set to 0 with probability p and the others divided by 1 - p, in training mode.

    ``mode`` ``always`` drops in prediction too; along ``axes`` one draw serves all elements. With p = 1
    the result is 0.
    """
    check_floating("Dropout", data=data)
    if not 0 <= p <= 1:
        raise argument_error("Dropout", "p", p, "0 <= p <= 1")
    if mode not in ("training", "always"):
        raise argument_error("Dropout", "mode", repr(mode), "'training' or 'always'")
    if p == 0 or (mode == "training" and not tape.state.training):
        return identity(data)
    if p == 1:
        return select(zeros_like(data), data, 0)
    draw = generator.next(data.context)
    if not axes:
        return _dropout(data, keep=1 - p, **draw)[0]
    shape = kept_shape(data.shape, reduced_axes("Dropout", data.ndim, axes))
    mask = _dropout_mask.create(data.context, shape=shape, dtype=data._view.dtype.name, keep=1 - p, **draw)
    return multiply(data, mask)
