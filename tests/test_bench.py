"""``clgrad bench``: what it counts, what it measures, and what it writes."""

import json
import re

import numpy as np
import pyopencl as cl
import pytest

from clgrad import memory
from clgrad.cli.bench import command
from clgrad.cli.bench.page import page
from clgrad.cli.bench.workloads import Workload, workloads
from clgrad.cli.main import main
from clgrad.device import current_context
from clgrad.kernels import peaks
from clgrad.profiler.roofline import Axis

pytestmark = pytest.mark.once

SMALL = 65536


def nothing():
    pass


def test_bound_is_the_roofline():
    """The later of moving the bytes and doing the arithmetic; swapped units would show here."""
    assert Workload("", "", nothing, 800, 100).bound(bandwidth=8.0, rate=50.0) == 100
    assert Workload("", "", nothing, 8, 1000).bound(bandwidth=8.0, rate=50.0) == 20
    assert Workload("", "", nothing, 800, 0).intensity == 0


def test_every_workload_runs_and_counts_its_traffic():
    """Arrays are read and written at least once, so no op moves fewer bytes than it returns."""
    names = []
    for workload in workloads(current_context(), SMALL):
        names.append(workload.name)
        result = workload.call()
        if result is not None and workload.family != "training":
            assert workload.traffic >= 4 * result.size, workload.name
    assert len(set(names)) == len(names) > 30


def test_the_copy_copies(rng):
    """Every part of the buffer, whatever the number of cores: else nothing can reach that limit."""
    device = current_context().device
    stream = memory.current_stream(device)
    count = 1003 * 64  # no multiple of the number of work-items
    host = rng.random(count, np.float32)
    source, target = (memory.empty(stream, (count,), host.dtype) for _ in range(2))
    memory.upload(stream, host, source)
    kernel, items, group = peaks._copy_kernel(device)
    kernel.set_args(source.storage.buffer, target.storage.buffer, np.uint64(count // peaks._width(device)))
    cl.enqueue_nd_range_kernel(stream.queue, kernel, (items,), (group,))
    np.testing.assert_array_equal(memory.download(stream, target), host)


def test_multiply_adds_are_done():
    """Chains of x -> 0.999 x + 0.001 tend to 1, so the sum over chains and lanes counts them."""
    device = current_context().device
    stream = memory.current_stream(device)
    kernel, items, group = peaks._multiply_add_kernel(device)
    result = memory.empty(stream, (items,), np.dtype(np.float32))
    kernel.set_args(result.storage.buffer, np.int32(peaks._STEPS))
    cl.enqueue_nd_range_kernel(stream.queue, kernel, (items,), (group,))
    total = peaks._CHAINS * peaks._width(device)
    np.testing.assert_allclose(memory.download(stream, result), total, rtol=1e-3)
    assert peaks.multiply_add(stream).operations == 2 * total * peaks._STEPS * items


@pytest.fixture
def two(monkeypatch):
    """Measure two workloads only."""
    chosen = ("relu(x)", "transpose")

    def few(context, elements):
        yield from (w for w in workloads(context, elements) if w.name in chosen)

    monkeypatch.setattr(command, "workloads", few)
    return chosen


def test_command_prints_and_writes(two, tmp_path, capsys):
    paths = [tmp_path / "a.json", tmp_path / "a.html"]
    status = main(["bench", "--rounds", "1", "--elements", "65536", *(f"--output={p}" for p in paths)])
    assert status == 0
    printed = capsys.readouterr().out
    summary = json.loads(paths[0].read_text())
    assert [r["name"] for r in summary["results"]] == list(two)
    for result in summary["results"]:
        assert result["name"] in printed
        bound = max(result["traffic"] / result["bandwidth"], result["operations"] / result["rate"])
        assert result["share"] == pytest.approx(bound / result["seconds"])
    html = paths[1].read_text()
    assert len(re.findall("<circle", html)) == 1, "an op without arithmetic has no place on the plot"
    assert "transpose" in html
    assert not re.search(r"(src|href)=|url\(", html), "the page needs something else"


def test_names_are_escaped(two):
    summary = {"device": "<b>", "platform": "&", "driver": "", "date": "", "limits": {}, "families": {},
               "bandwidth": 1e9, "rate": 1e10}  # fmt: skip
    one = {"name": "a < b", "family": "map", "traffic": 8, "operations": 1, "seconds": 1, "share": 1}
    summary["results"] = [one]
    assert "<b>" not in page(summary)
    assert "a &lt; b" in page(summary)


def test_axis_has_whole_decades():
    axis = Axis([0.03, 40.0], 0.0, 400.0)
    assert list(axis.ticks()) == pytest.approx([0.01, 0.1, 1, 10, 100])
    assert axis(1.0) == pytest.approx(200)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "x.txt"], "x.txt: accepted are names that end in .json or .html"),
        (["--device", "nothing of that name"], "there is no device 'nothing of that name'"),
        (["--elements", "3"], "given 3"),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    assert main(["bench", *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--rounds", "many"], ["--elements", "-1"]])
def test_numbers_are_positive(arguments, capsys):
    with pytest.raises(SystemExit):
        main(["bench", *arguments])
    assert arguments[0] in capsys.readouterr().err
