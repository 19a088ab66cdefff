"""The command line of `scripts/load`."""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import rich_click as click
from websockets.exceptions import InvalidURI
from websockets.uri import parse_uri

from scripts.loading.pushes import SMALLEST
from scripts.loading.report import Report, as_json, print_report, report
from scripts.loading.rounds import TICKS, Load, Round, run_round
from scripts.loading.servers import Server, pin, started
from scripts.loading.stopping import run_until_stopped

_TARGETS = {
    "relay": ("relay",),
    "floor": ("floor",),
    "hub": ("hub",),
    "both": ("relay", "hub"),
    "all": ("relay", "floor", "hub"),
}
"""The floor is the relay with one write and one sync for each group: any durable ack costs that."""


class Plan(msgspec.Struct, frozen=True):
    """What to measure: one server that runs at `url`, or our own `targets`."""

    load: Load
    rounds: int
    url: str | None
    targets: Sequence[str]
    pinned: bool


def _checked_url(_: click.Context, __: click.Parameter, url: str | None) -> str | None:
    try:
        if url is not None and parse_uri(url).secure:
            raise click.BadParameter("only ws:// is spoken here")
    except (InvalidURI, ValueError) as error:
        raise click.BadParameter(f"{error}; give one like ws://127.0.0.1:8765/sync") from None
    return url


@click.command(context_settings={"show_default": True})
@click.option(
    "--url", callback=_checked_url, help="A hub that runs already, with --dev. Starts nothing."
)
@click.option(
    "--against",
    type=click.Choice(list(_TARGETS)),
    default="both",
    help="What to start and measure; the floor is the relay that syncs, and does nothing more.",
)
@click.option("--users", type=click.IntRange(1, 5_000), default=50)
@click.option("--devices", type=click.IntRange(1, 50), default=2, help="Of each user; one writes.")
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=5.0, help="Of each round.")
@click.option("--rounds", type=click.IntRange(1, 50), default=3, help="For each target, in turn.")
@click.option("--size", type=click.IntRange(SMALLEST, 200_000), default=200, help="Bytes a change.")
@click.option("--objects", type=click.IntRange(1, 1_000), default=20, help="Of each user.")
@click.option(
    "--rate",
    type=click.FloatRange(1, 100_000),
    help="Pushes/s in all, sent on schedule and timed from when they were due. "
    "Without it each writer pushes again when its ack has come.",
)
@click.option(
    "--pin", "pinned", is_flag=True, help="One core for the server, another for the load."
)
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON instead of a table.")
def main(
    *,
    url: str | None,
    against: str,
    rounds: int,
    pinned: bool,
    json_wanted: bool,
    **load: float | None,
) -> None:
    """Put many users and devices on a hub, on the bare relay, or on each in turn.

    Prints pushes/s, deliveries/s, how long a push takes to its ack and to the other devices, and
    what it cost the server. A closed connection, an error frame, a delivery that is missing or out
    of order is an error; any makes the exit code 1. Servers that are started here keep their data
    in the system's temporary directory (TMPDIR): let that be a real disk.
    """
    plan = Plan(msgspec.convert(load, Load), rounds, url, _TARGETS[against], pinned)
    found = run_until_stopped(_run(plan), "nothing was measured")
    print(as_json(found)) if json_wanted else print_report(found)
    sys.exit(1 if found.errors else 0)


async def _run(plan: Plan) -> Report:
    """Measure every target, a round of each in turn."""
    async with AsyncExitStack() as stack:
        servers = await _servers(plan, stack)
        with progress(plan.rounds * len(servers) * TICKS) as tick:
            rounds = await _in_turn(plan, servers, tick)
    return report(plan.load, rounds)


async def _servers(plan: Plan, stack: AsyncExitStack) -> list[Server]:
    cores = pin() if plan.pinned else None
    if plan.url is not None:
        return [Server("hub", plan.url)]
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mobync-load-")))
    return [await stack.enter_async_context(started(name, folder, cores)) for name in plan.targets]


async def _in_turn(
    plan: Plan, servers: Sequence[Server], tick: Callable[[], None]
) -> Mapping[str, Sequence[Round]]:
    rounds: dict[str, list[Round]] = {server.name: [] for server in servers}
    for _ in range(plan.rounds):
        for server in servers:
            rounds[server.name].append(await run_round(server, plan.load, tick))
    return rounds


@contextlib.contextmanager
def progress(ticks: int) -> Iterator[Callable[[], None]]:
    """A bar for people, on standard error; it costs microseconds, so that it measures nothing."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    with click.progressbar(length=ticks, label="Under load", file=sys.stderr) as bar:
        yield lambda: bar.update(1)


if __name__ == "__main__":
    main(prog_name="scripts/load")
