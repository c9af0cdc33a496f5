"""Planners of connectionist temporal classification: the loss, and its gradient."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import layout, template
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.map import ranges
from clgrad.kernels.signature import Signature

#: Work-items that share a sequence on a GPU, at most, where the device allows.
GPU_TEAM = 256


@dataclass(frozen=True)
class Problem:
    """What is known of a batch of sequences.

    Attributes
    ----------
    steps, batch, classes : int
        Shape of the logarithms of the classes' probabilities.
    width : int
        Classes of the longest label; labels are an array (batch, width).
    dtype : numpy.dtype
        float32 or float64: of the logarithms.
    label : numpy.dtype
        Of the labels. What lies outside of 0 to ``classes - 1`` is moved to the nearest end.
    data_lengths, label_lengths : numpy.dtype or None
        Of the numbers of steps and of classes of each sequence, where there are such arrays, limited to
        ``steps`` and ``width``; without ``label_lengths``, a label ends before the first ``padding``.
    blank : int
        The class of the blank.
    padding : int
    """

    steps: int
    batch: int
    classes: int
    width: int
    dtype: np.dtype
    label: np.dtype
    data_lengths: np.dtype | None
    label_lengths: np.dtype | None
    blank: int
    padding: int

    @property
    def rows(self) -> tuple[int, int, int]:
        """Shape of alpha and beta."""
        return self.batch, self.steps, 2 * self.width + 1


def plan_loss(device: Device, name: str, problem: Problem) -> Plan:
    """Plan -log p(label) of each sequence, and alpha.

    Inputs: logp, label, and data_lengths and label_lengths where there are such. Outputs: loss (batch),
    alpha (``problem.rows``; what lies behind a sequence or a label is not written).
    """
    kernel = _Kernel(device, problem)
    kernel.shared(first=0)
    kernel.array("loss", problem.dtype, Out(0))
    kernel.array("alpha", problem.dtype, Out(1))
    outputs = [((problem.batch,), problem.dtype), (problem.rows, problem.dtype)]
    steps = [kernel.walk(name, "alpha")] if problem.batch else []
    return Plan(device, steps, outputs, inputs=kernel.inputs)


def plan_grad(device: Device, name: str, problem: Problem) -> Plan:
    """Plan the gradient of the loss with respect to logp.

    Inputs: dy, loss, alpha, and then those of :func:`plan_loss`. Outputs: dx, of logp's shape.
    """
    shape = problem.steps, problem.batch, problem.classes
    rows = math.prod(problem.rows) * problem.dtype.itemsize
    beta, grad = _Kernel(device, problem), _Kernel(device, problem)
    beta.shared(first=3)
    beta.array("beta", problem.dtype, Scratch(0))
    for i, array in enumerate(("dy", "loss", "alpha")):
        grad.array(array, problem.dtype, In(i))
    grad.shared(first=3)
    grad.array("beta", problem.dtype, Scratch(0))
    grad.array("dx", problem.dtype, Out(0))
    steps = [beta.walk(f"{name}_beta", "beta"), grad.spread(name)] if math.prod(shape) else []
    return Plan(
        device, steps, [(shape, problem.dtype)], inputs=3 + beta.inputs, scratch=[rows] if steps else []
    )


class _Kernel:
    """One kernel of the template, with its parameters."""

    def __init__(self, device: Device, problem: Problem):
        self.device, self.problem, self.dtype = device, problem, problem.dtype
        self.label_dtype, self.label_storage = problem.label, dtypes.describe(problem.label).storage
        self.data_lengths, self.label_lengths = problem.data_lengths, problem.label_lengths
        self.blank, self.padding = problem.blank, problem.padding
        self.team = 1 if device.kind == "cpu" else self._fitting_team()
        sizes = (problem.steps, problem.batch, max(problem.classes, problem.rows[2]))
        self.signature = Signature(layout.needs_long(sizes, []))
        self.arrays: list[str] = []
        self.inputs = 0

    def _fitting_team(self) -> int:
        """The power of two that holds the positions, as far as the device allows."""
        limit = min(GPU_TEAM, self.device.capabilities.max_work_group_size)
        positions = self.problem.rows[2]
        return min(1 << (limit.bit_length() - 1), 1 << (positions - 1).bit_length())

    def array(self, name: str, dtype: np.dtype, source: In | Out | Scratch) -> None:
        """A parameter that is an array."""
        self.signature.array(name, dtype, source)
        self.arrays.append(name)

    def shared(self, first: int) -> None:
        """The parameters that all kernels have; ``first`` is the input that holds logp."""
        problem = self.problem
        given: Sequence[tuple[str, np.dtype | None]] = (
            ("logp", problem.dtype),
            ("label", problem.label),
            ("data_lengths", problem.data_lengths),
            ("label_lengths", problem.label_lengths),
        )
        for name, dtype in given:
            if dtype is not None:
                self.array(name, dtype, In(first + self.inputs))
                self.inputs += 1
        for name in ("steps", "batch", "classes", "width"):
            self.signature.fixed(name, getattr(problem, name))

    def walk(self, name: str, direction: str) -> Step:
        """A work-group for each sequence."""
        source = template.render("ctc", name=name, kernel=direction, k=self)
        sizes = (self.problem.batch * self.team,), (self.team,)
        return Step(name, source, *sizes, self.signature.args)

    def spread(self, name: str) -> Step:
        """A work-item for each step of each sequence."""
        source = template.render("ctc", name=name, kernel="grad", k=self)
        blocks = self.problem.steps * self.problem.batch
        sizes = ranges(self.device, blocks, blocks * (self.problem.classes + 8 * self.problem.rows[2]))
        return Step(name, source, *sizes, self.signature.args)
