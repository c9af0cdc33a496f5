"""``clgrad tune``: what is searched, what is refused, and what is written."""

import dataclasses
import math
import os
from pathlib import Path

import pytest
from helpers import stand_in_for_python

from clgrad.cli.child import Outcome, in_child
from clgrad.cli.main import main
from clgrad.cli.tune import command, trial
from clgrad.cli.tune.search import Search
from clgrad.cli.tune.workloads import CHECKS, TIMED
from clgrad.device import current_context
from clgrad.errors import KernelError
from clgrad.kernels import database, tuning
from clgrad.kernels.parameters import FAMILIES, MapCpu

# What the search would find, were the rest of the machine still.
FAST = {"grain": 16384, "items_per_unit": 2}


def speed(candidate: MapCpu) -> float:
    """Faster with each parameter that is as in FAST."""
    values = candidate.as_dict()
    return 1.1 ** sum(values[name] == value for name, value in FAST.items())


def search(measure, seconds: float = math.inf) -> Search:
    capabilities = current_context().device.capabilities
    made = Search(MapCpu.default(capabilities), capabilities, measure)
    made.run(seconds)
    return made


class TestSearch:
    def test_finds_the_best_and_measures_each_once_and_the_better_ones_again(self):
        calls = []

        def measure(candidate, careful):
            calls.append((candidate, careful))
            return Outcome({"a": speed(candidate), "b": speed(candidate)})

        found = search(measure)
        assert {name: found.best.as_dict()[name] for name in FAST} == FAST
        assert found.worth_an_entry
        assert found.gain == pytest.approx(1.21)
        assert (found.best, True) in calls
        tried = [candidate for candidate, careful in calls if not careful]
        assert len(tried) == len(set(tried)) == found.measured, "a candidate was measured twice"
        assert found.start not in tried

    def test_luck_does_not_count(self):
        """A speed that the second measurement does not show."""
        found = search(lambda candidate, careful: Outcome({"a": 1.0 if careful else speed(candidate)}))
        assert found.best == found.start
        assert not found.worth_an_entry

    def test_small_gains_do_not_count(self):
        found = search(lambda candidate, careful: Outcome({"a": 1.015}))
        assert found.best == found.start

    def test_one_workload_must_not_pay_for_the_others(self):
        found = search(lambda candidate, careful: Outcome({"a": 2.0, "b": 0.8}))
        assert found.gain > 1.2
        assert not found.worth_an_entry

    def test_failures_are_kept_apart(self):
        def measure(candidate, careful):
            return (
                Outcome(error="it crashes")
                if candidate.grain == 16384
                else Outcome({"a": speed(candidate)})
            )

        found = search(measure)
        assert found.best.grain != 16384
        assert found.best.items_per_unit == 2
        assert {parameters.grain for parameters, _ in found.failures} == {16384}

    def test_candidate_that_fails_when_measured_again_is_dropped(self):
        found = search(lambda c, careful: Outcome(error="crash") if careful else Outcome({"a": speed(c)}))
        assert found.best == found.start
        assert not found.worth_an_entry

    def test_stops_when_time_is_up(self):
        assert search(lambda candidate, careful: Outcome({"a": 1.0}), seconds=0).measured == 0


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file, which is not there yet, and the only one there is."""
    monkeypatch.setenv("CLGRAD_TUNING", str(tmp_path / "own.json"))
    monkeypatch.setattr(tuning, "_SHIPPED", tmp_path)
    tuning.forget()
    return tmp_path / "own.json"


@pytest.fixture
def of_cpu():
    if current_context().device.kind != "cpu":
        pytest.skip("looks at the families of CPUs")


@pytest.mark.usefixtures("of_cpu")
@pytest.mark.skipif(os.name != "posix", reason="a shell script stands in for Python")
class TestCommand:
    @pytest.fixture
    def python(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """A shell script in the place of the Python of the children: `case` patterns on the candidate."""

        def install(cases: str) -> None:
            stand_in_for_python(tmp_path, monkeypatch, f'case "$8" in\n{cases}\nesac')

        return install

    ANSWER = """echo '{"result": {"some workload": %s}}'"""

    def test_crash_hang_and_wrong_values_cost_nothing(self, own, python, monkeypatch, capsys):
        """The candidates that fail would all be faster, by what is known of them."""

        def impatient(*arguments, timeout, **options):
            hangs = '"grain": 4096,' in arguments[3]
            return in_child(*arguments, timeout=0.5 if hangs else timeout, **options)

        monkeypatch.setattr(command, "in_child", impatient)
        python(
            f"""*'"grain": 2048,'*) kill -SEGV $$ ;;
            *'"grain": 4096,'*) exec sleep 600 ;;
            *'"grain": 16384,'*) echo '{{"error": "it computes wrong values: a + b"}}' ;;
            *'"grain": 32768,'*) {self.ANSWER % 1.5} ;;
            *) {self.ANSWER % 1} ;;"""
        )
        assert main(["tune", "--family", "map"]) == 0
        output = capsys.readouterr()
        for failure in ("crashes: Segmentation fault", "hangs", "computes wrong values: a + b"):
            assert failure in output.out
        assert "grain 2048: it crashes" in output.out
        assert "map_cpu [####" in output.err
        (entry,) = database.read(own)
        assert entry.parameters["map_cpu"]["grain"] == 32768
        assert entry.measured["map_cpu"]["times as fast"] == {"some workload": 1.5}
        tuning.forget()
        assert tuning.of(current_context().device, MapCpu).grain == 32768

    def test_nothing_faster_writes_nothing(self, own, python, capsys):
        python(f"*) {self.ANSWER % 1} ;;")
        assert main(["tune", "--family", "map", "--seconds", "0.2"]) == 0
        assert "nothing is clearly faster" in capsys.readouterr().out
        assert not own.exists()

    def test_ctrl_c_keeps_what_was_found(self, own, monkeypatch, capsys, tmp_path):
        file = tmp_path / "elsewhere.json"
        answers = iter([Outcome({"a": 1.0}), Outcome({"a": 1.4}), Outcome({"a": 1.3})])

        def measure(*arguments):
            try:
                return next(answers)
            except StopIteration:
                raise KeyboardInterrupt from None

        monkeypatch.setattr(command, "in_child", lambda *arguments, **options: measure())
        assert main(["tune", "--output", str(file)]) == 130
        assert "1.30 times as fast" in capsys.readouterr().out
        assert len(database.read(file)) == 1
        assert not own.exists()

    def test_show(self, own, capsys):
        database.add(own, database.Entry("", {"class": "cpu"}, {"map_cpu": {"grain": 7000}}))
        assert main(["tune", "--show"]) == 0
        output = capsys.readouterr().out
        assert f"map_cpu: {own}, by its class" in output
        assert "grain            7000" in output
        assert "reduce_cpu: safe default" in output

    def test_refusals(self, own, monkeypatch, capsys, tmp_path):
        monkeypatch.setattr(command, "in_child", lambda *arguments, **options: Outcome({"a": 2.0}))
        assert main(["tune", "--device", "no such device"]) == 1
        assert "there is no device 'no such device'" in capsys.readouterr().err
        (tmp_path / "file").touch()
        assert main(["tune", "--output", str(tmp_path / "file" / "below.json")]) == 1
        assert "cannot be written" in capsys.readouterr().err
        monkeypatch.setenv("CLGRAD_TUNING", "off")
        assert main(["tune"]) == 1
        assert "name a file with --output" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            main(["tune", "--seconds", "nan"])

    def test_says_that_there_is_nothing_to_tune(self, capsys):
        assert main(["tune", "--family", "tensor"]) == 1
        assert "has no kernels of tensor to be tuned" in capsys.readouterr().err


class TestTrial:
    def test_every_family_has_workloads(self):
        assert {family.rpartition("_")[0] for family in FAMILIES} == CHECKS.keys() == TIMED.keys()

    @pytest.mark.slow
    def test_a_candidate_of_this_device(self, tmp_path):
        """From end to end: no crash, right values, a speed for each workload."""
        context = current_context()
        family = f"map_{context.device.kind}"
        baseline = FAMILIES[family].default(context.device.capabilities)
        candidates = (baseline.with_change(c, context.device.capabilities) for c in baseline.tries())
        candidate = next(c for c in candidates if c is not None)
        outcome = command._measure(str(context), family, baseline, str(tmp_path), candidate, False)
        assert outcome.error is None
        assert outcome.result.keys() == {workload.name for workload in TIMED["map"]}
        assert all(value > 0 for value in outcome.result.values())

    @pytest.mark.parametrize("table", [CHECKS, TIMED])
    def test_wrong_values_are_found(self, table, monkeypatch):
        """In the checks, and in what is timed."""
        kind = current_context().device.kind
        right = TIMED["reduce"][-1]
        wrong = dataclasses.replace(right, name="some", reference=lambda x: x.max(1))
        for each in (CHECKS, TIMED):
            monkeypatch.setitem(each, "reduce", [wrong if each is table else right])
        with pytest.raises(KernelError, match="wrong values: some"):
            trial.measure(str(current_context()), f"reduce_{kind}", "{}", "{}", "0")

    def test_result_that_is_not_written_is_wrong(self, monkeypatch):
        """Memory may hold the right answer from the run before."""
        kind = current_context().device.kind
        workload = TIMED["reduce"][-1]
        monkeypatch.setitem(CHECKS, "reduce", [workload])
        monkeypatch.setitem(TIMED, "reduce", [])
        arguments = str(current_context()), f"reduce_{kind}", "{}", "{}", "0"
        assert trial.measure(*arguments) == {}
        monkeypatch.setattr(trial.Plan, "run", lambda *args, **options: None)
        with pytest.raises(KernelError, match="wrong values"):
            trial.measure(*arguments)
