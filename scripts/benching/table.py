"""The one table that a run prints."""

import sys
from collections.abc import Iterator, Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scripts.benching.measure import TARGETS, Goal
from scripts.benching.verdict import Line, Outcome, Result, is_busy
from scripts.loading.figures import UNKNOWN, show_plain

_COLOURS: Final = {"met": "green", "missed": "red", "not measured": "yellow"}
_COLUMNS: Final = (
    "measure", "what", "relay", "afternoon", "hub", "hub/relay", "goal", "", "load CPU"
)  # fmt: skip
_TEXTS: Final = (0, 1, 6, 7)
"""The columns that hold words."""
_NEED_NO_POINT: Final = 100
_SIGNS: Final = {"at least": "≥", "at most": "≤"}


def print_table(result: Result) -> None:
    """Print the table, and what must be known to read it."""
    if sys.stdout.isatty():
        Console().print(_ruled(result))
    else:
        show_plain(_COLUMNS, list(rows_of(result.outcomes)))
    for note in result.notes:
        print(note)


def _ruled(result: Result) -> Table:
    """Return the table for a terminal: measures apart, verdicts in colour."""
    table = Table(title=f"Medians, {result.form} form", title_justify="left", box=box.SIMPLE_HEAD)
    for number, column in enumerate(_COLUMNS):
        table.add_column(column, justify="left" if number in _TEXTS else "right")
    for outcome in result.outcomes:
        for cells in rows_of([outcome]):
            table.add_row(*(_coloured(cell) for cell in cells))
        table.add_section()
    return table


def _coloured(cell: str) -> Text:
    return Text(cell, style=_COLOURS.get(cell, ""))


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
        _what(line),
        *(figure(line.medians.get(target)) for target in TARGETS),
        figure(line.ratio),
        goal_words(line.goal, line.unit),
        line.verdict or "",
        _load_words(outcome.load_cpu) if is_first else "",
    ]


def _what(line: Line) -> str:
    if not line.unit or line.unit.startswith("/"):
        return line.what + line.unit
    return f"{line.what} ({line.unit})"


def _load_words(share: float | None) -> str:
    if share is None:
        return UNKNOWN
    return f"{share:.0%}" + (", the limit" if is_busy(share) else "")
