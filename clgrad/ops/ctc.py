"""CTCLoss: connectionist temporal classification (Graves et al., ICML 2006)."""

import math

import numpy as np

from clgrad import dtypes, tape
from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.kernels import ctc
from clgrad.ops.arguments import check_floating
from clgrad.ops.arithmetic import maximum
from clgrad.ops.conversion import cast
from clgrad.ops.creation import arange, full
from clgrad.ops.indexing import _take_grad, take
from clgrad.ops.pieces import rows_of
from clgrad.ops.reduction import argmax
from clgrad.ops.selection import select
from clgrad.ops.shape import concat, expand_dims, reshape, slice_axis, stack, with_shape
from clgrad.ops.softmax import _softmax
from clgrad.ops.unary import clip, exp, log
from clgrad.registry import Call, Spec, composite, elementwise, operator

#: Stands for the logarithm of 0 where derivatives of sums of exponentials are taken: they stay finite.
_NEVER = -1e30


def _problem(logp: Spec, label: Spec, data_lengths, label_lengths, blank_last: bool) -> ctc.Problem:
    steps, batch, classes = logp.shape
    return ctc.Problem(
        steps,
        batch,
        classes,
        label.shape[1],
        logp.dtype,
        label.dtype,
        data_lengths and data_lengths.dtype,
        label_lengths and label_lengths.dtype,
        blank=classes - 1 if blank_last else 0,
        padding=-1 if blank_last else 0,
    )


@operator(name="_ctc", label="CTCLoss", outputs=("loss", "alpha"))
def _ctc(
    call: Call,
    logp: Spec,
    label: Spec,
    data_lengths: Spec | None = None,
    label_lengths: Spec | None = None,
    *,
    blank_last,
):
    """-log p(label) of each sequence, from the logarithms of the classes' probabilities; and alpha."""
    problem = _problem(logp, label, data_lengths, label_lengths, blank_last)
    return ctc.plan_loss(call.device, call.kernel(logp.dtype), problem)


@operator(name="_ctc_grad", label="CTCLoss")
def _ctc_grad(
    call: Call,
    grad: Spec,
    loss: Spec,
    alpha: Spec,
    logp: Spec,
    label: Spec,
    data_lengths: Spec | None = None,
    label_lengths: Spec | None = None,
    *,
    blank_last,
):
    """-dy times the share of the ways to the label that are at each class, at each step."""
    problem = _problem(logp, label, data_lengths, label_lengths, blank_last)
    return ctc.plan_grad(call.device, call.kernel(logp.dtype, "grad"), problem)


@_ctc.joint_gradient("logp")
def _(d_loss, logp, label, data_lengths, label_lengths, loss, alpha, blank_last):
    """Graves et al. (2006), section 4.2: by kernels, or by recorded recursions under create_graph."""
    lengths = {"data_lengths": data_lengths, "label_lengths": label_lengths}
    lengths = {name: a for name, a in lengths.items() if a is not None}
    if tape.state.recording:
        return (_Paths(logp, label, **lengths, blank_last=blank_last).gradient(d_loss, loss),)
    return (_ctc_grad(d_loss, loss, alpha, logp, label, **lengths, blank_last=blank_last),)


@elementwise(
    name="_log_sum3",
    domain=(-2, 2),
    reference=lambda a, b, c: np.logaddexp(np.logaddexp(a, b), c),
)
def log_sum3(a, b, c):
    """log(exp(a) + exp(b) + exp(c)), without overflow."""
    largest = select(a > b, a, b)
    largest = select(largest > c, largest, c)
    # infinities may be equal, where their difference is NaN
    terms = [select(x == largest, 1, exp(x - largest)) for x in (a, b, c)]
    return largest + log(terms[0] + terms[1] + terms[2])


log_sum3.gradient(
    a=lambda dy, a, y: dy * exp(a - y),
    b=lambda dy, b, y: dy * exp(b - y),
    c=lambda dy, c, y: dy * exp(c - y),
)


class _Paths:
    """The recursions over the ways to a label, as recorded ops on (batch, positions) arrays.

    What follows from labels and lengths alone is whole numbers outside of the graph.
    """

    def __init__(self, logp, label, data_lengths=None, label_lengths=None, *, blank_last):
        self.logp = logp
        self.steps, self.batch, self.classes = logp.shape
        self.width = label.shape[1]
        self.positions = 2 * self.width + 1
        blank, padding = (self.classes - 1, -1) if blank_last else (0, 0)
        label = label.detach()
        labels = _count(clip(label, 0, self.classes - 1))
        if label_lengths is not None:
            self.lengths = _count(clip(label_lengths.detach(), 0, self.width))
        else:
            ends = concat(_count(label == padding), self._whole(1, 1), dim=1)
            self.lengths = _count(argmax(ends, axis=1))
        self.lengths = with_shape(self.lengths, shape=(self.batch, 1))
        self.extended = self._extended(labels, blank)
        self.count = self._steps_walked(labels, data_lengths)
        # Whether position s can follow s - 2: the blank between different classes may be left out.
        follows = self.positions - 2
        skips = [self._whole(0, min(2, self.positions))]
        if follows > 0:
            later = slice_axis(self.extended, 1, 2, None)
            skips.append((later != slice_axis(self.extended, 1, 0, follows)) * (later != blank))
        self.skips = concat(*skips, dim=1)

    def _whole(self, value: int, columns: int) -> NDArray:
        return full((self.batch, columns), value, self.logp.context, "int32")

    def _extended(self, labels, blank: int) -> NDArray:
        """Blank, class 0, blank, class 1, ..., blank."""
        if self.width == 0:
            return self._whole(blank, 1)
        pairs = stack(self._whole(blank, self.width), labels, axis=2)
        return concat(with_shape(pairs, shape=(self.batch, 2 * self.width)), self._whole(blank, 1), dim=1)

    def _steps_walked(self, labels, data_lengths) -> NDArray:
        """Steps of each sequence; 0 where the label needs more than there are."""
        needed, valid = self.lengths, self._whole(self.steps, 1)
        if self.width > 1:
            later, earlier = slice_axis(labels, 1, 1, None), slice_axis(labels, 1, 0, self.width - 1)
            places = arange(1, self.width, dtype="int32", ctx=labels.context)
            repeated = (later == earlier) * (expand_dims(places, axis=0) < self.lengths)
            needed = needed + repeated.sum(axis=1, keepdims=True)
        if data_lengths is not None:
            valid = with_shape(_count(clip(data_lengths.detach(), 0, self.steps)), shape=(self.batch, 1))
        return select(needed <= valid, valid, 0)

    def gradient(self, d_loss, loss) -> NDArray:
        """The gradient of logp: where a way was at a class, minus its share times that of the loss."""
        if not self.logp.size:
            return self.logp * 0
        places = arange(0, self.batch, dtype="int32", ctx=self.logp.context) * self.classes
        index = reshape(self.extended + expand_dims(places, axis=1), shape=(-1,))
        flat = with_shape(self.logp, shape=(self.steps, self.batch * self.classes))
        emissions = with_shape(
            maximum(take(flat, index, axis=1), _NEVER), shape=(self.steps, self.batch, self.positions)
        )
        rows = rows_of(emissions, self.steps)
        both = stack(*self._forwards(rows)) + stack(*self._backwards(rows))
        share = _softmax(both, axis=2, temperature=1.0, log=False)
        steps = arange(0, self.steps, dtype="int32", ctx=self.logp.context)
        counts = (reshape(steps, shape=(-1, 1, 1)) < expand_dims(self.count, axis=0)) * (
            _count(with_shape(loss.detach(), shape=(1, self.batch, 1)) != math.inf)
        )
        shares = select(counts, -(share * with_shape(d_loss, shape=(1, self.batch, 1))), 0)
        shares = with_shape(shares, shape=(self.steps, self.batch * self.positions))
        dx = _take_grad(shares, index, shape=flat.shape, axis=1, mode="clip")
        return with_shape(dx, shape=self.logp.shape)

    def _forwards(self, emissions: list) -> list:
        """alpha of each step."""
        first = arange(0, self.positions, dtype="int32", ctx=self.logp.context) < 2
        row = select(first, 0, self._never(1)) + emissions[0]
        rows = [row]
        for emission in emissions[1:]:
            skipped = select(self.skips, self._moved(row, 2), _NEVER)
            row = log_sum3(row, self._moved(row, 1), skipped) + emission
            rows.append(row)
        return rows

    def _backwards(self, emissions: list) -> list:
        """beta of each step, without the step's own emission."""
        places = expand_dims(arange(0, self.positions, dtype="int32", ctx=self.logp.context), axis=0)
        ends = (places <= 2 * self.lengths) * (places >= 2 * self.lengths - 1)
        row = end = select(ends, 0, self._never(1))
        skips = self._moved(self.skips, -2, 0)
        rows = [row]
        for t in range(self.steps - 2, -1, -1):
            after = row + emissions[t + 1]
            skipped = select(skips, self._moved(after, -2), _NEVER)
            row = log_sum3(after, self._moved(after, -1), skipped)
            row = select(self.count == t + 1, end, row)
            rows.append(row)
        return rows[::-1]

    def _never(self, columns: int) -> NDArray:
        return full((self.batch, columns), _NEVER, self.logp.context, self.logp._view.dtype)

    def _moved(self, row, places: int, fill: float = _NEVER) -> NDArray:
        """Every element as many positions further on, or further back; behind them comes the fill."""
        gap = min(abs(places), self.positions)
        filled = full((self.batch, gap), fill, row.context, row._view.dtype)
        if gap == self.positions:
            return filled
        if places > 0:
            return concat(filled, slice_axis(row, 1, 0, self.positions - gap), dim=1)
        return concat(slice_axis(row, 1, gap, None), filled, dim=1)


def _count(array) -> NDArray:
    return cast(array, dtype="int32")


def _check(data, label, lengths: dict, blank_label) -> None:
    """Shapes, dtype and the blank's place."""
    if blank_label not in ("first", "last"):
        raise argument_error("CTCLoss", "blank_label", repr(blank_label), "'first' or 'last'")
    if data.ndim != 3 or data.shape[2] < 1:
        raise argument_error("CTCLoss", "data", f"of shape {data.shape}", "(steps, batch, classes)")
    check_floating("CTCLoss", data=data)
    steps, batch, _ = data.shape
    if label.ndim != 2 or label.shape[0] != batch or label.shape[1] > steps:
        accepted = f"({batch}, width), of a width up to the {steps} steps of data"
        raise argument_error("CTCLoss", "label", f"of shape {label.shape}", accepted)
    for name, (used, given) in lengths.items():
        if used != (given is not None):
            state = "without use_" if given is not None else "with use_"
            accepted = f"an array with use_{name}=True, and only then"
            raise argument_error(
                "CTCLoss", name, f"{'given' if given is not None else None} {state}{name}", accepted
            )
        if used and given.shape != (batch,):
            raise argument_error("CTCLoss", name, f"of shape {given.shape}", f"({batch},)")


@composite(aliases=("ctc_loss", "contrib.CTCLoss", "contrib.ctc_loss"))
def CTCLoss(
    data,
    label,
    data_lengths=None,
    label_lengths=None,
    use_data_lengths=False,
    use_label_lengths=False,
    blank_label="first",
):
    """-log of the probability that sequences of class scores spell their labels.

    Over all ways to put out, at each step, a class or a blank, so that what remains without repetitions
    and then without blanks is the label (Graves et al., ICML 2006). Softmax is applied to data within.

    Parameters
    ----------
    data : NDArray
        (steps, batch, classes): scores, of a floating-point dtype; one class is the blank.
    label : NDArray
        (batch, width), of any dtype: classes as whole numbers, padded behind a label's end with 0, or
        with -1 where the blank is the last class. What is no class counts as the nearest one.
    data_lengths : NDArray, optional
        (batch): how many steps of each sequence count; with ``use_data_lengths``.
    label_lengths : NDArray, optional
        (batch): how long each label is, instead of up to its padding; with ``use_label_lengths``.
    use_data_lengths, use_label_lengths : bool
    blank_label : str
        Whether the blank is the 'first' class or the 'last'.

    Returns
    -------
    NDArray
        (batch). A label that needs more steps than there are has the loss 0, and no gradient.

    Raises
    ------
    OperatorError
        Shapes, dtypes or attributes that do not fit; the message names the argument.

    Notes
    -----
    Differentiable, to any order, with respect to data.
    """
    if use_label_lengths and not use_data_lengths and label_lengths is None:
        data_lengths, label_lengths = None, data_lengths  # MXNet's third array
    lengths = {
        "data_lengths": (bool(use_data_lengths), data_lengths),
        "label_lengths": (bool(use_label_lengths), label_lengths),
    }
    _check(data, label, lengths, blank_label)
    dtype = data._view.dtype
    compute = dtypes.compute_type(dtype)
    logp = data if dtype == compute else cast(data, dtype=compute.name)
    logp = _softmax(logp, axis=2, temperature=1.0, log=True)
    used = {name: given for name, (_, given) in lengths.items() if given is not None}
    loss, _ = _ctc(logp, label, **used, blank_last=blank_label == "last")
    return loss if dtype == compute else cast(loss, dtype=dtype.name)
