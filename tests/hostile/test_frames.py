"""Frames and bodies made to hurt, to a hub that others use: what is answered, and what it costs.

Each goes to a real hub. It is answered as the protocol says, the hub does not grow beyond what one
frame may cost, and a device that did nothing wrong is served at once.
"""

import asyncio
import contextlib
import gzip
import io
import json
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from tests.crash.processes import (
    UPGRADE,
    HubProcess,
    PlainDevice,
    a_device,
    a_hub_process,
    in_time,
    raw_frame,
    raw_hello,
    raw_socket,
)
from tests.fuzz.test_fuzz import needs_proc
from tests.hub.fakes import create
from tests.hub.websocket.wire import raw

MEGABYTE = 2**20
MOST_GROWTH = 24 * MEGABYTE
"""Some frames' worth: what is read, what it is inflated to, what is parsed of it."""
BOMB = 64 * MEGABYTE
MOST_SECONDS = 5.0
TEXT, CONT, COMPRESSED = 1, 0, 4


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with a_hub_process(tmp_path_factory.mktemp("hostile") / "hub.db", "--compression") as served:
        yield served
        assert served.stop() == 0


def push(diff: str, push_id: str = "1") -> str:
    return f'{{"type":"push","push_id":{push_id},"diffs":[{diff}]}}'


def a_diff(value: str) -> str:
    return json.dumps({**create("o"), "json_data": {"id": "o", "n": 0}}).replace(
        '"n": 0', f'"n": {value}'
    )


def fragments(text: str, count: int) -> bytes:
    size = len(text) // count + 1
    parts = [text[at : at + size].encode() for at in range(0, len(text), size)]
    parts += [b""] * (count - len(parts))
    return b"".join(
        raw(CONT if number else TEXT, part, fin=number == count - 1)
        for number, part in enumerate(parts)
    )


def bomb(size: int, pieces: int = 1) -> bytes:
    """A compressed message that is a thousand times as large when it is opened."""
    squeeze = zlib.compressobj(9, wbits=-15)
    data = b"".join(squeeze.compress(b"0" * MEGABYTE) for _ in range(size // MEGABYTE))
    data += squeeze.flush(zlib.Z_SYNC_FLUSH)[:-4]
    step = len(data) // pieces + 1
    parts = [data[at : at + step] for at in range(0, len(data), step)]
    return b"".join(
        raw(
            CONT if number else TEXT, part, fin=number == len(parts) - 1,
            rsv=0 if number else COMPRESSED,
        )
        for number, part in enumerate(parts)
    )  # fmt: skip


class Answer(NamedTuple):
    """What the hub has said: the outcome of a push, or why it closed."""

    rejected: Any = None
    closed: int | None = None


GOOD, INVALID = Answer(rejected=[]), Answer(rejected=["invalid_diff"])
BAD, TOO_BIG = Answer(closed=4400), Answer(closed=1009)

FRAMES: dict[str, tuple[Callable[[], bytes], Answer]] = {
    "a push in a thousand fragments": (lambda: fragments(push(a_diff("1")), 1000), GOOD),
    "a value 900 deep": (lambda: raw_frame(push(a_diff("[" * 900 + "]" * 900))), INVALID),
    "a value a thousand deep": (
        lambda: raw_frame(push(a_diff("[" * 1000 + "]" * 1000))), BAD,
    ),
    "a value as deep as a frame is long": (lambda: raw_frame(push(a_diff("[" * 10**6))), BAD),
    "a frame a thousand deep": (lambda: raw_frame("[" * 1000 + "]" * 1000), BAD),
    "a key a thousand deep": (
        lambda: raw_frame('{"type":"ping","x":' + '{"x":' * 1000 + "1" + "}" * 1001), BAD,
    ),
    "a number of a thousand digits": (lambda: raw_frame(push(a_diff("9" * 1000))), INVALID),
    "a fraction of a million digits": (
        lambda: raw_frame(push(a_diff("0." + "9" * 10**6))), GOOD,
    ),
    "a push id of a thousand digits": (
        lambda: raw_frame(push(a_diff("1"), push_id="9" * 1000)), BAD,
    ),
    "a number of a million digits": (lambda: raw_frame(push(a_diff("9" * 10**6))), INVALID),
    "a lone surrogate": (lambda: raw_frame(push(a_diff(r'"\ud800"'))), INVALID),
    "lone surrogates by the thousand": (
        lambda: raw_frame(push(a_diff('"' + r"\udfff" * 1000 + '"'))), INVALID,
    ),
    "a nonce that is half a character": (
        lambda: raw_frame(r'{"type":"ping","nonce":"\ud800"}'), BAD,
    ),
    "a compressed bomb": (lambda: bomb(BOMB), TOO_BIG),
    "a compressed bomb in a thousand fragments": (lambda: bomb(BOMB, 1000), TOO_BIG),
}  # fmt: skip


@pytest.fixture
async def bystander(hub: HubProcess) -> AsyncIterator[PlainDevice]:
    async with a_device(hub.url, "phone", "bystander") as device:
        await device.hear_until("ready")
        yield device


@needs_proc
@pytest.mark.parametrize("name", FRAMES)
async def test_a_frame_that_is_made_to_hurt_is_answered_and_hurts_nobody(
    hub: HubProcess, bystander: PlainDevice, name: str
) -> None:
    make, expected = FRAMES[name]
    frame = make()
    before, began = memory(hub), time.monotonic()
    said = asyncio.create_task(asyncio.to_thread(answer_to, hub, frame, name))
    slowest = await pongs_until(bystander, said)
    took, grown = time.monotonic() - began, memory(hub) - before
    print(
        f"{name}: {len(frame)} bytes, answered in {1e3 * took:.0f} ms; the hub grew by "
        f"{grown / MEGABYTE:.1f} MB; a bystander waited {1e3 * slowest:.0f} ms at most"
    )
    assert await said == expected
    assert took < MOST_SECONDS
    assert grown < MOST_GROWTH


def answer_to(hub: HubProcess, frame: bytes, user: str) -> Answer:
    """Send it from a device of a user of its own, on a socket that offers compression."""
    offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    with contextlib.closing(raw_socket(hub.port)) as peer:
        peer.settimeout(MOST_SECONDS)
        peer.sendall(UPGRADE[:-2] + offer)
        raw_hello(peer, "phone", user)
        with contextlib.suppress(ConnectionError):  # it may have closed in the middle
            peer.sendall(frame)
        return _first_answer(peer.makefile("rb"))


def _first_answer(stream: Any) -> Answer:
    while stream.readline() != b"\r\n":
        pass
    opened = zlib.decompressobj(wbits=-15)
    while True:
        first, second = stream.read(2)
        size = second if second < 126 else int.from_bytes(stream.read(2 if second == 126 else 8))
        payload = stream.read(size)
        if first & 0x40:
            payload = opened.decompress(payload + b"\0\0\xff\xff")
        if first & 0x0F == 8:
            return Answer(closed=int.from_bytes(payload[:2]))
        told = json.loads(payload)
        if told["type"] == "ack":
            return Answer(rejected=[each["code"] for each in told.get("rejected", [])])


async def pongs_until(device: PlainDevice, over: "asyncio.Task[Any]") -> float:
    """Seconds that the slowest pong took until then."""
    slowest = 0.0
    while not over.done():
        began = time.monotonic()
        await device.say("ping")
        await in_time(device.hear_until("pong"))
        slowest = max(slowest, time.monotonic() - began)
        await asyncio.sleep(0.005)
    return slowest


@needs_proc
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_body_that_is_a_bomb_is_not_opened(
    hub: HubProcess, bystander: PlainDevice, encoding: str
) -> None:
    """It was, as far as a body may be long, and everybody waited 200 ms for it."""
    body = squeezed(encoding)
    before, began = memory(hub), time.monotonic()
    said = asyncio.create_task(posted(hub, body, {"Content-Encoding": encoding}))
    slowest = await pongs_until(bystander, said)
    took, grown = time.monotonic() - began, memory(hub) - before
    print(
        f"{len(body)} bytes for {BOMB // MEGABYTE} MB: answered {await said} in {took:.2f} s; "
        f"the hub grew by {grown / MEGABYTE:.1f} MB; a bystander waited {1e3 * slowest:.0f} ms"
    )
    assert await said == 415
    assert grown < MOST_GROWTH


def squeezed(encoding: str) -> bytes:
    squeeze = gzip.compress if encoding == "gzip" else zlib.compress
    return squeeze(b" " * BOMB, 1)


async def posted(hub: HubProcess, body: bytes, headers: dict[str, str]) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{hub.http_url}/sync", data=io.BytesIO(body), headers=headers) as response,
    ):
        return response.status


def memory(hub: HubProcess) -> int:
    pages = int(Path(f"/proc/{hub.pid}/statm").read_text().split()[1])
    return pages * 4096
