"""What RFC 6455 asks of a server, in the order of the Autobahn test suite's chapters.

That suite runs on an interpreter that is no longer kept, and asks for an echo; these cases are its
chapters 1 to 7, 9 and 10 over a link whose transport is the test's own.
"""

import asyncio

import pytest
from websockets.frames import Opcode

from tests.hub.fakes import in_virtual_time, settled
from tests.hub.websocket.wire import MAX_BYTES, Peer, close_frame, raw, text

SIZES = (0, 1, 125, 126, 127, 128, 65_535, 65_536, MAX_BYTES)
PIECES = (1, 2, 3, 7, 997, 10**6)
"""Bytes that arrive at once."""


# 1, 9, 10: frames of every size, in one piece and in many


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [1, 997, 10**6])
@in_virtual_time
async def test_a_message_of_any_size_arrives_however_it_is_cut(size: int, piece: int) -> None:
    peer = Peer()
    await peer.begin()
    words = "*" * size
    peer.send_in_pieces(text(words) + raw(Opcode.BINARY, words.encode()) + text("next"), piece)
    assert peer.heard == [words, words.encode(), "next"]


@pytest.mark.parametrize("size", SIZES)
@in_virtual_time
async def test_a_frame_of_any_size_goes_out_as_the_rfc_says(size: int) -> None:
    peer = Peer()
    peer.link.send(b"*" * size)
    [frame] = peer.frames()
    assert (frame.opcode, frame.fin, bytes(frame.data)) == (Opcode.TEXT, True, b"*" * size)


@in_virtual_time
async def test_a_thousand_frames_in_one_piece_arrive_in_order() -> None:
    peer = Peer()
    await peer.begin()
    peer.send(*(text(str(number)) for number in range(1000)))
    assert peer.heard == [str(number) for number in range(1000)]


@pytest.mark.parametrize("piece", PIECES)
@in_virtual_time
async def test_a_frame_above_the_limit_closes_with_1009_as_soon_as_its_length_is_known(
    piece: int,
) -> None:
    peer = Peer()
    listening = await peer.begin()
    peer.send_in_pieces(text("*" * (MAX_BYTES + 1))[:14], piece)
    assert peer.closed_with() == 1009
    await asyncio.wait_for(listening, 1)
    peer.send_in_pieces(b"*" * 100_000, 10_000)
    assert peer.heard == []
    assert peer.transport.said_eof


@in_virtual_time
async def test_fragments_that_are_too_large_together_close_with_1009() -> None:
    peer = Peer()
    await peer.begin()
    peer.send(text("*" * MAX_BYTES, fin=False), raw(Opcode.CONT, b"*"))
    assert (peer.closed_with(), peer.heard) == (1009, [])


@in_virtual_time
async def test_a_frame_that_says_it_is_endless_costs_nothing_and_closes_with_1009() -> None:
    peer = Peer()
    await peer.begin()
    peer.send(b"\x81\xff" + (2**63 - 1).to_bytes(8))
    assert peer.closed_with() == 1009


# 2: pings and pongs


@pytest.mark.parametrize("size", [0, 1, 125])
@pytest.mark.parametrize("piece", PIECES)
@in_virtual_time
async def test_a_ping_is_answered_with_its_payload(size: int, piece: int) -> None:
    peer = Peer()
    await peer.begin()
    peer.send_in_pieces(raw(Opcode.PING, b"p" * size), piece)
    assert [(f.opcode, bytes(f.data)) for f in peer.frames()] == [(Opcode.PONG, b"p" * size)]


@in_virtual_time
async def test_ten_pings_in_one_piece_get_ten_pongs_in_their_order() -> None:
    peer = Peer()
    await peer.begin()
    peer.send(*(raw(Opcode.PING, bytes((number,))) for number in range(10)))
    assert [bytes(frame.data) for frame in peer.frames()] == [bytes((n,)) for n in range(10)]


@in_virtual_time
async def test_a_pong_that_nobody_asked_for_is_passed_over() -> None:
    peer = Peer()
    await peer.begin()
    peer.send(raw(Opcode.PONG, b"unsolicited"), text("next"))
    assert (peer.frames(), peer.heard) == ([], ["next"])


# 3, 4, 5.1: what no frame may be


BAD_FRAMES = {
    **{f"reserved bits {rsv:03b}": text("x", rsv=rsv) for rsv in range(1, 8)},
    **{f"opcode {opcode:#x}": raw(opcode, b"x") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "not masked": text("x", masked=False),
    "ping of 126 bytes": raw(Opcode.PING, b"p" * 126),
    "close of 126 bytes": raw(Opcode.CLOSE, b"\x03\xe8" + b"c" * 124),
    "ping in fragments": raw(Opcode.PING, b"p", fin=False),
    "pong in fragments": raw(Opcode.PONG, b"p", fin=False),
    "continuation of nothing": raw(Opcode.CONT, b"x"),
    "continuation of nothing, unfinished": raw(Opcode.CONT, b"x", fin=False),
    "text within a fragmented text": text("a", fin=False) + text("b"),
    "binary within a fragmented text": text("a", fin=False) + raw(Opcode.BINARY, b"b"),
    "close of one byte": raw(Opcode.CLOSE, b"\x03"),
    "close within a fragmented text": text("a", fin=False) + close_frame(1000),
}


@pytest.mark.parametrize("piece", [1, 10**6])
@pytest.mark.parametrize("what", BAD_FRAMES)
@in_virtual_time
async def test_what_no_frame_may_be_closes_with_1002(what: str, piece: int) -> None:
    peer = Peer()
    listening = await peer.begin()
    peer.send_in_pieces(text("before") + BAD_FRAMES[what] + text("after"), piece)
    assert peer.closed_with() == 1002
    assert peer.heard == ["before"]
    await asyncio.wait_for(listening, 1)
    assert peer.transport.said_eof


# 5: fragments


@pytest.mark.parametrize("piece", PIECES)
@in_virtual_time
async def test_fragments_become_one_message_with_pings_answered_between_them(piece: int) -> None:
    peer = Peer()
    await peer.begin()
    frames = (
        text("one ", fin=False), raw(Opcode.PING, b"?"), raw(Opcode.CONT, b"", fin=False),
        raw(Opcode.CONT, b"message"), text("next"),
    )  # fmt: skip
    peer.send_in_pieces(b"".join(frames), piece)
    assert [frame.opcode for frame in peer.frames()] == [Opcode.PONG]
    assert peer.heard == ["one message", "next"]


@in_virtual_time
async def test_a_message_in_a_thousand_fragments_arrives() -> None:
    peer = Peer()
    await peer.begin()
    middle = [raw(Opcode.CONT, b"*", fin=False)] * 998
    peer.send(raw(Opcode.BINARY, b"<", fin=False), *middle, raw(Opcode.CONT, b">"), text("next"))
    assert peer.heard == [b"<" + b"*" * 998 + b">", "next"]


@in_virtual_time
async def test_empty_fragments_without_end_cost_nothing() -> None:
    """Each was kept, and none counted against the largest size: so a peer could fill the memory."""
    peer = Peer()
    await peer.begin()
    peer.send(text("begun", fin=False))
    for _ in range(100):
        peer.send(*[raw(Opcode.CONT, b"", fin=False)] * 100)
    assert len(peer.link._fragments) == 2
    peer.send(raw(Opcode.CONT, b", done"))
    assert peer.heard == ["begun, done"]


# 6: UTF-8


BAD_UTF8 = {
    "a lone continuation byte": b"\x80",
    "a byte that never occurs": b"ok \xff",
    "an overlong slash": b"\xc0\xaf",
    "half of a surrogate pair": b"\xed\xa0\x80",
    "above U+10FFFF": b"\xf4\x90\x80\x80",
    "cut off in a character": "κ".encode()[:1],
}


@pytest.mark.parametrize("what", BAD_UTF8)
@pytest.mark.parametrize("cut", [0, 1])
@in_virtual_time
async def test_text_that_is_not_utf_8_closes_with_1007(what: str, cut: int) -> None:
    peer = Peer()
    listening = await peer.begin()
    payload = BAD_UTF8[what]
    whole = raw(Opcode.TEXT, payload)
    parts = raw(Opcode.TEXT, payload[:1], fin=False) + raw(Opcode.CONT, payload[1:])
    peer.send(parts if cut else whole, text("after"))
    assert (peer.closed_with(), peer.heard) == (1007, [])
    await asyncio.wait_for(listening, 1)


@in_virtual_time
async def test_a_character_may_be_cut_by_fragments() -> None:
    peer = Peer()
    await peer.begin()
    word = "κόσμε 💧".encode()
    fragments = [raw(Opcode.CONT, word[n : n + 1], fin=False) for n in range(1, len(word))]
    peer.send(raw(Opcode.TEXT, word[:1], fin=False), *fragments, raw(Opcode.CONT))
    assert peer.heard == [word.decode()]


# 7: closing


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 3000, 4999])
@in_virtual_time
async def test_a_close_is_answered_with_its_code_and_ends_the_stream(code: int) -> None:
    peer = Peer()
    listening = await peer.begin()
    peer.send(close_frame(code, "läuft".encode()), text("behind it"), raw(Opcode.PING))
    [answer] = peer.frames()
    assert bytes(answer.data) == code.to_bytes(2) + "läuft".encode()
    assert (peer.transport.said_eof, peer.heard) == (True, [])
    await asyncio.wait_for(listening, 1)


@in_virtual_time
async def test_a_close_without_a_code_is_answered_without_one() -> None:
    peer = Peer()
    await peer.begin()
    peer.send(raw(Opcode.CLOSE))
    assert [(f.opcode, bytes(f.data)) for f in peer.frames()] == [(Opcode.CLOSE, b"")]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535])
@in_virtual_time
async def test_a_code_that_nobody_may_send_closes_with_1002(code: int) -> None:
    peer = Peer()
    await peer.begin()
    peer.send(close_frame(code))
    assert peer.closed_with() == 1002


@in_virtual_time
async def test_a_reason_that_is_not_utf_8_closes_with_1007() -> None:
    peer = Peer()
    await peer.begin()
    peer.send(close_frame(1000, b"\xff"))
    assert peer.closed_with() == 1007


@in_virtual_time
async def test_the_hub_s_close_waits_for_the_peer_s_and_reads_past_what_comes_before_it() -> None:
    peer = Peer()
    listening = await peer.begin()
    peer.link.close(4400, "bad")
    peer.link.close(4401, "a second close is none")
    peer.link.send(b"nothing goes out any more")
    assert [bytes(frame.data) for frame in peer.frames()] == [(4400).to_bytes(2) + b"bad"]
    peer.send(text("still on its way"), raw(Opcode.PING, b"?"))
    await settled()
    assert not listening.done()
    assert not peer.transport.said_eof
    peer.send(close_frame(4400))
    await asyncio.wait_for(listening, 1)
    assert peer.transport.said_eof


@in_virtual_time
async def test_a_line_that_breaks_ends_the_link() -> None:
    peer = Peer()
    listening = await peer.begin()
    gone = asyncio.ensure_future(peer.link.gone())
    peer.link.connection_lost(None)
    await asyncio.wait_for(listening, 1)
    await asyncio.wait_for(gone, 1)
    peer.link.send(b"into the void")
    assert peer.frames() == []


@in_virtual_time
async def test_a_peer_that_only_stops_sending_is_taken_for_gone() -> None:
    peer = Peer()
    listening = await peer.begin()
    peer.link.eof_received()
    await asyncio.wait_for(listening, 1)
