"""Percentiles, medians and tables: what all our measurements are told with."""

import math
import statistics
import sys
from collections.abc import Sequence
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

UNKNOWN: Final = "-"
_SHARES: Final = (0.5, 0.9, 0.99, 0.999, 1.0)


class Spread(msgspec.Struct, frozen=True):
    """How long something took, in milliseconds."""

    p50: float
    p90: float
    p99: float
    p999: float
    max: float

    def __str__(self) -> str:
        """Return p50/p99/max for a table."""
        return "/".join(_three_digits(value) for value in (self.p50, self.p99, self.max))


def spread(nanoseconds: Sequence[int]) -> Spread | None:
    """Return the spread of times measured in nanoseconds; None of none."""
    if not nanoseconds:
        return None
    ordered = sorted(nanoseconds)
    return Spread(*(percentile(ordered, share) / 1e6 for share in _SHARES))


def percentile(ordered: Sequence[int], share: float) -> int:
    """Return the smallest value that `share` of the values do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(values: Sequence[float | None]) -> float | None:
    """Return the median of the values that are known; None if none is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def median_spread(spreads: Sequence[Spread | None]) -> Spread | None:
    """Return the medians of the percentiles and the greatest maximum; None of none."""
    known = [each for each in spreads if each is not None]
    if not known:
        return None
    return Spread(
        p50=statistics.median(each.p50 for each in known),
        p90=statistics.median(each.p90 for each in known),
        p99=statistics.median(each.p99 for each in known),
        p999=statistics.median(each.p999 for each in known),
        max=max(each.max for each in known),
    )


def _three_digits(value: float) -> str:
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"


def cell(value: object, shape: str = "") -> str:
    """Return a figure for a table, or a dash if it is not known."""
    return UNKNOWN if value is None else format(value, shape)


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard output: ruled on a terminal, aligned plain lines in a pipe."""
    if sys.stdout.isatty():
        _show_ruled(title, columns, rows)
    else:
        show_plain(columns, rows)


def _show_ruled(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def show_plain(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table as aligned lines."""
    lines = [columns, *rows]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        print(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        )
