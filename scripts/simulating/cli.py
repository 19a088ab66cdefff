"""`scripts/simulate`: run many seeds of the simulation, or replay one with its trace."""

import logging
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Final

import click
import structlog
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from scripts.simulating.hunting import hunt_all
from tests.simulation.simulation import simulate

MOST_SHOWN: Final = 10
"""Failing seeds after which going on would tell nothing new."""

_console: Final = Console(stderr=True)


def replay(seed: int) -> None:
    """Print all that happens in one seed, and how it ends; a failure is raised."""
    told = simulate(seed, say=lambda event: print(event, flush=False))
    print(f"seed {seed}: all well after {told.steps:,} steps, trace {told.trace}")


def run_many(seeds: Iterable[int], total: int) -> bool:
    """Run these seeds with a progress bar; whether all went well."""
    happened: Counter[str] = Counter()
    failed = 0
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_console) as progress:
        bar = progress.add_task("seeds", total=total)
        for seed in seeds:
            failed += not _run_one(seed, happened)
            progress.advance(bar)
            if failed >= MOST_SHOWN:
                break
    _tell(happened)
    return not failed


def _run_one(seed: int, happened: Counter[str]) -> bool:
    try:
        happened.update(simulate(seed).happened)
    except Exception as error:  # noqa: BLE001 - whatever it is, the next seed is not to blame
        words = (str(error).splitlines() or [""])[0]
        _console.print(f"seed {seed} failed: {type(error).__name__}: {words}", markup=False)
        _console.print(f"  replay it with: scripts/simulate --seed {seed}", markup=False)
        return False
    return True


def _tell(happened: Counter[str]) -> None:
    if not sys.stdout.isatty():
        for what, count in sorted(happened.items()):
            print(f"{what}: {count}")
        return
    table = Table("what happened", "times")
    for what, count in sorted(happened.items()):
        table.add_row(what, f"{count:,}")
    Console().print(table)


@click.command()
@click.option("--seeds", default=200, show_default=True, help="How many seeds to run.")
@click.option("--first", default=0, show_default=True, help="The first of them.")
@click.option("--seed", type=int, help="Replay this one, and print all that happens.")
@click.option(
    "--mutants",
    is_flag=True,
    help="Plant each known bug in turn, and say which seed shows it; --seeds are the most tried.",
)
def main(seeds: int, first: int, seed: int | None, *, mutants: bool) -> None:
    """Live through many worlds, each made of one seed: the hub, its devices, and all that fails."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if seed is not None:
        replay(seed)
    elif mutants:
        if not hunt_all(seeds):
            raise SystemExit(1)
    elif not run_many(range(first, first + seeds), seeds):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
