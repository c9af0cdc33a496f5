"""MXNet's names of the profiler: what real programs call, and what they get."""

import contextlib
import inspect
import json

import pytest
from helpers import eventually
from trace_format import check_trace

import clgrad as mx
from clgrad import profiler
from clgrad.errors import AbsentError, MXNetError, OperatorError
from clgrad.profiler import control

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    """A state of its own, and a folder that profile.json may go to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(control, "_state", control._State())
    yield
    profiler.set_state("stop")


# As inspect says of MXNet 1.9.1.
SIGNATURES = {
    "dump": "(finished=True, profile_process='worker')",
    "dump_profile": "()",
    "dumps": "(reset=False, format='table', sort_by='total', ascending=False)",
    "pause": "(profile_process='worker')",
    "profiler_set_config": "(mode='symbolic', filename='profile.json')",
    "profiler_set_state": "(state='stop')",
    "resume": "(profile_process='worker')",
    "set_config": "(**kwargs)",
    "set_kvstore_handle": "(handle)",
    "set_state": "(state='stop', profile_process='worker')",
    "Counter": "(domain, name, value=None)",
    "Domain": "(name)",
    "Event": "(name)",
    "Frame": "(domain, name)",
    "Marker": "(domain, name)",
    "Task": "(domain, name)",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_mxnets(name):
    signature = inspect.signature(getattr(profiler, name))
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    assert str(inspect.Signature(plain)) == SIGNATURES[name]


def test_sums_of_several_runs():
    """What runs between them, or in a pause, is not seen; a reset begins anew."""
    profiler.set_config(profile_all=True, aggregate_stats=True, filename="out.json")
    for _ in range(2):
        profiler.set_state("run")
        profiler.set_state("run")  # it does already
        mx.nd.ones((2, 3)).exp()
        profiler.pause()
        mx.nd.ones((2, 3)).log()
        profiler.resume()
        profiler.set_state("stop")
        mx.nd.ones((2, 3)).sin()
    operators = json.loads(profiler.dumps(format="json"))["Time"]["operator"]
    assert {name: entry["Count"] for name, entry in operators.items()} == {"full": 2, "exp": 2}
    for entry in operators.values():
        assert 0 <= entry["Min"] <= entry["Avg"] <= entry["Max"] <= entry["Total"]
    profiler.dump()
    with open("out.json") as file:
        document = json.load(file)
    check_trace(document)
    kernels = [e for e in document["traceEvents"] if e.get("cat") == "kernel"]
    assert [e["args"]["op"] for e in kernels] == ["full", "exp"] * 2
    assert [e["ts"] for e in kernels] == sorted(e["ts"] for e in kernels), "one run after the other"
    assert "exp" in profiler.dumps(reset=True)
    assert "exp" not in profiler.dumps()


def test_tables_are_sorted():
    profiler.set_state("run")
    x = mx.nd.ones((2, 3))
    for _ in range(3):
        x.exp()
    x.log()
    x.log()
    profiler.set_state("stop")
    for ascending, order in ((False, ["exp", "log", "full"]), (True, ["full", "log", "exp"])):
        lines = profiler.dumps(sort_by="count", ascending=ascending).splitlines()
        start = lines.index("operator") + 4
        assert [line.split()[0] for line in lines[start : start + 3]] == order
    assert "Memory: " in profiler.dumps()


def test_a_reset_while_it_runs_goes_on():
    profiler.set_state("run")
    mx.nd.ones((2, 3)).exp()
    assert "exp" in profiler.dumps(reset=True)
    mx.nd.ones((2, 3)).log()
    text = profiler.dumps()
    assert "log" in text
    assert "exp" not in text


def test_dump_switches_off_unless_told_otherwise():
    profiler.set_state("run")
    mx.nd.ones((2,))
    profiler.dump(finished=False)
    assert profiler.session.current() is not None
    profiler.dump()
    assert profiler.session.current() is None
    with open("profile.json") as file:
        check_trace(json.load(file))


def test_what_is_configured_out_is_not_shown():
    profiler.set_config(profile_imperative=False, profile_symbolic=False, profile_memory=False)
    profiler.set_state("run")
    with profiler.scope("mine"):
        mx.nd.ones((2,))
    profiler.set_state("stop")
    sums = json.loads(profiler.dumps(format="json"))
    assert "operator" not in sums["Time"]
    assert sums["Time"]["scope"]["mine"]["Count"] == 1
    assert sums["Memory"] == {}
    profiler.dump()
    with open("profile.json") as file:
        assert not [e for e in json.load(file)["traceEvents"] if e.get("cat") in ("kernel", "launch")]


def test_the_file_is_written_now_and_then():
    profiler.set_config(filename="often.json", continuous_dump=True, dump_period=0.01)
    profiler.set_state("run")
    mx.nd.ones((2,)).wait_to_read()

    def has_a_kernel():
        with contextlib.suppress(FileNotFoundError), open("often.json") as file:
            return any(e.get("cat") == "kernel" for e in json.load(file)["traceEvents"])

    eventually(has_a_kernel)
    profiler.set_state("stop")
    assert control._state.quit is None


def test_marks_of_a_domain(tmp_path):
    """In whatever profile is on: tasks may overlap, events nest, counters and markers have a moment."""
    domain = profiler.Domain("training")
    first, second, frame = domain.new_task("first"), domain.new_task("second"), domain.new_frame("frame")
    event, counter, marker = (
        profiler.Event("event"),
        domain.new_counter("count", 5),
        domain.new_marker("now"),
    )
    first.start()  # before the profile: not in it
    with profiler.profile() as p:
        first.stop()
        for mark in (first, second, frame, event):
            mark.start()
        mx.nd.ones((2,))
        counter += 2
        counter -= 4
        counter.increment()
        counter.decrement(2)
        marker.mark()
        marker.mark("thread")
        for mark in (first, second, frame, event):
            mark.stop()
            mark.stop()  # it has ended
    counter.set_value(9)
    assert counter.value == 9
    assert [str(x) for x in (domain, first, event, counter)] == ["training", "first", "event", "count"]
    found = {(r.name, r.category, r.depth) for r in p.ranges if r.category != "build"}
    assert found == {
        ("first", "training", -1),
        ("second", "training", -1),
        ("frame", "training,frame", -1),
        ("event", "scope", 0),
    }
    assert [(i.name, i.value) for i in p.instants] == [
        *[("count", value) for value in (7, 3, 4, 2)],
        ("now", None),
        ("now", None),
    ]
    assert p.launches[0].scope == "event"
    p.save_chrome_trace(tmp_path / "trace.json")
    document = json.loads((tmp_path / "trace.json").read_text())
    check_trace(document)
    assert [e["s"] for e in document["traceEvents"] if e["ph"] == "i"] == ["p", "t"]
    p.save_html(tmp_path / "p.html")
    assert '"tasks":[["first","training"' in (tmp_path / "p.html").read_text()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: profiler.set_config(colour=1), r"argument is 'colour'; accepted: filename, "),
        (lambda: profiler.set_config(profile_all="x"), r"profile_all is 'x'; accepted: True or False"),
        (lambda: profiler.set_config(filename=3), r"filename is 3; accepted: a path"),
        (lambda: profiler.set_config(dump_period=0), r"dump_period is 0; accepted: a number"),
        (lambda: profiler.set_state("walk"), r"set_state: state is 'walk'; accepted: 'run' or 'stop'"),
        (lambda: profiler.set_state("run", "x"), r"profile_process is 'x'; accepted: 'worker'"),
        (lambda: profiler.dumps(format="xml"), r"dumps: format is 'xml'; accepted: 'table', 'json'"),
        (lambda: profiler.dumps(sort_by="x"), r"dumps: sort_by is 'x'; accepted: 'total', 'avg'"),
        (lambda: profiler.profiler_set_config("x"), r"mode is 'x'; accepted: 'symbolic' or 'all'"),
        (lambda: profiler.Domain(3), r"Domain: name is 3; accepted: a string"),
        (lambda: profiler.Task("a", "b"), r"Task: domain is 'a'; accepted: a Domain"),
        (lambda: profiler.Domain("d").new_counter("c", "x"), r"Counter c: value is 'x'; accepted"),
        (lambda: profiler.Domain("d").new_counter("c", float("nan")), r"value is nan; accepted"),
        (lambda: profiler.Domain("d").new_marker("m").mark("x"), r"mark: scope is 'x'; accepted: global"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_arguments_are_checked(call, message):
    before = dict(control._state.config)
    with pytest.raises(OperatorError, match=message):
        call()
    assert control._state.config == before


def test_servers_are_absent():
    with pytest.raises(AbsentError, match="no kvstore servers"):
        profiler.set_state("run", profile_process="server")


def test_it_does_not_take_over_a_profile():
    with profiler.profile(), pytest.raises(MXNetError, match="on already"):
        profiler.set_state("run")
    profiler.set_state("stop")
    assert control._state.profiles == []


def test_old_names_warn():
    with pytest.warns(DeprecationWarning, match="use profiler.set_config"):
        profiler.profiler_set_config("all", "old.json")
    with pytest.warns(DeprecationWarning, match="use profiler.set_state"):
        profiler.profiler_set_state("run")
    with pytest.warns(DeprecationWarning, match="use profiler.dump"):
        profiler.dump_profile()
    with open("old.json") as file:
        check_trace(json.load(file))
