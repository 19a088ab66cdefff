"""The one table that a run prints."""

from collections.abc import Iterator, Sequence
from typing import Final

from scripts.benching.measure import TARGETS, Goal
from scripts.benching.verdict import Line, Outcome, Result, is_busy
from scripts.loading.figures import UNKNOWN, show

_COLUMNS: Final = (
    "measure", "what", "unit", "relay", "afternoon hub", "hub", "hub/relay", "goal", "", "load CPU"
)  # fmt: skip
_NEED_NO_POINT: Final = 100
_SIGNS: Final = {"at least": "≥", "at most": "≤"}


def print_table(result: Result) -> None:
    """Print the table, and what must be known to read it."""
    show(f"mobync-hub, {result.form} form, medians", _COLUMNS, list(rows_of(result.outcomes)))
    for note in result.notes:
        print(note)


def rows_of(outcomes: Sequence[Outcome]) -> Iterator[list[str]]:
    """Return the cells of all lines; a measure's name and load stand on its first."""
    for outcome in outcomes:
        for number, line in enumerate(outcome.lines):
            yield _cells(outcome, line, is_first=number == 0)


def figure(value: float | None) -> str:
    """Return a figure with three digits, or all of those before the point."""
    if value is None:
        return UNKNOWN
    if abs(value) >= _NEED_NO_POINT:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < _NEED_NO_POINT / 10 else f"{value:.1f}"


def goal_words(goal: Goal | None, unit: str) -> str:
    """Return a goal as it is said in a cell."""
    if goal is None:
        return ""
    bound = f"{_SIGNS[goal.side]} {goal.bound:,g}"
    if goal.of == "ratio":
        return f"{bound} x relay"
    if goal.of == "difference":
        return f"{_SIGNS[goal.side]} relay + {goal.bound:g} {unit}"
    return f"{bound}{unit}" if unit.startswith("/") else f"{bound} {unit}".rstrip()


def _cells(outcome: Outcome, line: Line, *, is_first: bool) -> list[str]:
    return [
        outcome.name if is_first else "",
        line.what,
        line.unit,
        *(figure(line.medians.get(target)) for target in TARGETS),
        figure(line.ratio),
        goal_words(line.goal, line.unit),
        line.verdict or "",
        _load_words(outcome.load_cpu) if is_first else "",
    ]


def _load_words(share: float | None) -> str:
    if share is None:
        return UNKNOWN
    return f"{share:.0%}" + (", the limit" if is_busy(share) else "")
