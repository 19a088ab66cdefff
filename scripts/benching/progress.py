"""What is running, for people: a bar on a terminal, a line for each step in a pipe."""

from types import TracebackType
from typing import Self

from rich import progress as bars
from rich.console import Console


class Progress:
    """On standard error. It is drawn when something is said, and never while a load runs."""

    def __init__(self, rounds: int) -> None:
        self._console = Console(stderr=True)
        self._bar = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TextColumn("rounds"),
            bars.TimeElapsedColumn(),
            console=self._console,
            auto_refresh=False,  # a thread that draws would take time from what is measured
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=rounds)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def say(self, words: str) -> None:
        """Tell what begins now."""
        if self._console.is_terminal:
            self._bar.update(self._task, description=words, refresh=True)
        else:
            self._console.print(words, highlight=False, soft_wrap=True)

    def advance(self) -> None:
        """One more round is done."""
        self._bar.advance(self._task)
