"""The Python device, in a process of its own: makes edits without a hub, sends them, and is away.

Prints its figures as JSON. `scripts.benching.pythondevice` starts it.
"""

import argparse
import secrets
import time
from pathlib import Path
from typing import Final

import orjson
import uvloop

from client import Device
from client.errors import LinkFailed
from client.link import Link
from scripts.benching.seeding import SIZE
from scripts.loading.arrival import arrive
from scripts.loading.devices import User, Writer
from scripts.loading.faults import Faults, LoadError
from scripts.loading.link import linked
from scripts.loading.pushes import templates
from scripts.loading.rounds import become_level

MODEL: Final = "notes"
TEXT: Final = "x" * SIZE
BATCH: Final = 1_000
"""Edits of one batch: what a hub takes in one push."""

_OBJECTS: Final = 1_000
_LEVEL: Final = 60.0  # seconds
_UNDER_WAY: Final = 50  # pushes of the other device: below what a hub reads at once


async def _no_hub() -> Link:
    raise LinkFailed("there is no hub yet")


async def offline_one_by_one(url: str, path: Path, user: str, edits: int) -> float:
    """Make edits of some objects, waiting until each is stored; return the seconds."""
    async with Device(url, token=user, path=path, connect=_no_hub) as device:
        began = time.perf_counter()
        for number in range(edits):
            fields = {"id": f"o{number % _OBJECTS}", "number": number, "text": TEXT}
            if number < _OBJECTS:
                await device.create(MODEL, fields)
            else:
                await device.update(MODEL, fields)
        return time.perf_counter() - began


async def offline_in_batches(url: str, path: Path, user: str, edits: int) -> float:
    """Make as many edits in batches as large as can be; return the seconds."""
    async with Device(url, token=user, path=path, connect=_no_hub) as device:
        began = time.perf_counter()
        for first in range(0, edits, BATCH):
            async with device.batch() as batch:
                for number in range(first, min(first + BATCH, edits)):
                    batch.create(MODEL, {"id": f"b{number}", "number": number, "text": TEXT})
        return time.perf_counter() - began


async def send(url: str, path: Path, user: str) -> float:
    """Open the device where there is a hub; return the seconds until all is sent and acked."""
    began = time.perf_counter()
    async with Device(url, token=user, path=path) as device:
        await device.synchronize(_LEVEL)
        seconds = time.perf_counter() - began
        if device.status.pending or device.setbacks:
            raise LoadError(f"{device.status.pending} edits left, {len(device.setbacks)} refused")
        return seconds


async def catch_up(url: str, path: Path, user: str, pushes: int) -> float:
    """Miss so many pushes of another device; return the seconds from coming back to level."""
    async with Device(url, token=user, path=path) as device:
        await device.create(MODEL, {"id": "first"})
        await device.synchronize(_LEVEL)
    await _push(url, user, pushes)
    began = time.perf_counter()
    async with Device(url, token=user, path=path) as device:
        await device.synchronize(_LEVEL)
        seconds = time.perf_counter() - began
        if device.status.clock != pushes + 1:
            raise LoadError(f"the device is at clock {device.status.clock}, not at {pushes + 1}")
        return seconds


async def _push(url: str, user: str, pushes: int) -> None:
    """Push as another device, several under way."""
    faults = Faults()
    async with linked(url, user, faults) as link:
        arrival = await arrive(link)
        frames = templates(user, min(pushes, _OBJECTS), SIZE)
        writer = Writer(link, frames)
        writer.clock = arrival.clock
        writer.begin(0)
        for number in range(pushes):
            turn = number % len(frames.updates)
            kind = frames.creates if number < len(frames.creates) else frames.updates
            writer.link.send(writer.fill(kind[turn], time.perf_counter_ns()))
            if (number + 1) % _UNDER_WAY == 0:
                await become_level([User(writer, [])])
        await become_level([User(writer, [])])
    if faults.count:
        raise LoadError(f"the other device could not push: {faults.told}")


async def measure(url: str, folder: Path, edits: int) -> dict[str, float]:
    """Return edits/s and diffs/s, and seconds of sending."""
    user = f"phone-{secrets.token_hex(4)}"
    paths = [folder / f"{user}-{name}.db" for name in ("single", "batch", "away")]
    one_by_one = await offline_one_by_one(url, paths[0], f"{user}-single", edits)
    in_batches = await offline_in_batches(url, paths[1], f"{user}-batch", edits)
    return {
        "single": edits / one_by_one,
        "batch": edits / in_batches,
        "send_single": await send(url, paths[0], f"{user}-single"),
        "send_batch": await send(url, paths[1], f"{user}-batch"),
        "catchup": edits / await catch_up(url, paths[2], f"{user}-away", edits),
    }


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="offline", description="The Python device's figures.")
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("edits", type=int)
    arguments = parser.parse_args()
    figures = uvloop.run(measure(arguments.url, arguments.folder, arguments.edits))
    print(orjson.dumps(figures).decode())


if __name__ == "__main__":
    main()
