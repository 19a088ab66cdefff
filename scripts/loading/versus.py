"""The command line of `scripts/versus`: this hub and another checkout's, in turn in one run."""

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import msgspec
import rich_click as click

from scripts.loading.cli import progress
from scripts.loading.faults import LoadError
from scripts.loading.pairs import Comparison, Pair, as_json, compare, print_comparison
from scripts.loading.rounds import TICKS, Load, Round, run_round
from scripts.loading.servers import Server, command, pin, started
from scripts.loading.stopping import run_until_stopped

_TURNS: Final = (("relay", "before", "after"), ("relay", "after", "before"))
"""Neither hub is always the first: what comes after another server may have it easier."""


class Plan(msgspec.Struct, frozen=True):
    """What to measure: the hub of the checkout `other`, and our own."""

    load: Load
    rounds: int
    other: Path
    pinned: bool


@click.command(context_settings={"show_default": True})
@click.argument("other", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rounds", type=click.IntRange(1, 100), default=7, help="Of all three, in turn.")
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=4.0, help="Of each server.")
@click.option("--users", type=click.IntRange(1, 5_000), default=50)
@click.option("--devices", type=click.IntRange(1, 50), default=2, help="Of each user; one writes.")
@click.option(
    "--pin/--no-pin", "pinned", default=True, help="A core for servers, one for the load."
)
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON instead of a table.")
def main(
    *,
    other: Path,
    rounds: int,
    seconds: float,
    users: int,
    devices: int,
    pinned: bool,
    json_wanted: bool,
) -> None:
    """Measure this hub (after) against that of the checkout OTHER (before), and the bare relay.

    Each writer pushes again when its ack has come; all three servers get the same load, in turn, in
    every round. Prints each round, medians and spreads, and whether the hubs differ by more than
    rounds differ among themselves: whether three rounds in four say the same. OTHER is to have an
    environment of its own in `.venv`. Data lies in TMPDIR: let that be a real disk.
    """
    load = Load(users=users, devices=devices, seconds=seconds, size=200, objects=20, rate=None)
    found = run_until_stopped(_run(Plan(load, rounds, other, pinned)), "nothing was measured")
    print(as_json(found)) if json_wanted else print_comparison(found)
    sys.exit(1 if found.errors else 0)


def programs_of(checkout: Path) -> Path:
    """Return the folder in which a checkout has its programs.

    Raises:
        LoadError: it has none, and how it gets them.

    """
    programs = checkout.absolute() / ".venv" / "bin"
    if not (programs / "mobync-hub").exists():
        raise LoadError(
            f"{programs} has no mobync-hub; in {checkout}: "
            "python3 -m venv .venv && .venv/bin/pip install -e ."
        )
    return programs


async def _run(plan: Plan) -> Comparison:
    async with AsyncExitStack() as stack:
        servers = await _servers(plan, stack)
        with progress(plan.rounds * len(servers) * TICKS) as tick:
            rounds = [await _pair(plan, servers, turn, tick) for turn in range(plan.rounds)]
    return compare(plan.load, rounds)


async def _servers(plan: Plan, stack: AsyncExitStack) -> Mapping[str, Server]:
    cores = pin() if plan.pinned else None
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mobync-versus-")))
    servers: dict[str, Server] = {}
    for name, line in _lines(plan, folder).items():
        servers[name] = await stack.enter_async_context(started(name, folder, cores, line))
    return servers


def _lines(plan: Plan, folder: Path) -> Mapping[str, Sequence[str]]:
    """The command that starts each server, the data of each hub in a folder of its own."""
    before, after = folder / "of-before", folder / "of-after"
    for each in (before, after):
        each.mkdir()
    return {
        "relay": command("relay", folder),
        "before": command("hub", before, programs_of(plan.other)),
        "after": command("hub", after),
    }


async def _pair(
    plan: Plan, servers: Mapping[str, Server], turn: int, tick: Callable[[], None]
) -> Pair:
    found: dict[str, Round] = {}
    for name in _TURNS[turn % len(_TURNS)]:
        found[name] = await run_round(servers[name], plan.load, tick)
        if not found[name].pushes:
            raise LoadError(f"{name}: not one push came through in round {turn + 1}")
    return Pair(**found)


if __name__ == "__main__":
    main(prog_name="scripts/versus")
