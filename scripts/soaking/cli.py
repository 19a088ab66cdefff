"""The command line of `scripts/soak`."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Final

import msgspec
import rich_click as click
from rich import progress as bars
from rich.console import Console

from scripts.loading.figures import show
from scripts.loading.pushes import SMALLEST
from scripts.loading.stopping import run_until_stopped
from scripts.soaking.crowd import Size
from scripts.soaking.reading import Reading
from scripts.soaking.run import TICKS, Plan, Telling, soak
from scripts.soaking.verdict import BOUNDS, MIB, Soak

NIGHTLY: Final = 10.0
WHOLE: Final = 120.0
_LONGEST_WARM_UP: Final = 60.0
"""Seconds; a soak of less than ten minutes warms up for a tenth of its time."""


@click.command(context_settings={"show_default": True})
@click.option("--minutes", type=click.FloatRange(0.05, 6_000), default=WHOLE, help="How long.")
@click.option("--nightly", is_flag=True, help=f"For {NIGHTLY:g} minutes.")
@click.option("--rate", type=click.FloatRange(1, 20_000), default=500.0, help="Pushes/s in all.")
@click.option("--churn", type=click.FloatRange(0.1, 100), default=5.0, help="Mishaps/s.")
@click.option("--users", type=click.IntRange(1, 1_000), default=20)
@click.option("--listeners", type=click.IntRange(1, 50), default=3, help="Of each user.")
@click.option("--objects", type=click.IntRange(1, 1_000), default=50, help="Of each user.")
@click.option(
    "--size", type=click.IntRange(SMALLEST, 100_000), default=1_000, help="Bytes a change."
)
@click.option("--seed", type=int, default=1, help="Of the mishaps.")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON instead of tables.")
def main(
    *,
    minutes: float,
    nightly: bool,
    rate: float,
    churn: float,
    users: int,
    listeners: int,
    objects: int,
    size: int,
    seed: int,
    json_wanted: bool,
) -> None:
    """Push on schedule for hours while devices come and go, and see whether the hub grows.

    Starts a hub of its own on 127.0.0.1. Devices lose their lines, leave, are replaced, begin anew,
    read nothing for a while and fall behind; users come for one push and never again. Then all
    become level and leave, and the hub must have what it had before: tasks, threads, file
    descriptors, memory, WAL. A clock heard twice, left out or out of order, a push without its ack
    and a connection that the hub closed is a fault. Any trouble makes the exit code 1. The hub's
    data is in the system's temporary directory (TMPDIR): let that be a real disk.
    """
    minutes = NIGHTLY if nightly else minutes
    warm_up = min(_LONGEST_WARM_UP, max(2.0, minutes * 6))
    plan = Plan(minutes, rate, churn, Size(users, listeners, objects, size), seed, warm_up)
    with _progress() as telling:
        found = run_until_stopped(soak(plan, telling), "nothing was found out")
    print(_as_json(found)) if json_wanted else _print(found)
    sys.exit(1 if found.troubles else 0)


@contextlib.contextmanager
def _progress() -> Iterator[Telling]:
    """A bar on a terminal, a line for each part in a pipe; on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Telling(lambda words: print(words, file=sys.stderr), lambda: None)
        return
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=console, transient=True, refresh_per_second=1) as bar:
        task = bar.add_task("starting", total=TICKS)
        yield Telling(lambda words: bar.update(task, description=words), lambda: bar.advance(task))


def _as_json(found: Soak) -> str:
    whole = msgspec.to_builtins(found) | {"troubles": found.troubles}
    return msgspec.json.format(msgspec.json.encode(whole)).decode()


def _print(found: Soak) -> None:
    title = f"{found.minutes:g} minutes at {found.rate:g} pushes/s"
    columns = ("the hub's", "at the start", "at most", "at the end", "allowed", "verdict")
    show(title, columns, [_growth_row(bound.name, found) for bound in BOUNDS])
    print()
    account = msgspec.to_builtins(found.account)
    rows = [[name.replace("_", " "), f"{count:,}"] for name, count in account.items()]
    show(
        "What the devices went through",
        ("devices", "times"),
        [*rows, ["faults", f"{found.faults:,}"]],
    )
    print()
    for trouble in found.troubles:
        print(f"trouble: {trouble}")
    if not found.troubles:
        print("nothing grew, every clock was heard once and in order, every push has its ack")


def _growth_row(name: str, found: Soak) -> list[str]:
    bound = next(each for each in BOUNDS if each.name == name)
    figures = [_figure(name, each) for each in (found.start, found.largest, found.end)]
    allowed = _shown(name, found.most(bound))
    return [bound.words, *figures, allowed, "GREW" if found.grew(bound) else "ok"]


def _figure(name: str, reading: Reading) -> str:
    return _shown(name, getattr(reading, name))


def _shown(name: str, value: int) -> str:
    return f"{value / MIB:,.1f} MiB" if name.endswith("_bytes") else f"{value:,}"


if __name__ == "__main__":
    main(prog_name="scripts/soak")
