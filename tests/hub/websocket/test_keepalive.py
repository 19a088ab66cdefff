"""Dead peers are found, live ones left in peace (docs/protocol.md, section 8)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.frames import Opcode

from hub.websocket.keepalive import KeepAlive
from tests.hub.fakes import in_virtual_time
from tests.hub.websocket.wire import Peer, raw, text

PING = 20.0
TIMEOUT = 60.0


@asynccontextmanager
async def watched(*peers: Peer) -> AsyncIterator[None]:
    watching = asyncio.ensure_future(KeepAlive([peer.link for peer in peers], PING, TIMEOUT).run())
    await asyncio.sleep(0.5)
    try:
        yield
    finally:
        watching.cancel()


def pings(peer: Peer) -> int:
    return sum(frame.opcode is Opcode.PING for frame in peer.frames())


@in_virtual_time
async def test_a_quiet_peer_is_pinged_and_a_silent_one_given_up() -> None:
    peer = Peer()
    async with watched(peer):
        await asyncio.sleep(PING)
        assert pings(peer) == 0
        await asyncio.sleep(2)
        assert pings(peer) == 1
        await asyncio.sleep(PING)
        assert pings(peer) == 1
        assert not peer.transport.was_aborted
        await asyncio.sleep(PING)
        assert peer.transport.was_aborted


@in_virtual_time
async def test_a_peer_that_answers_is_kept_for_ever() -> None:
    peer = Peer()
    async with watched(peer):
        for _ in range(100):
            await asyncio.sleep(PING)
            for _ping in range(pings(peer)):
                peer.send(raw(Opcode.PONG))
    assert not peer.transport.was_aborted


@in_virtual_time
async def test_a_peer_that_speaks_is_not_asked_whether_it_is_there() -> None:
    peer = Peer()
    await peer.begin()
    async with watched(peer):
        for _ in range(30):
            await asyncio.sleep(PING / 2)
            peer.send(text("here"))
    assert pings(peer) == 0


@in_virtual_time
async def test_half_a_frame_is_a_sign_of_life() -> None:
    peer = Peer()
    await peer.begin()
    frame = text("a slow one")
    async with watched(peer):
        for byte in frame:
            await asyncio.sleep(TIMEOUT - 5)
            peer.send(bytes((byte,)))
    assert (peer.heard, peer.transport.was_aborted) == (["a slow one"], False)


@in_virtual_time
async def test_a_peer_that_has_still_much_to_read_is_not_pinged() -> None:
    peer = Peer()
    peer.transport.is_stalled = True
    peer.link.send(b"x" * 100)
    async with watched(peer):
        await asyncio.sleep(PING * 2)
    assert pings(peer) == 0


@in_virtual_time
async def test_a_thousand_quiet_peers_are_all_watched() -> None:
    peers = [Peer() for _ in range(1000)]
    async with watched(*peers):
        await asyncio.sleep(PING + 2)
        assert {pings(peer) for peer in peers} == {1}
