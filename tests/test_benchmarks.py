"""The benchmarks measure the same maths everywhere, and their reports say what the numbers say."""

import importlib
from types import SimpleNamespace

import numpy as np
import pytest

import clgrad as mx
from benchmarks import cases, launch_overhead, models, nets, report, worker
from benchmarks.__main__ import BENCHMARKS
from benchmarks.contender import Contender, ContenderError, differ

DEVICE, OTHER = "clgrad on PoCL 3.0", "clgrad on Intel 1"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_families_say_what_they_measure(name):
    module = importlib.import_module(f"benchmarks.{name}")
    assert module.__doc__
    assert module.CASES
    assert callable(module.mxnet)
    for case in module.CASES:
        assert all(bar > 0 for bar in report.bars(module, case).values())


def test_a_contender_prepares_measures_and_reports_failures():
    with Contender("clgrad") as contender:
        digest = contender.prepare("launch_overhead", "eager add")
        assert digest == [[32 * 64] + [2] * (2 + worker.PICKED)]
        assert contender.measure(0.001) > 0
        with pytest.raises(ContenderError, match="KeyError"):
            contender.prepare("train", "no such net")
        assert contender.prepare("launch_overhead", "eager add") == digest


def test_bare_launches_compute_the_same():
    """What clgrad's launches are held against does the same work: each launch, in memory of its own."""
    with Contender("clgrad") as ours, Contender("pyopencl") as bare:
        assert bare.name == ours.name.replace("clgrad", "pyopencl")
        for case in launch_overhead.CASES:
            digests = {c.name: c.prepare("launch_overhead", case) for c in (ours, bare)}
            assert not list(differ(digests))
        assert bare.measure(0.001) > 0
        assert bare.prepare("gemm", "square 256") is None


def test_another_answer_is_told():
    ours = worker._digest("numpy", lambda: np.array([1.0, 2.0, 4.0]))
    rounded = worker._digest("numpy", lambda: np.array([1.0, 2.0, 4.00001]))
    swapped = worker._digest("numpy", lambda: np.array([1.0, 4.0, 2.0]))
    shorter = worker._digest("numpy", lambda: np.array([1.0, 2.0]))
    nan = worker._digest("numpy", lambda: np.array([1.0, 2.0, np.nan]))
    assert not list(differ({"a": ours, "b": rounded}))
    for other in (swapped, shorter, nan, ours + ours):
        assert len(list(differ({"a": ours, "b": other}))) == 1


def test_gradients_are_those_of_the_op():
    """What a case with gradients returns: each input's, under a head gradient that varies."""
    op = cases.Op(
        "x * y",
        [cases.normal(3, 4), cases.integers(5, 3, 1)],
        constants=[cases.full(2, 3, 4)],
        mxnet=lambda nd, x, y, z: nd.broadcast_mul(x, y) * z,
        gradients=True,
    )
    mxnet, torch, _ = cases.runners({"case": op})
    (dx,) = mxnet(mx, "case")()
    _, y, z = op.arrays()
    np.testing.assert_allclose(dx.asnumpy(), cases._head((3, 4)) * y * z, rtol=1e-6)
    assert torch(None, "case") is None


def test_a_step_of_training_is_one_of_sgd():
    """Gradient steps on a mean of squares, with an array that is not learned."""

    def loss(nd, p, x):
        return ((p["weight"] * x - p["moving_mean"]) ** 2).mean()

    arrays = {"weight": np.ones(4, np.float32), "moving_mean": np.full(4, 3, np.float32)}
    net = nets.Net(lambda: dict(arrays), lambda: [np.full(4, 2, np.float32)], loss, None)
    step = net.mxnet(mx)
    weight, losses = 1.0, []
    for _ in range(3):
        losses.append((weight * 2 - 3) ** 2)
        weight -= nets.RATE * (weight * 2 - 3) * 4 / 4
    assert [float(step().asscalar()) for _ in range(3)] == pytest.approx(losses, rel=1e-6)


def test_the_lstm_gets_the_same_numbers_apart_and_packed():
    packed, parts = models._lstm_packed(), models._lstm_parts()
    joined = np.concatenate([parts[name].ravel() for name in models.PARTS])
    np.testing.assert_array_equal(packed["lstm"], joined)


def _result() -> dict:
    """A result of two cases of a family, with clgrad on two devices."""
    return {
        "benchmark": "map",
        "title": "Title.",
        "contenders": {name: {} for name in (DEVICE, OTHER, "torch", "mxnet")},
        "cases": {"exp": "exp(x)", "log": "log(x)"},
        "work": {},
        "bars": {"exp": {"torch": 1.0, "mxnet": 1.2}, "log": {"torch": 1.0, "mxnet": 1.2}},
        "seconds": {
            "exp": {DEVICE: [2.0, 4.0, 8.0], OTHER: [1.0, 1.0, 1.0], "torch": [1.0, 1.0, 1.0]},
            "log": {
                DEVICE: [1.0, 1.0, 1.0],
                OTHER: [1.0, 1.0, 1.0],
                "torch": [0.5, 4.0, 4.0],
                "mxnet": [3.0] * 3,
            },
        },
    }


def test_ratios_are_of_medians_and_of_the_best():
    found = {(r.case, r.device, r.peer): r for r in report.ratios(_result())}
    assert len(found) == 6
    exp = found["exp", DEVICE, "torch"]
    assert (exp.medians, exp.best, exp.bar, exp.short) == (0.25, 0.5, 1.0, True)
    log = found["log", DEVICE, "torch"]
    assert (log.medians, log.best, log.short) == (4.0, 0.5, False)  # it may have been the machine
    assert found["log", OTHER, "mxnet"].medians == 3.0


def test_bare_launches_are_compared_on_their_own_device():
    result = _result()
    result["seconds"]["exp"][OTHER.replace("clgrad", "pyopencl")] = [0.5] * 3
    found = {r.device: r.medians for r in report.ratios(result) if r.peer == "pyopencl"}
    assert found == {OTHER: 0.5}


def test_tables_and_summaries_hold_the_ratios(capsys):
    report.print_table(_result())
    report.print_summary([_result()])
    out = capsys.readouterr().out
    table, summary = out.split("relative to", 1)
    report.print_summary([_result() | {"benchmark": "sizes"}])
    assert "in the mean of" not in capsys.readouterr().out
    assert "0.25 (0.50)!" in table
    assert "4.00 (0.50) " in table
    assert "1.00 (0.50) in the mean of 2 cases" in summary
    assert "1 of 2 below their bar" in summary
    assert "0.25 (0.50)! for at least 1: map, exp" in summary


def test_bars_of_a_family_and_of_a_case():
    family = SimpleNamespace(BAR={"torch": 0.5, "mxnet": 1.0})
    assert report.bars(family, "any") == {"torch": 0.5, "mxnet": 1.0}
    assert report.bars(SimpleNamespace(BAR={"mxnet": None}), "any") == {}
    conv = importlib.import_module("benchmarks.conv")
    assert report.bars(conv, "64 3x3 32, gradients")["torch"] == 0.7
    assert "torch" not in report.bars(conv, "64 3x3 32")


def test_pictures_are_drawn(tmp_path):
    plots = pytest.importorskip("benchmarks.plots", reason="needs matplotlib", exc_type=ImportError)
    paths = list(plots.draw([_result()], tmp_path))
    assert [p.name for p in paths] == [
        "overview-pocl-3-0.svg",
        "map-pocl-3-0.svg",
        "overview-intel-1.svg",
        "map-intel-1.svg",
    ]
    assert all(p.read_text().startswith("<?xml") for p in paths)
