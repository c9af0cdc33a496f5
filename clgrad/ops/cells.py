"""Recurrent cells: one step of a layer, as formulas, and as kernels made from the formulas.

A cell's gates come in two parts, ``x`` from the input and ``p`` from the state before, each with its bias;
both are (batch, gates * size), a gate's ``size`` columns behind those of the gate before. Formulas take
them as lists of gates. They are called with symbolic operands, for generated kernels of one step or of all
steps (:mod:`clgrad.kernels.recurrent`), and with arrays, to be recorded. Gates and their order are those
of MXNet and cuDNN:

==========  ==========================================================================================
mode        a step
==========  ==========================================================================================
rnn_relu    h' = relu(x + p)
rnn_tanh    h' = tanh(x + p)                                                            (Elman, 1990)
lstm        i, f, o = sigmoid(x + p), g = tanh(x + p), c' = f c + i g, h' = o tanh(c')
            gates i, f, g, o                             (Hochreiter & Schmidhuber, 1997; Gers, 1999)
gru         r, z = sigmoid(x + p), n = tanh(x + r p), h' = (1 - z) n + z h
            gates r, z, n                                                          (Cho et al., 2014)
==========  ==========================================================================================
"""

import math
from collections.abc import Sequence

import numpy as np

from clgrad.kernels import expr, map, recurrent
from clgrad.kernels.launch import In, Out, Plan
from clgrad.kernels.layout import Operand
from clgrad.ops.activation import relu, sigmoid
from clgrad.ops.selection import select
from clgrad.ops.shape import concat, slice_axis
from clgrad.ops.trigonometric import tanh
from clgrad.registry import Call, Spec, operator

#: Gates of each mode.
GATES = {"rnn_relu": 1, "rnn_tanh": 1, "lstm": 4, "gru": 3}
#: Parts of what :func:`activated` makes.
ACTIVATED = {"rnn_relu": 1, "rnn_tanh": 1, "lstm": 4, "gru": 4}


def limited(c, clip):
    """The LSTM's cell state within ``clip``: (low, high, whether NaN becomes low), or None."""
    if clip is None:
        return c
    low, high, stop_nan = clip
    inside = select(c < low, low, select(c > high, high, c))
    return select(c == c, inside, low) if stop_nan else inside


def _limited_grad(dc, c, clip):
    if clip is None:
        return dc
    low, high, stop_nan = clip
    outside = (c < low) + (c > high)
    return select(outside + (c != c) if stop_nan else outside, 0, dc)


def activated(mode: str, x: list, p: list) -> list:
    """The gates behind their functions, and of a GRU the p of n: what a step's gradient reads of them."""
    if mode == "gru":
        r, z = sigmoid(x[0] + p[0]), sigmoid(x[1] + p[1])
        return [r, z, tanh(x[2] + r * p[2]), p[2]]
    a = [u + v for u, v in zip(x, p, strict=True)]
    if mode == "lstm":
        return [sigmoid(a[0]), sigmoid(a[1]), tanh(a[2]), sigmoid(a[3])]
    return [(relu if mode == "rnn_relu" else tanh)(a[0])]


def forward(mode: str, gates: list, h, c, mask, clip) -> list:
    """The states after a step, from activated gates: h', and of an LSTM c'.

    Where the mask is 0, the states before stay.
    """
    if mode == "lstm":
        i, f, g, o = gates
        after = limited(f * c + i * g, clip)
        states, before = [o * tanh(after), after], [h, c]
    elif mode == "gru":
        _, z, n, _ = gates
        states, before = [(1 - z) * n + z * h], [h]
    else:
        states, before = gates, [h]
    if mask is None:
        return states
    return [s if b is None else select(mask, s, b) for s, b in zip(states, before, strict=True)]


def backward(mode: str, gates: list, h, c, mask, dh, dc, clip) -> tuple:
    """From the gradients of h' and c': those of the gates x and p, of h, and of c.

    Of h, this is the part that does not go through p, or None; that of c is None but for an LSTM.
    """
    lstm = mode == "lstm"
    if mask is None:
        return _backward(mode, gates, h, c, dh, dc, clip)
    dx, dp, kept, before = _backward(
        mode, gates, h, c, select(mask, dh, 0), select(mask, dc, 0) if lstm else None, clip
    )
    inside = [select(mask, g, 0) for g in dx]  # the gates may hold NaN where the mask is 0
    if mode == "gru":
        return inside, [select(mask, g, 0) for g in dp], select(mask, kept, dh), None
    return inside, inside, select(mask, 0, dh), select(mask, before, dc) if lstm else None


def _backward(mode: str, gates, h, c, dh, dc, clip) -> tuple:
    if mode == "lstm":
        return _lstm_backward(gates, c, dh, dc, clip)
    if mode == "gru":
        r, z, n, p = gates
        dn = dh * (1 - z) * (1 - n * n)
        dr, dz = dn * p * r * (1 - r), dh * (h - n) * z * (1 - z)
        return [dr, dz, dn], [dr, dz, dn * r], dh * z, None
    y = gates[0]
    da = select(y > 0, dh, 0) if mode == "rnn_relu" else dh * (1 - y * y)
    return [da], [da], None, None


def _lstm_backward(gates, c, dh, dc, clip) -> tuple:
    i, f, g, o = gates
    raw = f * c + i * g
    t = tanh(limited(raw, clip))
    dc = _limited_grad(dc + dh * o * (1 - t * t), raw, clip)
    da = [
        dc * g * i * (1 - i),
        dc * c * f * (1 - f),
        dc * i * (1 - g * g),
        dh * t * o * (1 - o),
    ]
    return da, da, None, dc * f


class _Kernel:
    """A map over (batch, size) whose operands and outputs may be gates within wider rows."""

    def __init__(self, call: Call, shape: tuple[int, int], dtype: np.dtype):
        self.call, self.shape, self.dtype = call, shape, dtype
        self.operands: list[Operand] = []
        self.sources: list[In] = []
        self.outputs: list[map.Output] = []
        self.targets: list[Out] = []
        self.results: list[tuple[tuple[int, int], np.dtype]] = []
        self.inputs = 0

    def _part(self, dtype: np.dtype, width: int, gate: int) -> Operand:
        """Columns of one gate; of a mask, the same number in each column."""
        size = self.shape[1]
        return Operand(dtype, (1, 0) if width == 1 != size else (width, 1), gate * size)

    def read(self, spec: Spec | None) -> list:
        """The gates of the next input, each as an operand; [None] for one that was left out."""
        if spec is None:
            return [None]
        width = spec.shape[-1]
        gates = [self._part(spec.dtype, width, k) for k in range(max(1, width // max(1, self.shape[1])))]
        first = len(self.operands)
        self.operands += gates
        self.sources += [In(self.inputs)] * len(gates)
        self.inputs += 1
        return [expr.operand(first + k, spec.dtype) for k in range(len(gates))]

    def write(self, values: list) -> None:
        """The next output: as many gates as there are values."""
        width = len(values) * self.shape[1]
        for gate, value in enumerate(values):
            self.outputs.append(map.Output(value, self._part(self.dtype, width, gate)))
            self.targets.append(Out(len(self.results)))
        self.results.append(((self.shape[0], width), self.dtype))

    def plan(self, what: str) -> Plan:
        """The one launch."""
        steps = []
        if math.prod(self.shape):
            name = self.call.kernel(self.dtype, what)
            parts = self.outputs, self.operands, (), self.sources, self.targets
            steps.append(map.step(self.call.device, name, self.shape, *parts))
        return Plan(self.call.device, steps, self.results, self.inputs)


@operator(name="_rnn_cell", label="RNN")
def rnn_cell(
    call: Call,
    x: Spec,
    p: Spec,
    h: Spec | None = None,
    c: Spec | None = None,
    mask: Spec | None = None,
    *,
    mode,
    clip,
):
    """One step of a cell (see :func:`forward`): the activated gates, h', and of an LSTM c'."""
    kernel = _Kernel(call, (x.shape[0], x.shape[1] // GATES[mode]), x.dtype)
    xs, ps = (kernel.read(spec) for spec in (x, p))
    state, cell, valid = (kernel.read(spec)[0] for spec in (h, c, mask))
    gates = activated(mode, xs, ps)
    kernel.write(gates)
    for after in forward(mode, gates, state, cell, valid, clip):
        kernel.write([after])
    return kernel.plan(f"{mode}_step")


@operator(name="_rnn_cell_grad", label="RNN")
def rnn_cell_grad(
    call: Call,
    gates: Spec,
    h: Spec | None = None,
    c: Spec | None = None,
    mask: Spec | None = None,
    dh: Spec | None = None,
    dh_gates: Spec | None = None,
    dh_kept: Spec | None = None,
    dc: Spec | None = None,
    dc_next: Spec | None = None,
    *,
    mode,
    clip,
):
    """:func:`backward` of one step: dx (and dp, of a GRU), then what there is for h and c.

    The gradient of h' is the sum of ``dh`` from the layer's output and, from the next step, of
    ``dh_gates`` through its gates and ``dh_kept`` past them; that of c' is the sum of ``dc`` and
    ``dc_next``.
    """
    kernel = _Kernel(call, (gates.shape[0], gates.shape[1] // ACTIVATED[mode]), gates.dtype)
    known = kernel.read(gates)
    state, cell, valid = (kernel.read(spec)[0] for spec in (h, c, mask))
    head = total([kernel.read(spec)[0] for spec in (dh, dh_gates, dh_kept)])
    cell_head = total([kernel.read(spec)[0] for spec in (dc, dc_next)])
    dx, dp, kept, before = backward(mode, known, state, cell, valid, head, cell_head, clip)
    for values in (dx, dp)[: 2 if mode == "gru" else 1]:
        kernel.write(values)
    for value in (kept, before):
        if value is not None:
            kernel.write([value])
    return kernel.plan(f"{mode}_grad")


def layer_of(steps: int, batch: int, size: int, dtype, mask, mode: str, reverse: bool) -> recurrent.Layer:
    """What planners are told of a layer; ``mask`` is its array, or spec, or None."""
    kind = None if mask is None else mask.dtype
    counts = GATES[mode], ACTIVATED[mode]
    return recurrent.Layer(steps, batch, size, *counts, dtype, kind, mode == "lstm", reverse)


@operator(name="_rnn_steps", label="RNN")
def rnn_steps(
    call: Call,
    x: Spec,
    weight: Spec,
    bias: Spec,
    state: Spec,
    cell: Spec | None = None,
    mask: Spec | None = None,
    *,
    mode,
    reverse,
    clip,
):
    """All steps of a layer in one launch: hs, the activated gates, and of an LSTM cs."""
    steps, batch, _ = x.shape
    layer = layer_of(steps, batch, state.shape[1], x.dtype, mask, mode, reverse)

    def formulas(x, p, h, c, mask):
        gates = activated(mode, x, p)
        after = forward(mode, gates, h, c, mask, clip)
        return {"gates": gates} | {name: [value] for name, value in zip(("hs", "cs"), after, strict=False)}

    return recurrent.plan_forward(call.device, call.kernel(x.dtype, f"{mode}_steps"), layer, formulas)


@operator(name="_rnn_steps_grad", label="RNN")
def rnn_steps_grad(
    call: Call,
    gates: Spec,
    weight: Spec,
    hs: Spec,
    state: Spec,
    cs: Spec | None = None,
    cell: Spec | None = None,
    mask: Spec | None = None,
    d_hs: Spec | None = None,
    d_cs: Spec | None = None,
    *,
    mode,
    reverse,
    clip,
):
    """:func:`backward` of all steps in one launch: dx (and dp, of a GRU), dh, and of an LSTM dc."""
    steps, batch, size = hs.shape
    layer = layer_of(steps, batch, size, hs.dtype, mask, mode, reverse)
    heads = [name for name, spec in (("d_hs", d_hs), ("d_cs", d_cs)) if spec is not None]

    def formulas(gates, h, c, mask, dh, dc):
        dx, dp, kept, before = backward(mode, gates, h, c, mask, dh, dc, clip)
        two = {"dp": dp} if mode == "gru" else {}
        handed = {name: [value] for name, value in (("kept", kept), ("carry", before)) if value is not None}
        return {"dx": dx} | two | handed

    name = call.kernel(hs.dtype, f"{mode}_steps_grad")
    return recurrent.plan_backward(call.device, name, layer, tuple(heads), mode == "gru", formulas)


def total(parts: Sequence):
    """The sum of what is there; 0 for nothing."""
    terms = [part for part in parts if part is not None]
    result = terms[0] if terms else 0
    for term in terms[1:]:
        result = result + term
    return result


def recorded_cell_grad(x, p, h, c, mask, dh: Sequence, dc: Sequence, mode: str, clip) -> tuple:
    """:func:`backward` of one step by recorded ops, for derivatives of higher orders."""
    size = x.shape[1] // GATES[mode]
    xs, ps = (
        [slice_axis(part, 1, k * size, (k + 1) * size) for k in range(GATES[mode])] for part in (x, p)
    )
    gates = activated(mode, xs, ps)
    dx, dp, kept, before = backward(mode, gates, h, c, mask, total(dh), total(dc), clip)
    d_x = concat(*dx, dim=1)
    return d_x, d_x if dp is dx else concat(*dp, dim=1), kept, before
