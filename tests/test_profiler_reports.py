"""What profiles make of the times they have read: idle time, tables, traces, pages; the command line."""

import json
import re
import sys
from types import SimpleNamespace

import pytest
from trace_format import check_trace

import clgrad as mx
from clgrad import profiler
from clgrad.cli.main import main
from clgrad.device import current_context
from clgrad.errors import OperatorError
from clgrad.kernels import peaks
from clgrad.profiler import summary
from clgrad.profiler.clock import Clock, Reading
from clgrad.profiler.host import HostRange
from clgrad.profiler.launches import Gap, Idleness, Kind, Work
from clgrad.profiler.streams import Kinds, StreamLog

# Arithmetic


@pytest.mark.once
def test_clocks_that_drift():
    """Read together at 1000 and 5000 of the host's, 100 and 2100 of the device's: twice as slow."""
    clock = Clock(Reading(1000, 100), Reading(5000, 2100))
    assert [clock.host(t) for t in (100, 1100, 2100)] == [1000, 3000, 5000]
    assert clock.host(0) == 900, "beyond the readings they run alike"
    assert Clock(Reading(7, 1), Reading(7, 1)).host(4) == 10


@pytest.mark.once
def test_idle_time_is_the_programs_or_the_drivers(stream):
    """Whether the next launch had been enqueued when the one before ended."""
    log = StreamLog(stream, Kinds(str), limit=0)
    kind = Kind(Work("op", "kernel", "", 0), stream.device, "")
    for queued, started, ended in [(0, 10, 20), (15, 26, 30), (37, 40, 50), (38, 50, 51)]:
        log._add_gap(kind, queued, started, ended)
    # 20 to 26: enqueued before; 30 to 40: for 7 of them nothing was enqueued.
    assert log.idleness == Idleness(busy=10 + 4 + 10 + 1, host=7, latency=6 + 3)
    assert log.idleness.total == 51 - 10
    assert sorted((gap.duration, gap.host) for gap in log.gaps) == [(6, 0), (10, 7)]


@pytest.mark.once
def test_gaps_say_what_the_device_waited_for(stream):
    """The program, the driver, or kernels that were built meanwhile."""
    before, after = (Kind(Work(op, op, "", 0), stream.device, "") for op in ("dot", "exp"))
    build = HostRange("build exp", "build", 0, 0, started=10_000, ended=90_000)
    profile = SimpleNamespace(ranges=[build])
    times = [(0, 100_000), (45_000, 0), (60_000, 99_000)]
    gaps = [Gap(at, at + 100_000, host, before, after) for at, host in times]
    texts = summary.gap_texts(profile, gaps)
    assert [re.search(r", (.*):", text)[1] for text in texts] == [
        "waiting for kernels to be built",
        "starting the launch",
        "waiting for the program",
    ]
    assert texts[0] == "100 us, waiting for kernels to be built: after dot, before exp"


@pytest.mark.once
def test_limits_are_measured_once():
    device = current_context().device
    found = peaks.measured(device)
    assert found is peaks.measured(device)
    assert found.bandwidth > 0
    assert found.rate > 0
    assert peaks.Peaks(10.0, 100.0).seconds(50, 100) == 5
    assert peaks.Peaks(10.0, 100.0).seconds(10, 700) == 7


# Reports


@pytest.fixture(scope="module")
def small():
    """A profile with two ops, scopes, and names that a page must not take for its own."""
    x = mx.nd.ones((32, 16))
    with profiler.profile() as p:
        for _ in range(3):
            with profiler.scope("</script><b>"), profiler.scope("inner"):
                y = mx.nd.dot(x, x, transpose_b=True)
                mx.nd.exp(y).asnumpy()
    return p


@pytest.mark.once
def test_tables(small):
    """Each group has all launches; rows are in the order that was asked for."""
    calls = {}
    for group in ("op", "kernel", "shapes", "scope"):
        lines = small.table(group=group).splitlines()
        rows = lines[4 : lines.index("", 3)]
        calls[group] = sum(int(re.split(r"  +", row)[1]) for row in rows)
    assert set(calls.values()) == {len(small.launches)}
    rows = small.table(sort="name").splitlines()[4:7]
    assert [row.split()[0] for row in rows] == ["dot", "download", "exp"]
    assert "... and 2 more" in small.table(limit=1)
    assert str(small) == small.table()
    assert "GFLOP/s of float32 multiply-adds" in str(small)


@pytest.mark.once
@pytest.mark.parametrize(
    ("argument", "value"), [("group", "colour"), ("sort", "colour"), ("limit", 0), ("limit", "x")]
)
def test_tables_check_their_arguments(small, argument, value):
    with pytest.raises(OperatorError, match=rf"profile.table: {argument} is {value!r}; accepted: "):
        small.table(**{argument: value})


@pytest.mark.once
def test_a_report_of_nothing(tmp_path):
    """No launch, or no device so far, is no error."""
    with profiler.profile() as p:
        pass
    assert "0 launches" in str(p)
    p.save_html(tmp_path / "p.html")
    p.save_chrome_trace(tmp_path / "p.json")
    json.loads((tmp_path / "p.json").read_text())


def test_reports_of_a_profile_that_is_on(tmp_path):
    with profiler.profile() as p:
        mx.nd.ones((2,))
        assert "1 launches" in str(p)
        p.save_html(tmp_path / "p.html")
        mx.nd.ones((2,))
    assert len(p.launches) == 2


@pytest.mark.once
def test_the_trace_is_what_viewers_read(small, tmp_path):
    small.save_chrome_trace(tmp_path / "trace.json")
    document = json.loads((tmp_path / "trace.json").read_text())
    check_trace(document)
    events = document["traceEvents"]
    kernels = [e for e in events if e.get("cat") == "kernel"]
    assert [e["args"]["op"] for e in kernels] == [launch.op for launch in small.launches]
    assert kernels[0]["args"]["scope"] == "</script><b>/inner"
    assert [e["name"] for e in events if e.get("cat") == "scope"].count("inner") == 3
    names = {e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert names == {"host", small.launches[0].device}


@pytest.mark.once
def test_the_page_needs_nothing_else(small, tmp_path):
    """No address of a network, no other file; and nothing that is shown can end the script."""
    small.save_html(tmp_path / "report.html", title="<i>Mine</i>")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for part in ("http:", "https:", "src=", "href=", "url(", "@import", "import("):
        assert part not in page
    assert "default-src 'none'" in page
    assert "<title>&lt;i&gt;Mine&lt;/i&gt;</title>" in page
    assert page.count("</script>") == 2
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    (queue,) = data["queues"]
    assert len(queue["columns"]["started"]) == len(small.launches)
    assert [data["kinds"][k]["op"] for k in queue["columns"]["kind"]] == [
        launch.op for launch in small.launches
    ]
    assert {r[0] for r in data["threads"][0]["ranges"]} >= {"</script><b>", "inner"}
    assert page.count("<circle") == 1, "the product's place below the roof"
    assert not re.search(r"\$[a-z]", page), "a place of the template that was not filled"


@pytest.mark.once
def test_failed_writes_leave_what_was_there(small, tmp_path):
    target = tmp_path / "missing" / "report.html"
    with pytest.raises(OSError, match="missing"):
        small.save_html(target)


# The command line


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A program that imports a neighbour, says what it is given, and ends as it is told."""
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.setattr("sys.argv", list(sys.argv))
    (tmp_path / "neighbour_of_program.py").write_text("import clgrad as mx\nx = mx.nd.ones((3, 4))\n")
    path = tmp_path / "program.py"
    path.write_text(
        "import sys\n"
        "from neighbour_of_program import x\n"
        "if __name__ == '__main__':\n"
        "    x.exp().asnumpy()\n"
        "    print('given', sys.argv[1:])\n"
        "    if sys.argv[1] == 'fail':\n"
        "        raise ValueError('as told')\n"
        "    sys.exit(int(sys.argv[1]))\n"
    )
    yield path
    sys.modules.pop("neighbour_of_program", None)


@pytest.mark.once
def test_the_command_runs_a_program(program, tmp_path, capsys):
    """Its own arguments, even those that look like the command's; its exit status; and the reports."""
    page, trace = tmp_path / "p.html", tmp_path / "p.json"
    outputs = [f"--output={page}", f"--output={trace}"]
    assert main(["profile", *outputs, "--group=kernel", str(program), "3", "--sort", "x"]) == 3
    printed = capsys.readouterr().out
    assert "given ['3', '--sort', 'x']" in printed
    assert "exp_forward_float32" in printed
    check_trace(json.loads(trace.read_text()))
    assert str(program) in page.read_text()


@pytest.mark.once
def test_the_command_reports_a_program_that_fails(program, capsys):
    assert main(["profile", str(program), "fail"]) == 1
    printed = capsys.readouterr()
    assert "exp" in printed.out
    assert "ValueError: as told" in printed.err
    assert profiler.session.current() is None


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.py"], "there is no file missing.py"),
        (["--output=x.txt", "missing.py"], "x.txt: accepted"),
    ],
)
def test_the_command_says_what_is_wrong(arguments, message, capsys):
    assert main(["profile", *arguments]) == 1
    assert message in capsys.readouterr().err
