"""A link towards the hub: who listens, who waits, and how much is kept meanwhile."""

import asyncio

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from hub.websocket.connection import MOST_WAITING
from tests.hub.fakes import in_virtual_time, settled
from tests.hub.websocket.wire import Peer, close_frame, raw, text


@in_virtual_time
async def test_what_comes_before_anybody_listens_waits_in_order() -> None:
    peer = Peer()
    peer.send(text("1"), text("2"), text("3"))
    assert await peer.link.receive() == "1"
    await peer.begin()
    peer.send(text("4"))
    await settled()
    assert peer.heard == ["2", "3", "4"]


@in_virtual_time
async def test_receiving_waits_for_a_message() -> None:
    peer = Peer()
    receiving = asyncio.ensure_future(peer.link.receive())
    await settled()
    assert not receiving.done()
    peer.send(raw(Opcode.BINARY, b"1"))
    assert await receiving == b"1"


@in_virtual_time
async def test_receiving_ends_with_the_link() -> None:
    peer = Peer()
    receiving = asyncio.ensure_future(peer.link.receive())
    await settled()
    peer.send(close_frame(1000))
    assert await receiving is None


@in_virtual_time
async def test_a_few_messages_wait_and_then_nothing_more_is_read() -> None:
    peer = Peer()
    sent = [str(number) for number in range(3 * MOST_WAITING)]
    peer.send(*map(text, sent))
    assert (peer.transport.reads, peer.heard) == (False, [])
    await peer.begin()
    await settled()
    assert (peer.transport.reads, peer.heard) == (True, sent)


@in_virtual_time
async def test_while_it_is_paused_nothing_is_handed_on_or_read() -> None:
    peer = Peer()
    heard: list[str | bytes] = []

    def take(message: str | bytes) -> None:
        heard.append(message)
        if message == "2":
            peer.link.pause()

    listening = asyncio.ensure_future(peer.link.listen(take))
    await settled()
    peer.send(text("1"), text("2"), text("3"), text("4")[:3])
    peer.send(text("4")[3:])
    assert (heard, peer.transport.reads) == (["1", "2"], False)
    peer.link.resume()
    await settled()
    assert (heard, peer.transport.reads) == (["1", "2", "3", "4"], True)
    listening.cancel()


@in_virtual_time
async def test_draining_waits_until_the_peer_has_taken_most_of_it() -> None:
    peer = Peer()
    assert peer.transport.limits == (1000, 250)
    await peer.link.drained()
    peer.link.pause_writing()
    draining = [asyncio.ensure_future(peer.link.drained()) for _ in range(2)]
    await settled()
    assert not any(waiting.done() for waiting in draining)
    draining[0].cancel()
    peer.link.resume_writing()
    await draining[1]
    await peer.link.drained()


@in_virtual_time
async def test_draining_ends_when_the_line_breaks() -> None:
    peer = Peer()
    peer.link.pause_writing()
    draining = asyncio.ensure_future(peer.link.drained())
    await settled()
    peer.link.connection_lost(None)
    await draining


@in_virtual_time
async def test_what_the_peer_has_taken_is_what_was_sent_less_what_is_buffered() -> None:
    peer = Peer()
    peer.link.send(b"x" * 100)
    assert (peer.link.buffered, peer.link.taken) == (0, 100)
    peer.transport.is_stalled = True
    peer.link.send(b"x" * 100)
    assert (peer.link.buffered, peer.link.taken) == (102, 98)


@pytest.mark.parametrize("size", [1, 125, 126, 70_000])
@in_virtual_time
async def test_frames_sent_at_once_are_one_write_and_come_in_order(size: int) -> None:
    peer = Peer()
    frames = [letter * size for letter in (b"a", b"b", b"c")]
    peer.link.send_all(frames)
    assert peer.transport.writes == 1
    assert peer.link.taken == 3 * size
    assert [bytes(frame.data) for frame in peer.frames()] == frames


@in_virtual_time
async def test_frames_sent_at_once_are_compressed_where_that_was_agreed() -> None:
    theirs, ours = (PerMessageDeflate(False, False, 15, 15) for _ in range(2))
    peer = Peer(extensions=[ours], theirs=[theirs])
    peer.link.send_all([b"a long story " * 50, b"another one " * 50])
    assert peer.link.taken == 1250 - peer.link.buffered
    bytes_sent = len(peer.transport.sent)
    told = [bytes(frame.data) for frame in peer.frames()]
    assert told == [b"a long story " * 50, b"another one " * 50]
    assert bytes_sent < 100


@in_virtual_time
async def test_nothing_is_sent_at_once_behind_a_close() -> None:
    peer = Peer()
    peer.link.close(4409, "replaced")
    peer.link.send_all([b"too", b"late"])
    assert peer.closed_with() == 4409
    assert peer.transport.writes == 1


@in_virtual_time
async def test_whoever_waits_for_the_end_reads_past_what_still_comes() -> None:
    peer = Peer()
    listening = await peer.begin()
    peer.link.pause()
    peer.link.close(4409, "replaced")
    peer.send(text("too late"))
    gone = asyncio.ensure_future(peer.link.gone())
    await settled()
    assert (peer.heard, peer.transport.reads) == ([], True)
    peer.send(close_frame(4409))
    await listening
    assert not gone.done()
    peer.link.connection_lost(None)
    await gone


@in_virtual_time
async def test_an_aborted_link_is_cut_off() -> None:
    peer = Peer()
    listening = await peer.begin()
    peer.link.abort()
    await listening
    assert peer.transport.was_aborted


@pytest.mark.parametrize("piece", [1, 10**6])
@in_virtual_time
async def test_compressed_messages_go_both_ways(piece: int) -> None:
    theirs, ours = (PerMessageDeflate(False, False, 15, 15) for _ in range(2))
    peer = Peer(extensions=[ours])
    await peer.begin()
    squeezed = theirs.encode(_frame("a long story " * 50))
    peer.send_in_pieces(raw(Opcode.TEXT, bytes(squeezed.data), rsv=4), piece)
    assert peer.heard == ["a long story " * 50]
    peer.link.send(b"an answer " * 50)
    sent = bytes(peer.transport.sent)
    assert sent[0] == 0xC1
    assert len(sent) < 100


def _frame(words: str) -> Frame:
    return Frame(Opcode.TEXT, words.encode())


@in_virtual_time
async def test_whoever_cannot_be_listened_to_is_cut_off_also_by_what_had_waited() -> None:
    """The loop logged what the listener raised, and the device waited for an answer for ever."""
    peer = Peer()
    peer.send(text("waits"))
    troubles: list[BaseException] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: troubles.append(context["exception"]))

    def take(_message: str | bytes) -> None:
        raise LookupError

    listening = asyncio.ensure_future(peer.link.listen(take))
    await settled()
    assert peer.transport.was_aborted
    assert [type(trouble) for trouble in troubles] == [LookupError]
    listening.cancel()
