"""The report at the end of a run: which ops passed in which dtypes, in each order of gradient."""

from collections import Counter

import pytest

#: What a test can say it has shown, and the letter that the table has for it.
SHOWN = {"forward": "F", "gradient": "G", "second": "S"}

_PROPERTY = "report"


@pytest.fixture
def report(request: pytest.FixtureRequest):
    """``report(op, dtype, what)``: a test's outcome becomes that of ``what`` in the table.

    ``what`` is a key of SHOWN; or ``refused``, where MXNet has no such op in the dtype and clgrad
    says so as well; or, with an empty dtype, the reason why the op is not in the table.
    """

    def enter(op: str, dtype: str, what: str) -> None:
        request.node.user_properties.append((_PROPERTY, (op, dtype, what)))

    return enter


class Table:
    """Outcomes of (op, dtype, what), gathered from all test processes."""

    def __init__(self):
        self._outcomes: dict[tuple[str, str, str], str] = {}
        self._skipped: dict[str, set[str]] = {}
        self._elsewhere: dict[str, list[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test's outcome; one that failed in set-up counts as well."""
        for name, entry in report.user_properties:
            if name != _PROPERTY or (report.when != "call" and report.outcome == "passed"):
                continue
            op, dtype, what = entry
            if not dtype:
                self._elsewhere.setdefault(what, []).append(op)
                continue
            self._outcomes[op, dtype, what] = report.outcome
            if report.outcome == "skipped":
                self._skipped.setdefault(report.longrepr[2], set()).add(op)

    def pytest_terminal_summary(self, terminalreporter) -> None:
        """Print the table."""
        if not self._outcomes:
            return
        write = terminalreporter.write_line
        terminalreporter.section("ops x dtypes: (F)orward, (G)radient, (S)econd and third order")
        ops = sorted({op for op, _, _ in self._outcomes})
        columns = sorted({dtype for _, dtype, _ in self._outcomes}, key=_order)
        width = max(map(len, ops)) + 2
        write("".ljust(width) + "".join(d.ljust(10) for d in columns).rstrip())
        for op in ops:
            write(op.ljust(width) + "".join(self._cell(op, d).ljust(10) for d in columns).rstrip())
        write("S: by finite differences, in the widest dtype that the device computes in")
        write("lower case: failed; -: refused, as MXNet does; ~: skipped, for a reason below")
        write("blank: does not apply (whole numbers, and what jumps, have no gradient)")
        if terminalreporter.config.option.dtypes:
            write(f"asked for by --dtypes: {', '.join(terminalreporter.config.option.dtypes)}")
        for reason, skipped in self._skipped.items():
            write(f"~ {reason}: {len(skipped)} ops")
        for reason, others in self._elsewhere.items():
            write(f"not in the table, {reason}: {', '.join(sorted(others))}")
        counts = Counter(o for (_, _, what), o in self._outcomes.items() if what in SHOWN)
        write(f"{len(ops)} ops: " + ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items())))

    def _cell(self, op: str, dtype: str) -> str:
        if self._outcomes.get((op, dtype, "refused")) == "passed":
            return "-"
        marks = {"passed": str.upper, "failed": str.lower, "skipped": lambda _: "~"}
        found = ((self._outcomes.get((op, dtype, what)), letter) for what, letter in SHOWN.items())
        return "".join(marks[outcome](letter) if outcome else "" for outcome, letter in found)


def _order(dtype: str) -> tuple[int, int]:
    """Real dtypes first, by size."""
    kind = dtype.rstrip("0123456789")
    return ["bfloat", "float", "int", "uint", "bool"].index(kind), int(dtype[len(kind) :] or 0)
