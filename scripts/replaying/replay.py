"""The command line of `scripts/replay`: a history through a hub, and everybody compared."""

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec
import rich_click as click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from client import Device, DeviceError
from scripts.replaying.trace import Objects, TracedPush, TraceError, fold, make, read_trace

MOST_PENDING: Final = 2_000
"""Edits that may wait for the hub while further ones are made."""
LEVEL_SECONDS: Final = 60.0


class Outcome(msgspec.Struct, frozen=True):
    """How it went: lines and edits, seconds until all were level, who differs from the history.

    `refused` edits were left out because the protocol does not hold them (NaN, for example).
    """

    lines: int
    edits: int
    refused: int
    seconds: float
    devices: Sequence["Compared"]

    @property
    def all_equal(self) -> bool:
        """Whether every device has what the history comes to."""
        return all(device.equal for device in self.devices)


class Compared(msgspec.Struct, frozen=True):
    """One device at the end."""

    name: str
    objects: int
    clock: int
    equal: bool


@click.command(context_settings={"show_default": True})
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--url", default="ws://127.0.0.1:8765/sync", help="A running hub (--dev).")
@click.option("--devices", type=click.IntRange(1, 50), default=3, help="The first one writes.")
@click.option("--user", help="Whose data it becomes; without it a new user.")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON instead of a table.")
def main(*, trace: Path, url: str, devices: int, user: str | None, json_wanted: bool) -> None:
    """Replay an edit history (JSON Lines, maybe .gz) and compare all devices with its fold.

    The first device makes each line's edits as one batch, the others are live meanwhile, and one
    more joins at the end. The exit code is 1 if any of them differs.
    """
    try:
        pushes = read_trace(trace)
        outcome = asyncio.run(_replay(pushes, url, devices, user or f"replay-{uuid4().hex[:8]}"))
    except (TraceError, DeviceError) as error:
        raise click.ClickException(str(error)) from None
    _print_json(outcome) if json_wanted else _print_table(outcome)
    sys.exit(0 if outcome.all_equal else 1)


async def _replay(pushes: Sequence[TracedPush], url: str, count: int, user: str) -> Outcome:
    wanted = fold(pushes)
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        devices = [
            await stack.enter_async_context(Device(url, token=user, name=f"device-{number}"))
            for number in range(1, count + 1)
        ]
        await devices[0].synchronize(LEVEL_SECONDS)
        await _make_all(devices[0], pushes)
        devices.append(await stack.enter_async_context(Device(url, token=user, name="latecomer")))
        for device in devices:
            await device.synchronize(LEVEL_SECONDS)
        seconds = time.monotonic() - began
        compared = [await _compared(device, wanted) for device in devices]
    edits = sum(len(push.sound) for push in pushes)
    refused = sum(push.refused for push in pushes)
    return Outcome(len(pushes), edits, refused, seconds, compared)


async def _make_all(writer: Device, pushes: Sequence[TracedPush]) -> None:
    with _progress() as progress:
        task = progress.add_task("replaying", total=len(pushes))
        for push in pushes:
            async with writer.batch() as edits:
                make(push, edits)
            progress.advance(task)
            if writer.status.pending > MOST_PENDING:
                await writer.until(lambda status: status.pending < MOST_PENDING // 2)
        await writer.synchronize(LEVEL_SECONDS)


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    return Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal)


async def _compared(device: Device, wanted: Objects) -> Compared:
    models = {model for model, _name in wanted}
    shown = {(m, fields["id"]): fields for m in models for fields in await device.read(m)}
    return Compared(device.name, len(shown), device.status.clock, shown == wanted)


def _print_json(outcome: Outcome) -> None:
    print(msgspec.json.encode({"equal": outcome.all_equal, "outcome": outcome}).decode())


def _print_table(outcome: Outcome) -> None:
    console = Console()
    frame = box.HEAVY_HEAD if console.is_terminal else None
    table = Table("device", "objects", "clock", "equals the history", box=frame)
    for device in outcome.devices:
        verdict = "yes" if device.equal else "[red]no[/red]"
        table.add_row(device.name, f"{device.objects:,}", f"{device.clock:,}", verdict)
    console.print(table)
    rate = outcome.edits / outcome.seconds
    console.print(
        f"{outcome.lines:,} pushes, {outcome.edits:,} edits, all level after "
        f"{outcome.seconds:.1f} s ({rate:,.0f} edits/s)"
    )
    if outcome.refused:
        console.print(
            f"{outcome.refused:,} edits left out: no device makes them (NaN and the like)"
        )


if __name__ == "__main__":
    main()
