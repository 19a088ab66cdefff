"""The WebSocket under a device, against a real server on the loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidURI
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from client import link as links
from client.errors import LinkClosed, LinkFailed
from client.link import Link, websocket

Part = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def served(part: Part, **given: Any) -> AsyncIterator[str]:
    settings = {"subprotocols": [Subprotocol("mobync.v1")], "close_timeout": 0.1, **given}
    async with serve(part, "127.0.0.1", 0, **settings) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/sync"


async def until_closed(socket: ServerConnection) -> None:
    await socket.wait_closed()


async def ended(link: Link) -> LinkClosed:
    with pytest.raises(LinkClosed) as caught:
        await link.receive()
    return caught.value


async def test_frames_are_text_both_ways() -> None:
    got: list[str | bytes] = []

    async def echo(socket: ServerConnection) -> None:
        got.append(await socket.recv())
        await socket.send("Grüße")
        await socket.wait_closed()

    async with served(echo) as url:
        link = await websocket(url)()
        await link.send(b"{}")
        assert (await link.receive()).decode() == "Grüße"
        await link.close()

    assert got == ["{}"]


@pytest.mark.parametrize("code", [1001, 1012, 1013, 4401, 4409])
async def test_the_hubs_code_is_told_after_its_last_frame(code: int) -> None:
    async def turn_away(socket: ServerConnection) -> None:
        await socket.send("last words")
        await socket.close(code, "because")

    async with served(turn_away) as url:
        link = await websocket(url)()
        assert await link.receive() == b"last words"
        end = await ended(link)
        with pytest.raises(LinkClosed):
            await link.send(b"too late")

    assert (end.code, str(end)) == (code, "because")


async def test_a_broken_line_has_no_code() -> None:
    async def break_off(socket: ServerConnection) -> None:
        socket.transport.abort()

    async with served(break_off) as url:
        end = await ended(await websocket(url)())

    assert end.code is None
    assert "the line broke" in str(end)


async def test_a_code_of_our_own_is_not_taken_for_the_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hanging up over a frame that is too large must not look as if a push of ours had been."""
    monkeypatch.setattr(links, "MAX_FRAME_BYTES", 1000)

    async def shout(socket: ServerConnection) -> None:
        await socket.send("x" * 2000)
        await socket.wait_closed()

    async with served(shout) as url:
        end = await ended(await websocket(url)())

    assert end.code is None


async def test_a_frame_of_twice_the_default_limit_is_taken() -> None:
    async def shout(socket: ServerConnection) -> None:
        await socket.send("x" * 2 * 2**20)
        await socket.wait_closed()

    async with served(shout) as url:
        link = await websocket(url)()
        assert len(await link.receive()) == 2 * 2**20
        await link.close()


async def test_a_server_of_another_kind_is_no_hub() -> None:
    async with served(until_closed, subprotocols=None) as url:
        with pytest.raises(LinkFailed, match=r"does not speak mobync\.v1: is it a hub's address"):
            await websocket(url)()


@pytest.mark.parametrize("address", ["http://portal.invalid/login", "ws://[half", "/elsewhere"])
async def test_a_server_that_sends_the_device_elsewhere_is_no_hub(address: str) -> None:
    """A phone was taken to a hotel, whose portal answers every request with its login page.

    Its application fell over with InvalidURI, though the device should have tried again outside.
    """

    def portal(socket: ServerConnection, _request: Request) -> Response:
        response = socket.respond(HTTPStatus.FOUND, "log in first")
        response.headers["Location"] = address
        return response

    async with served(until_closed, process_request=portal) as url:
        with pytest.raises(LinkFailed, match=r"no connection to ws://127\.0\.0\.1"):
            await websocket(url)()


async def test_a_port_where_nobody_listens_is_said() -> None:
    async with served(until_closed) as url:
        pass

    with pytest.raises(LinkFailed, match=r"no connection to ws://127\.0\.0\.1"):
        await websocket(url)()


def test_an_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(InvalidURI):
        websocket("http://127.0.0.1/sync")


async def test_a_hub_that_takes_nothing_does_not_keep_the_device_from_leaving(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "CLOSE_TIMEOUT", 0.1)

    async def stall(socket: ServerConnection) -> None:
        socket.transport.pause_reading()
        await socket.wait_closed()

    async with served(stall) as url:
        link = await websocket(url)()
        sending = asyncio.create_task(link.send(b"x" * 50_000_000))
        _, waits = await asyncio.wait([sending], timeout=0.1)
        assert waits
        async with asyncio.timeout(5):
            await link.close()
            await asyncio.wait([sending])
            assert (await ended(link)).code is None
