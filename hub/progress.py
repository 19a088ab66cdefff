"""How far long work is: a bar for a person; for a pipe plain lines, those of a start in the log.

Whoever works knows nothing of terminals: it is given a `Progress`, begins it, and tells each part.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, TypeAlias

import structlog
from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

Tell: TypeAlias = Callable[[str, int, int], None]
"""Of a part, how much is done of how much; the whole is 0 where nobody knows."""
Progress: TypeAlias = Callable[[], AbstractContextManager[Tell]]
TENTHS: Final = 10
QUARTERS: Final = 4

logger: Final = structlog.get_logger("store")


@contextmanager
def silent() -> Iterator[Tell]:
    """Tell nobody."""
    yield lambda _part, _done, _whole: None


@contextmanager
def bars() -> Iterator[Tell]:
    """Draw a bar for each part, on standard error."""
    columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn()
    left = TimeRemainingColumn(elapsed_when_finished=True)
    tasks: dict[str, TaskID] = {}
    with Bars(*columns, left, console=Console(stderr=True)) as drawn:

        def tell(part: str, done: int, whole: int) -> None:
            if part not in tasks:
                tasks[part] = drawn.add_task(part, total=None)
            drawn.update(tasks[part], completed=done, total=whole or None)

        yield tell


@contextmanager
def lines() -> Iterator[Tell]:
    """Log a line when a part begins, and for each tenth of it."""
    told: dict[str, int] = {}

    def tell(part: str, done: int, whole: int) -> None:
        tenth = done * TENTHS // whole if whole else 0
        if told.get(part, -1) < tenth:
            told[part] = tenth
            logger.info("upgrading", part=part, **({"percent": 10 * tenth} if whole else {}))

    yield tell


@contextmanager
def quarters() -> Iterator[Tell]:
    """Print a line for each quarter of a part, on standard error."""
    console = Console(stderr=True)
    told: dict[str, int] = {}

    def tell(part: str, done: int, whole: int) -> None:
        quarter = QUARTERS * done // max(whole, 1)
        if told.get(part, 0) < quarter:
            told[part] = quarter
            words = f"{part}: {100 * quarter // QUARTERS} %"
            console.print(words, highlight=False, soft_wrap=True, markup=False)

    yield tell


def for_whom_it_is(in_a_pipe: Progress) -> Progress:
    """Bars on a terminal, what is given otherwise."""
    return bars if sys.stderr.isatty() else in_a_pipe
