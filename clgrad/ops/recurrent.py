"""Recurrent layers: RNN, with the cells of :mod:`clgrad.ops.cells`.

For each layer and direction, the products of the input and its weights are one matrix product for the
whole sequence. On CPUs one launch takes all steps from there (:mod:`clgrad.kernels.recurrent`); elsewhere,
and for 16-bit numbers, a step is one product with the state, by weights that are transposed once, and one
cell kernel. A layer's steps are one node of the tape, whose rule goes back in as many launches, and
multiplies out the weights' gradients for all steps at once.
"""

import itertools
import math
from typing import NamedTuple

from clgrad import array, tape
from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.kernels import recurrent
from clgrad.ops import reduction
from clgrad.ops.arguments import check_floating
from clgrad.ops.cells import (
    ACTIVATED,
    GATES,
    layer_of,
    recorded_cell_grad,
    rnn_cell,
    rnn_cell_grad,
    rnn_steps,
    rnn_steps_grad,
    total,
)
from clgrad.ops.conversion import cast
from clgrad.ops.creation import arange, zeros
from clgrad.ops.dropout import Dropout
from clgrad.ops.pieces import rows_of, unpack
from clgrad.ops.product import _gemm, _linear
from clgrad.ops.selection import select
from clgrad.ops.shape import concat, stack, take_slice, transpose, with_shape
from clgrad.registry import composite, grouped


def _flat(data: NDArray) -> NDArray:
    """A (steps, batch, n) array as a matrix with a row for each step and member of the batch."""
    steps, batch, n = data.shape
    return with_shape(data, shape=(steps * batch, n))


def _empty(like: NDArray, *shape: int) -> NDArray:
    return array.empty(shape, like._view.dtype, like.context)


def _order(steps: int, reverse: bool) -> range:
    return range(steps - 1, -1, -1) if reverse else range(steps)


def _read(mode: str, h, c, mask) -> dict:
    """What a cell's kernel reads of the states before: what its formulas use."""
    return {"h": h if mode == "gru" or mask is not None else None, "c": c, "mask": mask}


def _launch(op, attributes: dict, out: list | None = None, **arrays):
    """Run an op on those arrays that there are, which are named in the order of its arguments.

    As a call would; but for layers of many short steps the sorting of arguments takes as long as the rest.
    """
    given = {name: a for name, a in arrays.items() if a is not None}
    return op.apply(tuple(given), list(given.values()), attributes, out)


@grouped(name="_rnn_layer", label="RNN", outputs=("hs", "gates", "cs"))
def rnn_layer(x, weight, bias, state, cell=None, mask=None, *, mode, reverse, clip):
    """All steps of one layer in one direction.

    ``x`` (steps, batch, gates * size) is the input's part of the gates; where ``mask`` (steps, batch, 1)
    is 0, the states before stay. Returns hs, the states; the activated gates, for the gradient alone; cs,
    the cell states of an LSTM (else of shape (0,)).
    """
    steps, batch, width = x.shape
    size = width // GATES[mode]
    if _at_once(x, state, mask, size, mode, reverse):
        given = {"x": x, "weight": weight, "bias": bias, "state": state, "cell": cell, "mask": mask}
        made = _launch(rnn_steps, {"mode": mode, "reverse": reverse, "clip": clip}, **given)
        return made if mode == "lstm" else [*made, _empty(x, 0)]
    hs, gates = _empty(x, steps, batch, size), _empty(x, steps, batch, ACTIVATED[mode] * size)
    cs = _empty(x, steps, batch, size) if mode == "lstm" else None
    rows = [rows_of(a, steps) for a in (x, hs, gates, cs, mask)]
    h, c = state, cell
    attributes = {"mode": mode, "clip": clip}
    across = transpose(weight)  # once, and not in each step's product
    for t in _order(steps, reverse):
        x_t, h_t, gates_t, c_t, mask_t = (r[t] for r in rows)
        p = _linear(h, across, bias, transpose_b=False)
        out = [gates_t, h_t] if c_t is None else [gates_t, h_t, c_t]
        _launch(rnn_cell, attributes, out, x=x_t, p=p, **_read(mode, h, c, mask_t))
        h, c = h_t, c_t
    return [hs, gates, _empty(x, 0) if cs is None else cs]


def _at_once(x, state, mask, size: int, mode: str, reverse: bool) -> bool:
    """Whether one launch takes all steps."""
    steps, batch, _ = x.shape
    layer = layer_of(steps, batch, size, x._view.dtype, None if mask is None else mask._view, mode, reverse)
    return state.shape[1] == size and recurrent.takes(x._view.device, layer)


class _Steps(NamedTuple):
    """What each step's gradient reads, by the step's number; None where there is nothing."""

    gates: list
    h: list
    c: list
    mask: list
    dh: list
    dc: list


@rnn_layer.joint_gradient("x", "weight", "bias", "state", "cell")
def _(dys, x, weight, bias, state, cell, mask, hs, gates, cs, mode, reverse, clip):
    """Backpropagation through time (Werbos, 1990); by recorded ops where it is to be differentiated."""
    d_hs, _, d_cs = dys
    before = _flat(_joined_before(state, hs, reverse))
    at_once = _at_once(x, state, mask, hs.shape[2], mode, reverse)
    if at_once and not tape.state.recording:
        lstm, attributes = mode == "lstm", {"mode": mode, "reverse": reverse, "clip": clip}
        given = {"gates": gates, "weight": weight, "hs": hs, "state": state, "cs": cs if lstm else None}
        given |= {"cell": cell, "mask": mask, "d_hs": d_hs, "d_cs": d_cs if lstm else None}
        dx, *others = _launch(rnn_steps_grad, attributes, **given)
        dp = others.pop(0) if mode == "gru" else dx
        dh, dc = others if lstm else (others[0], None)
    else:
        steps, order = x.shape[0], _order(x.shape[0], reverse)
        s = _Steps(
            gates=rows_of(gates, steps),
            h=_states_before(state, hs, order),
            c=_states_before(cell, cs, order),
            mask=rows_of(mask, steps),
            dh=rows_of(d_hs, steps),
            dc=rows_of(d_cs, steps),
        )
        nothing = zeros(hs.shape[1:], hs.context, hs._view.dtype)
        start = nothing, None if cell is None else nothing
        if tape.state.recording:
            p = with_shape(_linear(before, weight, bias), shape=x.shape)
            dx, dp, dh, dc = _walk_recorded(s, x, p, weight, *start, mode, order, clip)
        else:
            dx, dp, dh, dc = _walk_fused(s, x, weight, *start, mode, order, clip)
    flat = _flat(dp)
    d_weight = _gemm(flat, before, transpose_a=True, transpose_b=False)
    return dx, d_weight, reduction.sum(flat, axis=0), dh, dc


def _states_before(initial: NDArray | None, states: NDArray, order: range) -> list:
    """For each step, the state that it began with."""
    before = [initial] * len(order)
    if initial is not None:
        rows = rows_of(states, len(order))
        for earlier, t in itertools.pairwise(order):
            before[t] = rows[earlier]
    return before


def _joined_before(state: NDArray, hs: NDArray, reverse: bool) -> NDArray:
    """The states that the steps began with, as one array."""
    steps, batch, size = hs.shape
    first = with_shape(state, shape=(1, *state.shape))
    if steps < 2:  # one state of a projection's size, perhaps
        return first if steps else hs
    others = take_slice(hs, (int(reverse), 0, 0), (1, 1, 1), (steps - 1, batch, size))
    return concat(others, first, dim=0) if reverse else concat(first, others, dim=0)


def _walk_fused(s: _Steps, x, weight, dh, dc, mode, order, clip) -> tuple:
    """Gradients of x, of ps, and of the first states: two launches for each step."""
    two = mode == "gru"  # else the gradients of x and ps are the same
    wholes = [_empty(x, *x.shape) for _ in range(1 + two)]
    rows = [rows_of(whole, len(order)) for whole in wholes]
    attributes, flags = {"mode": mode, "clip": clip}, {"transpose_a": False, "transpose_b": False}
    kept = None
    for t in reversed(order):
        reads = _read(mode, s.h[t], s.c[t], s.mask[t])
        heads = {"dh": s.dh[t], "dh_gates": dh, "dh_kept": kept, "dc": s.dc[t], "dc_next": dc}
        kept = _empty(dh, *dh.shape) if two or s.mask[t] is not None else None
        dc = None if dc is None else _empty(dc, *dc.shape)
        out = [row[t] for row in rows] + [a for a in (kept, dc) if a is not None]
        _launch(rnn_cell_grad, attributes, out, gates=s.gates[t], **reads, **heads)
        dh = _empty(dh, len(dh), weight.shape[1])
        _launch(_gemm, flags, [dh], lhs=rows[-1][t], rhs=weight)
    return wholes[0], wholes[-1], total([dh, kept]), dc


def _walk_recorded(s: _Steps, x, p, weight, dh, dc, mode, order, clip) -> tuple:
    """The same by ops that have gradients themselves, from what the gates were made of."""
    steps = len(order)
    xs, ps = rows_of(x, steps), rows_of(p, steps)
    dx, dp = [None] * steps, [None] * steps
    kept = None
    for t in reversed(order):
        heads = [s.dh[t], dh, kept], [s.dc[t], dc]
        dx[t], dp[t], kept, dc = recorded_cell_grad(
            xs[t], ps[t], s.h[t], s.c[t], s.mask[t], *heads, mode, clip
        )
        dh = _gemm(dp[t], weight, transpose_a=False, transpose_b=False)
    joined = [stack(*rows) if rows else _empty(x, *x.shape) for rows in (dx, dp)]
    return *joined, total([dh, kept]), dc


# RNN


class _Shapes(NamedTuple):
    """Sizes of an RNN, checked."""

    steps: int
    batch: int
    inputs: int
    size: int
    layers: int
    directions: int
    gates: int
    projected: int | None

    @property
    def state(self) -> int:
        """Size of a state h: that of its projection where there is one."""
        return self.projected or self.size

    def parameters(self) -> list[tuple[int, ...]]:
        """Shapes of the arrays in the packed parameters: all weights, then all biases.

        Of each layer and direction: input to gates, state to gates, and the projection where there is
        one; then both biases.
        """
        width = self.gates * self.size
        weights: list[tuple[int, ...]] = []
        for layer in range(self.layers):
            inputs = self.state * self.directions if layer else self.inputs
            projection = [(self.projected, self.size)] if self.projected else []
            weights += [(width, inputs), (width, self.state), *projection] * self.directions
        return weights + [(width,)] * (2 * self.layers * self.directions)


def _sizes(data, state_size, num_layers, bidirectional, mode, projection_size) -> _Shapes:
    """Check data and the numbers that go with it."""
    if mode not in GATES:
        raise argument_error("RNN", "mode", repr(mode), ", ".join(GATES))
    if data.ndim != 3:
        raise argument_error("RNN", "data", f"of shape {data.shape}", "(steps, batch, inputs)")
    check_floating("RNN", data=data)
    if projection_size is not None and (mode != "lstm" or projection_size < 1):
        raise argument_error("RNN", "projection_size", projection_size, "a size, for an lstm only; or None")
    for name, number in (("state_size", state_size), ("num_layers", num_layers)):
        if number is None or number < 1:
            raise argument_error("RNN", name, number, "a whole number from 1 on")
    steps, batch, inputs = data.shape
    size, layers, directions = int(state_size), int(num_layers), 1 + bool(bidirectional)
    return _Shapes(steps, batch, inputs, size, layers, directions, GATES[mode], projection_size)


def _check_array(argument: str, given, data, shape: tuple[int, ...]) -> None:
    if given is None or given.shape != shape or given._view.dtype != data._view.dtype:
        found = None if given is None else f"{given._view.dtype} {given.shape}"
        raise argument_error("RNN", argument, found, f"{data._view.dtype} {shape}")


def _clip(low, high, stop_nan):
    """The LSTM's limits as cells take them."""
    if (low is None) != (high is None):
        raise argument_error("RNN", "lstm_state_clip_min, _max", (low, high), "both or neither")
    return None if low is None else (float(low), float(high), bool(stop_nan))


def _mask(lengths, sizes: _Shapes) -> NDArray:
    """1 for each step that is within a sequence's length, of shape (steps, batch, 1)."""
    if lengths is None or lengths.shape != (sizes.batch,):
        found = None if lengths is None else f"of shape {lengths.shape}"
        raise argument_error("RNN", "sequence_length", found, f"of shape ({sizes.batch},)")
    places = arange(sizes.steps, dtype="int32", ctx=lengths.context)
    places = with_shape(places, shape=(sizes.steps, 1, 1))
    lengths = cast(lengths.detach(), dtype="int32")
    return places < with_shape(lengths, shape=(1, sizes.batch, 1))


def _run_layer(x, weights, biases, h, c, mask, *, mode, reverse, clip) -> tuple:
    """States of all steps, and the last states, of one layer in one direction."""
    steps, batch, inputs = x.shape
    width = weights[0].shape[0]
    gates = _linear(with_shape(x, shape=(steps * batch, inputs)), weights[0], biases[0])
    gates = with_shape(gates, shape=(steps, batch, width))
    if len(weights) > 2:
        return _run_projected(gates, weights[1:], biases[1], h, c, mask, reverse, clip)
    states = [a for a in (h, c, mask) if a is not None]
    names = [name for name, a in (("state", h), ("cell", c), ("mask", mask)) if a is not None]
    hs, _, cs = rnn_layer(
        gates,
        weights[1],
        biases[1],
        **dict(zip(names, states, strict=True)),
        mode=mode,
        reverse=reverse,
        clip=clip,
    )
    if steps:
        h, c = (a if a is None else _last(s, reverse) for a, s in ((h, hs), (c, cs)))
    return hs, h, c


def _last(states: NDArray, reverse: bool) -> NDArray:
    steps, *shape = states.shape
    last = take_slice(states, (0 if reverse else steps - 1, 0, 0), (1, 1, 1), (1, *shape))
    return with_shape(last, shape=tuple(shape))


def _run_projected(gates, weights, bias, h, c, mask, reverse, clip) -> tuple:
    """An LSTM whose state is a product of its output (Sak et al., 2014), step by step."""
    weight, projection = weights
    steps, batch, width = gates.shape
    rows, masks = rows_of(gates, steps), rows_of(mask, steps)
    hs: list = [None] * steps
    for t in _order(steps, reverse):
        gate = with_shape(rows[t], shape=(1, batch, width))
        full, _, cell = rnn_layer(gate, weight, bias, h, c, mode="lstm", reverse=False, clip=clip)
        after = _gemm(_flat(full), projection, transpose_a=False, transpose_b=True)
        cell = _flat(cell)
        h, c = (s if mask is None else select(masks[t], s, before) for s, before in ((after, h), (cell, c)))
        hs[t] = h
    joined = stack(*hs) if steps else _empty(gates, 0, batch, projection.shape[0])
    return joined, h, c


@composite()
def RNN(
    data,
    parameters,
    state,
    state_cell=None,
    sequence_length=None,
    state_size=None,
    num_layers=None,
    bidirectional=False,
    mode=None,
    p=0.0,
    state_outputs=False,
    projection_size=None,
    lstm_state_clip_min=None,
    lstm_state_clip_max=None,
    lstm_state_clip_nan=False,
    use_sequence_length=False,
):
    """Stacked recurrent layers over sequences: rnn_relu, rnn_tanh, lstm or gru (see :mod:`.cells`).

    Parameters
    ----------
    data : NDArray
        (steps, batch, inputs), of a floating-point dtype.
    parameters : NDArray
        A vector of data's dtype that holds, for each layer and direction in turn, the weights from input
        to gates (gates * state_size, inputs), from state to gates and, with a projection, from output to
        state; then, for each again, the biases of input and of state (gates * state_size).
    state, state_cell : NDArray
        The states to begin with (num_layers * directions, batch, state_size); the cell's for an lstm only.
    sequence_length : NDArray, optional
        With ``use_sequence_length``: how many steps of each sequence of the batch count. The output behind
        them is 0, the last states are those of the last step that counts, and the backward direction
        begins there.
    state_size, num_layers : int
    bidirectional : bool
        Whether each layer runs in both directions, whose outputs are joined along the last axis.
    mode : str
        'rnn_relu', 'rnn_tanh', 'lstm' or 'gru'.
    p : float
        In training mode, dropout of the outputs of each layer but the last.
    state_outputs : bool
        Whether to return the last states.
    projection_size : int, optional
        Size that an lstm's output is projected to, to be its state and output (Sak et al., 2014).
    lstm_state_clip_min, lstm_state_clip_max : float, optional
        Limits of an lstm's cell state; ``lstm_state_clip_nan`` replaces NaN there by the lower one.

    Returns
    -------
    NDArray, or list of NDArray
        The output (steps, batch, directions * state_size); with ``state_outputs`` the last states too.

    Raises
    ------
    OperatorError
        Shapes, dtypes or numbers that do not fit; the message names the argument.

    Notes
    -----
    Differentiable, to any order, with respect to data, parameters, state and state_cell.
    """
    sizes = _sizes(data, state_size, num_layers, bidirectional, mode, projection_size)
    if mode != "lstm" and use_sequence_length and sequence_length is None:
        state_cell, sequence_length = None, state_cell  # MXNet's fourth array, where there is no cell
    _check_array("parameters", parameters, data, (sum(map(math.prod, sizes.parameters())),))
    _check_array("state", state, data, (sizes.layers * sizes.directions, sizes.batch, sizes.state))
    if mode == "lstm":
        _check_array("state_cell", state_cell, data, (*state.shape[:2], sizes.size))
    elif state_cell is not None:
        raise argument_error("RNN", "state_cell", f"of shape {state_cell.shape}", f"none for {mode}")
    if not 0 <= p < 1:
        raise argument_error("RNN", "p", p, "0 <= p < 1")
    clip = _clip(lstm_state_clip_min, lstm_state_clip_max, lstm_state_clip_nan)
    mask = _mask(sequence_length, sizes) if use_sequence_length else None
    y, last_h, last_c = _run(data, parameters, state, state_cell, mask, sizes, mode, p, clip)
    if not state_outputs:
        return y
    return [y, stack(*last_h)] + ([stack(*last_c)] if mode == "lstm" else [])


def _run(data, parameters, state, state_cell, mask, sizes: _Shapes, mode, p, clip) -> tuple:
    """Layer by layer: the output, and lists of the last states."""
    pieces = unpack(parameters, shapes=tuple(sizes.parameters()))
    runs = sizes.layers * sizes.directions
    weights, biases = pieces[: -2 * runs], pieces[-2 * runs :]
    each = len(weights) // runs
    h, c = rows_of(state, runs), rows_of(state_cell, runs)
    y = data
    for layer in range(sizes.layers):
        if layer and p > 0:
            y = Dropout(y, p=p)
        found = []
        for direction in range(sizes.directions):
            run = layer * sizes.directions + direction
            own = weights[run * each : (run + 1) * each], biases[2 * run : 2 * run + 2]
            hs, h[run], c[run] = _run_layer(
                y, *own, h[run], c[run], mask, mode=mode, reverse=direction == 1, clip=clip
            )
            found.append(hs)
        y = found[0] if sizes.directions == 1 else concat(*found, dim=2)
        if mask is not None:
            y = select(mask, y, 0)
    return y, h, c
