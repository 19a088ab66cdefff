"""Connections that do not ask anything, or never come to an end with it, on the HTTP port."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.limits import Limits
from tests.hub.http.served import ServedHub, dev_settings, serve
from tests.hub.http.test_app import NOTHING, a_socket, posted

HEAD = b"POST /sync HTTP/1.1\r\nHost: x\r\n"


async def cut_off_after(hub: ServedHub, say: Callable[[int], bytes]) -> float:
    """Seconds until a connection is cut off on which this is said, tick by tick."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with a_socket(hub.url) as (reader, writer):
        reading = asyncio.ensure_future(_to_the_end(reader))
        for tick in range(500):
            writer.write(say(tick))
            done, _ = await asyncio.wait([reading], timeout=0.02)
            if done:
                return loop.time() - began
    pytest.fail("it was never cut off")


async def _to_the_end(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(2**16):
            pass


@pytest.mark.parametrize(
    "say",
    [
        lambda _tick: b"",
        lambda tick: HEAD[:20] if tick == 0 else b"",
        lambda tick: HEAD[tick : tick + 1],
        lambda tick: HEAD if tick == 0 else b"X-%d: y\r\n" % tick,
    ],
    ids=["nothing", "half a head", "a byte now and then", "a header now and then"],
)
async def test_a_connection_without_a_request_is_cut_off(
    tmp_path: Path, say: Callable[[int], bytes]
) -> None:
    """aiohttp alone would wait for ever."""
    async with serve(dev_settings(tmp_path, limits=Limits(hello_seconds=0.5))) as hub:
        took = await cut_off_after(hub, say)
        print(f"cut off after {took:.2f} s of 0.5 s")
        assert 0.4 < took < 0.5 + 2
        assert (await hub.ask("POST", "/sync", json=NOTHING)).status == 200


async def test_headers_without_end_are_refused_before_they_cost_much(tmp_path: Path) -> None:
    async with serve(dev_settings(tmp_path)) as hub, a_socket(hub.url) as (reader, writer):
        writer.write(HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 8000) for n in range(200)))
        assert b" 400 " in await reader.readline()


async def test_a_connection_that_asks_again_and_again_is_not_cut_off(tmp_path: Path) -> None:
    settings = dev_settings(tmp_path, limits=Limits(hello_seconds=0.3))
    async with serve(settings) as hub, a_socket(hub.url) as (reader, writer):
        for _poll in range(5):
            writer.write(posted(NOTHING))
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(0.1)  # The time that passes is what is tested.
            await reader.readuntil(b"}")


async def test_no_more_may_be_silent_at_once_than_the_limit_says(tmp_path: Path) -> None:
    limits = Limits(max_ungreeted=2, hello_seconds=60)
    async with (
        serve(dev_settings(tmp_path, limits=limits)) as hub,
        contextlib.AsyncExitStack() as s,
    ):
        silent = [await s.enter_async_context(a_socket(hub.url)) for _ in range(2)]
        third, _writer = await s.enter_async_context(a_socket(hub.url))
        with contextlib.suppress(ConnectionError):
            assert await third.read() == b""
        silent[0][1].write(posted(NOTHING))
        assert (await silent[0][0].readline()).startswith(b"HTTP/1.1 200 ")
        assert (await hub.ask("GET", "/healthz")).status == 200


async def test_a_hub_that_stops_does_not_wait_for_the_silent(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with serve(dev_settings(tmp_path)) as hub, a_socket(hub.url) as (_reader, writer):
        writer.write(HEAD)
        await hub.ask("GET", "/healthz")
        began = loop.time()
    assert loop.time() - began < 5
