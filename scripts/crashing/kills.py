"""The command line of `scripts/kills`: a hub and its devices killed a thousand times."""

import math
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.crash.kills import Kills

LOOK_EVERY: Final = 50
"""Rounds between two looks at everything."""


@click.command(context_settings={"show_default": True})
@click.option("--rounds", type=click.IntRange(1), default=1000, help="How many times.")
@click.option("--minutes", type=click.FloatRange(0.01), help="No new round after so long.")
@click.option("--seed", type=int, help="Who dies when; without it a new one.")
def main(*, rounds: int, minutes: float | None, seed: int | None) -> None:
    """Kill (-9) a hub, one of three devices with files of their own, and then all of them.

    Some 0.5 s a round. Ends with exit code 1 if anything that was acked or saved is lost.
    """
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    print(f"seed {seed}", file=sys.stderr)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        kills = Kills(Path(folder), seed)
        done = _go_through(kills, rounds, minutes)
        clock = kills.check()
        saved = sum(phone.said for phone in kills.phones)
    seconds = time.monotonic() - began
    print(f"{done} rounds in {seconds:.0f} s: {saved} edits saved, {clock} pushes, none lost")


def _go_through(kills: Kills, rounds: int, minutes: float | None) -> int:
    """Kill, and look at everything now and then; how many rounds there was time for."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    progress = Progress(
        *columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal
    )
    end = math.inf if minutes is None else time.monotonic() + minutes * 60
    with progress:
        for number in progress.track(range(1, rounds + 1), description="killing"):
            kills.round()
            if number % LOOK_EVERY == 0:
                kills.check()
            if time.monotonic() > end:
                return number
    return rounds


if __name__ == "__main__":
    main()
