"""Elementwise ops of the table: their attributes and references, and arguments drawn from their domains.

The table drives the tests, so a new op is tested without a change here; only a reference that its
declaration does not give is looked up in REFERENCES. Ops that have neither are parts of other ops
and those in PARTS take part where the gradient kernel is held against the recorded rule.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.special

from clgrad.registry import Elementwise, table

#: Reference of ops whose declaration has none, or one for the default attributes only.
REFERENCES: dict[str, Callable] = {
    "erf": scipy.special.erf,
    "_normal_cdf": scipy.special.ndtr,
    "erfinv": scipy.special.erfinv,
    "gamma": scipy.special.gamma,
    "gammaln": scipy.special.gammaln,
    "digamma": scipy.special.digamma,
    "polygamma": lambda data, n: scipy.special.polygamma(int(n), data),
    "gelu": lambda data: data * scipy.special.ndtr(data),
    "leaky_relu": lambda data, slope: np.where(data > 0, data, slope * data),
    "elu": lambda data, slope: np.where(data > 0, data, slope * np.expm1(data)),
    "hard_sigmoid": lambda data, alpha, beta: np.clip(alpha * data + beta, 0, 1),
    "smooth_l1": lambda data, scalar: np.where(
        np.abs(data) < 1 / scalar**2, 0.5 * (scalar * data) ** 2, np.abs(data) - 0.5 / scalar**2
    ),
    "softrelu": lambda data: np.logaddexp(data, 0),
    "contrib.round_ste": table["round"].testing["reference"],
    "contrib.sign_ste": np.sign,
    "contrib.gradientmultiplier": lambda data, scalar: data,
    "contrib.quadratic": lambda data, a, b, c: a * data**2 + b * data + c,
    "multi_lars": lambda lrs, weights, grads, wds, eta, eps: (
        lrs * eta * np.sqrt(weights) / (np.sqrt(grads) + wds * np.sqrt(weights) + eps)
    ),
}

#: Attributes to test with; kinks that they make lie on multiples of 1/2 (see ``draw``).
ATTRIBUTES = {
    "clip": [{"a_min": -1.0, "a_max": 1.5}],
    "polygamma": [{"n": n} for n in (0, 1, 2, 3)],
    "hard_sigmoid": [{"alpha": 0.2, "beta": 0.5}, {"alpha": 0.5, "beta": 0.25}],
    "smooth_l1": [{"scalar": 1.0}, {"scalar": math.sqrt(2)}],
    "leaky_relu": [{"slope": 0.25}],
    "elu": [{"slope": 1.0}, {"slope": 0.5}],
    "contrib.gradientmultiplier": [{"scalar": -0.5}],
    "contrib.quadratic": [{"a": 1.5, "b": -0.5, "c": 0.5}],
    "multi_lars": [{"eta": 0.1, "eps": 1e-3}],
}

#: Elementwise ops without a meaning of their own, with attributes for the test of their gradient
#: kernels. What they compute is for the tests of the ops that they are parts of.
PARTS: dict[str, dict] = {
    "_prelu": {},
    "_standardize": {"eps": 1e-3},
    "_moving_average": {"momentum": 0.9},
    "_ones_of": {},
    "_batch_norm_grad_data": {"eps": 1e-3, "share": 0.1},
    "_sgd_step": {"lr": 0.1, "wd": 0.01, "rescale_grad": 0.5, "clip_gradient": 1.0},
}


@dataclass(frozen=True)
class Case:
    """An op with values of its attributes."""

    op: Elementwise
    attributes: dict

    def __str__(self) -> str:
        return self.op.name + "".join(f"-{k}={v:.3g}" for k, v in self.attributes.items())

    @property
    def arguments(self) -> tuple[str, ...]:
        return self.op.arguments

    @property
    def domain(self) -> tuple[float, float]:
        return self.op.testing.get("domain", (-2, 2))

    def __call__(self, *arrays, **options):
        return self.op(*arrays, **self.attributes, **options)

    def reference(self, *arrays) -> np.ndarray:
        function = REFERENCES.get(self.op.name, self.op.testing.get("reference"))
        return np.asarray(function(*arrays, **self.attributes))


def is_part(op) -> bool:
    """Whether an op without a name of its own has no reference: what it is a part of is tested instead."""
    bare = "reference" not in op.testing and op.name not in REFERENCES
    return op.name in PARTS or (op.name.startswith("_") and bare)


def cases(select=lambda op: True, arity: int | None = None) -> list:
    found = {op.name: op for op in table.values() if isinstance(op, Elementwise)}
    return [
        pytest.param(case, id=str(case))
        for op in found.values()
        if not is_part(op) and select(op) and arity in (None, len(op.arguments))
        for case in (Case(op, attributes) for attributes in ATTRIBUTES.get(op.name, [{}]))
    ]


def draw(rng, case: Case, shapes, dtype) -> list[np.ndarray]:
    """Arguments in the op's domain, at least 0.05 away from multiples of 1/2 (kinks and jumps)."""
    arrays = []
    for argument, shape in zip(case.arguments, shapes, strict=True):
        if argument in case.op.free:
            arrays.append(rng.integers(0, 2, shape).astype("int32"))
            continue
        x = rng.uniform(*case.domain, shape)
        nearest = np.round(2 * x) / 2
        x = nearest + np.copysign(0.05 + 0.8 * np.abs(x - nearest), x - nearest)
        arrays.append(x.astype(dtype))
    return arrays
