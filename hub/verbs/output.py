"""How verbs show what they found: tables for people, JSON Lines for programs and in pipes.

Invariant: on a terminal no name and no value moves the cursor or turns letters around; in JSON each
is there byte for byte.
"""

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final, Generic, TypeVar

import msgspec
import orjson
from rich.console import Console
from rich.text import Text

from hub.names import printable
from hub.store.explaining import EditRow
from hub.verbs.tables import Cells, Rows

T = TypeVar("T")

MOST_ROWS: Final = 1_000
"""Rows of one table; nobody reads more, and a table is made whole before it is shown."""
SPOOLED_BYTES: Final = 16 * 2**20
"""Bytes of lines that are kept in memory before they go to a file."""
_LONGEST_VALUE: Final = 200
_UNITS: Final = ((86_400_000, "days"), (3_600_000, "hours"), (60_000, "minutes"), (1_000, "s"))


@contextmanager
def explained_if_stopped(words: str) -> Iterator[None]:
    """Say what it means, if somebody stops this with Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        Console(stderr=True, soft_wrap=True, highlight=False).print(line(words))
        raise


def is_for_programs(*, as_json: bool) -> bool:
    """Whether JSON Lines are wanted."""
    return as_json or not sys.stdout.isatty()


def json_line(row: object) -> bytes:
    """A row as one line of JSON."""
    return msgspec.json.encode(row) + b"\n"


def write_line(row: object) -> None:
    """Write a line of JSON, for whoever waits for it."""
    sys.stdout.buffer.write(json_line(row))
    sys.stdout.buffer.flush()


class Found(Generic[T]):
    """Rows that were read, to be shown once the file they are of has been let go.

    Whoever reads a pipe, or a terminal, may take all day, and meanwhile the hub's WAL would grow.
    """

    def __init__(self, rows: Iterable[T], *, as_json: bool) -> None:
        self._lines: IO[bytes] | None = None
        self._rows: Sequence[T] = ()
        if is_for_programs(as_json=as_json):
            self._lines = _spooled(rows)
        else:
            self._rows = list(islice(rows, MOST_ROWS + 1))

    def show(self, heads: Sequence[str], cells: Callable[[T], Cells], nothing: str) -> None:
        """Each row as JSON, or all as one table; what to say where there is none."""
        if self._lines is not None:
            _copy_out(self._lines)
            return
        console = Console()
        shown = [cells(row) for row in self._rows[:MOST_ROWS]]
        console.print(Rows(heads, shown) if shown else nothing)
        if len(self._rows) > MOST_ROWS:
            console.print(f"And more than these {MOST_ROWS:,}: --json has them all.")


def _spooled(rows: Iterable[object]) -> IO[bytes]:
    lines = SpooledTemporaryFile(SPOOLED_BYTES)  # noqa: SIM115 - whoever shows it closes it
    try:
        lines.writelines(json_line(row) for row in rows)
    except BaseException:
        lines.close()
        raise
    return lines


def _copy_out(lines: IO[bytes]) -> None:
    with lines:
        lines.seek(0)
        shutil.copyfileobj(lines, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def line(text: str, style: str = "") -> Text:
    """A line for a terminal, whatever is in it."""
    return Text(printable(text), style=style)


def moment(ms: int | None) -> str:
    """A moment for a person."""
    if ms is None:
        return ""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def span(ms: int) -> str:
    """How long something is, for a person."""
    size, unit = next((each for each in _UNITS if ms >= 2 * each[0]), _UNITS[-1])
    return f"{ms // size} {unit}"


def value(of: Any) -> str:
    """A value for a person: as JSON, cut where it is long."""
    text = orjson.dumps(of).decode()
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def values(fields: Any) -> str:
    """Fields and their values for a person, less the id, which stands elsewhere."""
    return ", ".join(f"{name} = {value(each)}" for name, each in fields.items() if name != "id")


def size(count: int) -> str:
    """Bytes for a person."""
    return f"{count / 2**20:.1f} MB" if count >= 2**20 else f"{count / 2**10:.1f} KB"


def became(edit: EditRow) -> str:
    """What became of an edit, for a person."""
    if edit.won_by:
        return "lost: " + ", ".join(f"{name} to clock {at}" for name, at in edit.won_by.items())
    return f"rejected: {edit.code}, {edit.message}" if edit.code else edit.became
