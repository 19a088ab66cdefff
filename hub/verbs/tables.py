"""Tables of texts for a terminal, as wide as it is.

Invariant: each text is there as it is, and none is markup. What does not fit goes on in the next
line, but no date, clock or size does, for a part of it reads as another one, as long as there is
room.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Final, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from hub.names import printable

Cells: TypeAlias = Sequence[str]
Widths: TypeAlias = Mapping[int, int]
"""Those of columns, by their places, that must not be narrower."""

LEAST_WIDTH: Final = 10
"""What a column of names or values is to have, or all that it needs."""
_FIGURE: Final = re.compile(r"[\d,.]+( [KM]B)?|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_DATE: Final = 10
"""Letters of a date: its time may stand below."""
_STEPS: Final = 3
_BETWEEN: Final = 2
"""Cells between two columns."""


class Rows:
    """A table that fits the terminal on which it is shown."""

    def __init__(self, heads: Sequence[str], rows: Iterable[Cells]) -> None:
        self._heads = heads
        self._rows = [[printable(cell) for cell in row] for row in rows]

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """Fold as little as will do."""
        yield self._table(self._widths(options.max_width))

    def _table(self, widths: Widths) -> Table:
        made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for place, head in enumerate(self._heads):
            made.add_column(head, overflow="fold", width=widths.get(place))
        for row in self._rows:
            made.add_row(*map(Text, row))
        return made

    def _widths(self, room: int) -> Widths:
        """Of figures; none, where the terminal is too narrow for them."""
        columns = list(zip_longest(self._heads, *self._rows, fillvalue=""))
        least = [min(max(map(cell_len, column)), LEAST_WIDTH) for column in columns]
        figures = {
            n: _widths_of(*column) for n, column in enumerate(columns) if _is_of_figures(*column)
        }
        for step in range(_STEPS):
            kept = {place: widths[step] for place, widths in figures.items()}
            needed = sum(kept.get(place, narrow) for place, narrow in enumerate(least))
            if needed + _BETWEEN * (len(columns) - 1) <= room:
                return kept
        return {}


def _is_of_figures(_head: str, *cells: str) -> bool:
    return any(cells) and all(_FIGURE.fullmatch(cell) for cell in cells if cell)


def _widths_of(head: str, *cells: str) -> tuple[int, int, int]:
    """All in one line; else the head by words; else times below their dates, too."""
    words = max(map(cell_len, head.split()), default=0)
    longest = max(map(cell_len, cells))
    broken = _DATE if any("-" in cell for cell in cells) else longest
    return max(cell_len(head), longest), max(words, longest), max(words, broken)
