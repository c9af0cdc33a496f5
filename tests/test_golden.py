"""Every op of the table: values, gradients to third order and dtypes, against real MXNet 1.9.1.

The cases are in golden/cases, MXNet's answers in golden/*.npz. MXNet is the oracle of values and of
first-order gradients, finite differences of gradients of every order, and in dtypes that MXNet lacks, what
clgrad itself computes in a wider one. The report at the end of the run shows op by op what passed.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from golden.ask import ask, differentiable, function_of, is_real
from golden.case import SWEEP, Case, mapped
from golden.recording import cases_of, families, fingerprint, names, recorded

import clgrad as mx
from clgrad import dtypes
from clgrad.registry import table
from clgrad.test_utils import gradcheck, gradgradcheck

#: Relative and absolute tolerance of results; the absolute one is in units of the largest result.
TOLERANCES = {
    "float64": (1e-10, 1e-12),
    "float32": (2e-5, 2e-6),
    "float16": (4e-3, 4e-3),
    "bfloat16": (3e-2, 3e-2),
}

#: Along how many directions derivatives of second and third order are checked.
DIRECTIONS = 2

#: Dtypes that MXNet's ops lack, and the dtype whose results are the oracle.
WIDER = {"bfloat16": "float32", "int16": "int32"}
#: An op has those if MXNet's has these, of the same width or less.
NEIGHBOUR = {"bfloat16": "float16", "int16": "int8"}


@dataclass(frozen=True)
class Question:
    """A case with the family that it belongs to."""

    family: str
    case: Case


def questions() -> dict[str, list[Question]]:
    """All cases, by the main name of the op."""
    found: dict[str, list[Question]] = {}
    for family in families():
        for case in cases_of(family):
            name = table[case.op].name if case.op in table else case.op
            found.setdefault(name, []).append(Question(family, case))
    return found


QUESTIONS = questions()


def run_dtypes(case: Case) -> tuple[str, ...]:
    """Dtypes that a case runs in on clgrad: MXNet's, and those that clgrad has besides."""
    found = case.run_dtypes()
    extra = [d for d, neighbour in NEIGHBOUR.items() if case.sweep and neighbour in found]
    return (*found, *(d for d in extra if d in supported()))


def supported() -> set[str]:
    """Names of the dtypes that clgrad stores."""
    return {d.name for d in dtypes.supported()}


def in_dtype(op: str, dtype: str) -> list[Question]:
    """The cases of an op that run in a dtype."""
    return [q for q in QUESTIONS[op] if dtype in run_dtypes(q.case)]


def there(op: str, dtype: str) -> list[Question]:
    """Those of them that the device has the dtypes for."""
    return [q for q in in_dtype(op, dtype) if is_there(q.case)]


OP_DTYPES = [(op, dtype) for op in QUESTIONS for dtype in (*SWEEP, "bool", *WIDER) if in_dtype(op, dtype)]
#: Ops that have no cases, the tests that they have instead, and why.
ELSEWHERE = {
    "contrib.cond": ("test_ops_control.py", "takes functions"),
    "contrib.foreach": ("test_ops_control.py", "takes functions"),
    "contrib.while_loop": ("test_ops_control.py", "takes functions"),
    **{
        op: ("test_random_distributions.py", "draws: held against the distribution")
        for op in table
        if op.startswith(("random_", "sample_")) and not op.startswith("random_pdf")
    },
    "contrib.rand_zipfian": ("test_random.py", "draws: held against the distribution"),
    "cast_storage": ("test_ops_sparse.py", "takes sparse matrices"),
    "reset_arrays": ("test_optimizer.py", "returns nothing"),
    "shuffle": ("test_random_distributions.py", "draws: held against the distribution"),
}

#: Those that have gradients.
OP_REAL = [
    (op, dtype)
    for op, dtype in OP_DTYPES
    if is_real(dtype) and any(differentiable(q.case, dtype) and q.case.orders for q in in_dtype(op, dtype))
]


def skip_unless_there(dtype: str) -> None:
    if dtype == "float64" and not mx.current_context().device.capabilities.fp64:
        pytest.skip("the device has no float64")


def is_there(case: Case) -> bool:
    """Whether the device has the dtypes that a case names, besides the one that it is run in."""
    named = {r.dtype for r in case.recipes()} | set(strings(case))
    return "float64" not in named or mx.current_context().device.capabilities.fp64


def strings(case: Case) -> list[str]:
    """Attributes that may name a dtype."""
    return [v for v in case.attributes.values() if isinstance(v, str)]


def oracle(question: Question, dtype: str) -> dict[str, np.ndarray]:
    """MXNet's answer, in the dtype or, where it has none of that name, in a wider one."""
    answer = recorded(question.family, question.case, WIDER.get(dtype, dtype))
    assert answer, f"{question.case.name} was never recorded: see golden/record.py"
    return answer


def assert_close(actual, expected, case: Case, dtype: str, what: str) -> None:
    """Within the tolerances of the dtype; of equal dtype and shape."""
    label = f"{case.name} {dtype}: {what}"
    assert actual.shape == expected.shape, f"{label} has shape {actual.shape}, MXNet's {expected.shape}"
    if dtype not in WIDER:
        assert actual.dtype == expected.dtype, f"{label} is {actual.dtype}, MXNet's {expected.dtype}"
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    rtol, atol = TOLERANCES.get(dtype, (0, 0))
    scale = rtol / TOLERANCES["float32"][0]
    rtol = rtol if case.rtol is None else max(rtol, case.rtol * scale)
    finite = np.abs(expected[np.isfinite(expected)])
    atol = atol * max(1.0, finite.max(initial=0)) if case.atol is None else case.atol * scale
    np.testing.assert_allclose(actual, expected, rtol, atol, equal_nan=True, err_msg=label)


def assert_values(question: Question, dtype: str) -> bool:
    """Results, and what was changed in place, are MXNet's, or those of the reference.

    Returns whether there are any: not where MXNet and clgrad both refuse.
    """
    case, expected, tolerance = question.case, dict(oracle(question, dtype)), dtype
    answer = ask(mx, case, dtype)
    if case.error:
        assert "error" in answer, f"{case.name} {dtype}: accepted, MXNet says {expected['error']}"
        return False
    if case.reference is not None:
        expected = referenced(case, dtype, answer)
    elif "error" in expected:  # MXNet has no such op in this dtype: refuse as well, or be right
        if "error" in answer:
            return False
        expected = {
            k: v.astype(answer[k].dtype) for k, v in ask(mx, case, "float32").items() if k in answer
        }
        tolerance = "float32" if dtype == "float64" else dtype
    assert "error" not in answer, f"{case.name} {dtype}: {answer['error']}"
    for what in (w for w in expected if w.startswith(("out", "in")) and w != "inputs"):
        assert what in answer, f"{case.name} {dtype}: no {what}"
        assert_close(answer[what], expected[what], case, tolerance, what)
    return True


def referenced(case: Case, dtype: str, answer) -> dict[str, np.ndarray]:
    """The results that the case's own reference gives."""
    args, attributes = case.draw(dtype)
    with np.errstate(all="ignore"):
        result = case.reference(*args, **attributes)
    results = result if isinstance(result, list | tuple) else [result]
    return {
        f"out{i}": np.asarray(r).astype(answer[f"out{i}"].dtype).reshape(answer[f"out{i}"].shape)
        for i, r in enumerate(results)
    }


@pytest.mark.parametrize(("op", "dtype"), OP_DTYPES)
def test_values(op, dtype, report):
    report(op, dtype, "forward")
    skip_unless_there(dtype)
    answered = [assert_values(question, dtype) for question in there(op, dtype)]  # all of them
    if not any(answered):
        report(op, dtype, "refused")


@pytest.mark.parametrize(("op", "dtype"), OP_REAL)
def test_gradients(op, dtype, report):
    """First-order gradients are MXNet's where it has them."""
    report(op, dtype, "gradient")
    skip_unless_there(dtype)
    for question in there(op, dtype):
        case = question.case
        if case.error or not case.orders or not differentiable(case, dtype):
            continue
        answer, expected = ask(mx, case, dtype), oracle(question, dtype)
        assert not any("error" in k for k in answer), f"{case.name} {dtype}: {answer}"
        for what in (w for w in expected if w.startswith("grad") and w != "gradient error"):
            if case.reference is None:
                assert_close(answer[what], expected[what], case, dtype, what)


@pytest.mark.parametrize("op", sorted({op for op, _ in OP_REAL}))
def test_derivatives(op, report):
    """First and second order of every case, third order of the main ones, by finite differences."""
    dtype = checked_dtype(op)
    report(op, dtype, "second")
    for case in (q.case for q in QUESTIONS[op] if is_there(q.case)):
        if case.error or not case.orders or not differentiable(case, dtype) or named_real(case) - {dtype}:
            continue
        if not case.loss:
            gradcheck(*as_function(case, dtype), dtype=dtype)
        if case.orders > 1:
            order = 3 if case.sweep else 2
            gradgradcheck(*as_function(case, dtype), dtype=dtype, order=order, directions=DIRECTIONS)


def named_real(case: Case) -> set[str]:
    """Real dtypes that the case itself names: nothing of them can be checked in a wider one."""
    named = {r.dtype for r in case.recipes() if r.differentiable} | set(strings(case))
    return {n for n in named if n is not None and is_real(n)}


def checked_dtype(op: str) -> str:
    """What finite differences of an op are computed in: the widest that it and the device have."""
    wide = "float64"
    return wide if mx.current_context().device.capabilities.fp64 and in_dtype(op, wide) else "float32"


class Slot(int):
    """Stands for an array among the arguments of a case."""


def as_function(case: Case, dtype: str):
    """The case as a function of its differentiable arrays, and these."""
    args, attributes = case.draw(dtype)
    places = differentiable(case, dtype)
    hosts: list[np.ndarray] = []

    def collect(host):
        hosts.append(host)
        return Slot(len(hosts) - 1)

    args = [mapped(v, np.ndarray, collect) for v in args]
    attributes = {k: mapped(v, np.ndarray, collect) for k, v in attributes.items()}

    def function(*variables):
        if case.prepared is not None:
            variables = [case.prepared(v) for v in variables]
        given = dict(zip(places, variables, strict=True))

        def put(slot):
            return given[slot] if slot in given else mx.nd.array(hosts[slot], dtype=hosts[slot].dtype)

        with mx.autograd.train_mode() if case.train else mx.autograd.predict_mode():
            return function_of(mx, case.op)(
                *[mapped(v, Slot, put) for v in args],
                **{k: mapped(v, Slot, put) for k, v in attributes.items()},
            )

    return function, [hosts[i] for i in places]


def test_every_op_has_cases(report):
    """Or is tested elsewhere, for a reason that the report gives."""
    for op, (module, reason) in ELSEWHERE.items():
        report(op, "", f"{reason} ({module})")
    public = {op.name for op in table.values() if not op.name.startswith("_")}
    assert public - QUESTIONS.keys() - ELSEWHERE.keys() == set(), "ops without a case in golden/cases"
    assert QUESTIONS.keys() & ELSEWHERE.keys() == set(), "take them out of ELSEWHERE"


@pytest.mark.parametrize("family", families())
def test_recordings_are_of_these_cases(family):
    """A changed case wants a new recording, and a case that is gone leaves none."""
    cases = cases_of(family)
    asked = [(case, dtype) for case in cases for dtype in case.run_dtypes()]
    assert len({c.name for c in cases}) == len(cases), "two cases have one name"
    assert names(family) == {f"{c.name}@{d}" for c, d in asked}
    stale = [c.name for c, d in asked if recorded(family, c, d)["inputs"] != fingerprint(c, d)]
    assert stale == [], f"record anew: python -m golden.record {family} (see golden/record.py)"
