"""The report at the end of a run: which ops passed in which dtypes, in each order of gradient."""

from collections import Counter

import pytest

#: What a test can say it has shown, and the letter that the table has for it.
SHOWN = {"forward": "F", "gradient": "G", "second": "S"}

_PROPERTY = "report"


@pytest.fixture
def report(request: pytest.FixtureRequest):
    """``report(op, dtype, what)``: a test's outcome becomes that of ``what`` in the table."""

    def enter(op: str, dtype: str, what: str) -> None:
        request.node.user_properties.append((_PROPERTY, (op, dtype, what)))

    return enter


class Table:
    """Outcomes of (op, dtype, what), gathered from all test processes."""

    def __init__(self):
        self._outcomes: dict[tuple[str, str, str], str] = {}
        self._reasons: dict[str, set[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test's outcome; one that failed in set-up counts as well."""
        for name, entry in report.user_properties:
            if name == _PROPERTY and (report.when == "call" or report.outcome != "passed"):
                self._outcomes[tuple(entry)] = report.outcome
                if report.outcome == "skipped":
                    self._reasons.setdefault(report.longrepr[2], set()).add(entry[0])

    def pytest_terminal_summary(self, terminalreporter) -> None:
        """Print the table."""
        if not self._outcomes:
            return
        write = terminalreporter.write_line
        terminalreporter.section("ops x dtypes: (F)orward, (G)radient, (S)econd and third order")
        ops = sorted({op for op, _, _ in self._outcomes})
        columns = list(dict.fromkeys(d for _, d, _ in sorted(self._outcomes, key=_column)))
        width = max(map(len, ops)) + 2
        write("".ljust(width) + "".join(d.ljust(10) for d in columns))
        for op in ops:
            write(op.ljust(width) + "".join(self._cell(op, d).ljust(10) for d in columns).rstrip())
        write("lower case: failed; ~: skipped, for a reason below; blank: does not apply")
        for reason, skipped in self._reasons.items():
            write(f"~ {reason}: {len(skipped)} ops")
        counts = Counter(self._outcomes.values())
        write(f"{len(ops)} ops: " + ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items())))

    def _cell(self, op: str, dtype: str) -> str:
        marks = {"passed": str.upper, "failed": str.lower, "skipped": lambda _: "~"}
        found = ((self._outcomes.get((op, dtype, what)), letter) for what, letter in SHOWN.items())
        return "".join(marks[outcome](letter) if outcome else "" for outcome, letter in found)


def _column(entry: tuple[str, str, str]) -> tuple:
    """Order of the dtypes: real ones first, by size."""
    kind = entry[1].rstrip("0123456789")
    order = ["float", "bfloat", "int", "uint", "bool"].index(kind)
    return order, int(entry[1][len(kind) :] or 0)
