"""What the tests of catching up have in common: a writer, and what a device is told."""

import asyncio
from collections.abc import Iterable
from typing import Any

from hub.limits import Limits
from tests.hub.fakes import (
    FakeLink,
    Frame,
    Site,
)

SMALL = Limits(max_log_pushes=3, send_buffer_bytes=100)
"""A device that misses four pushes is served from the objects, and each page waits to be taken."""


async def writer_of(site: Site, *pushes: list[Frame]) -> FakeLink:
    """A live device that has stored these pushes, all of them folded."""
    writer = await site.live("writer")
    for push_id, diffs in enumerate(pushes, 1):
        writer.push(push_id, *diffs)
        await writer.hear_until("ack")
    await folded()
    return writer


async def folded() -> None:
    """Let the objects be written behind the log."""
    await asyncio.sleep(1)


async def stored(writer: FakeLink, push_id: int, *diffs: Frame) -> int:
    writer.push(push_id, *diffs)
    clock = (await writer.hear_until("ack"))[-1]["logical_clock"]
    await folded()
    return int(clock)


def clocks(frames: Iterable[Frame]) -> list[int]:
    """Which clocks were heard of, one by one."""
    return [f["logical_clock"] for f in frames if f["type"] in ("changes", "ack")]


def kinds(frames: Iterable[Frame]) -> list[str]:
    return [frame["type"] for frame in frames]


def objects_in(frames: Iterable[Frame]) -> list[Any]:
    """What the pages held, in their order: fields, or the id of one that is deleted."""
    pages = [frame["objects"] for frame in frames if frame["type"] == "snapshot"]
    return [entry.get("json_data") or entry["id"] for page in pages for entry in page]


async def comes(site: Site, device: str, clock: int = 0, **hello: Any) -> list[Frame]:
    """All that a device hears from its hello to its `ready`."""
    link = site.connect()
    known = {"log_id": "log-1"} if clock or hello else {}
    link.hello(device, **{"logical_clock": clock, **known, **hello})
    return await link.hear_until("ready")
