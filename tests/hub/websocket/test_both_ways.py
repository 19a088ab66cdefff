"""The short way and the long way are one: whatever bytes come, in whatever pieces."""

import asyncio
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from tests.hub.fakes import VirtualLoop
from tests.hub.websocket.wire import Peer, raw

MAX_BYTES = 300

opcodes = st.one_of(
    st.just(Opcode.TEXT), st.sampled_from(list(Opcode)), st.integers(0, 15)
)  # fmt: skip
payloads = st.one_of(
    st.text(max_size=140).map(str.encode),
    st.binary(max_size=4),
    st.sampled_from([b"", b"x" * 125, b"x" * 126, b"x" * MAX_BYTES, b"x" * (MAX_BYTES + 1)]),
    st.sampled_from([b"\x03\xe8", b"\x03\xe8bye"]),
)
mostly = st.sampled_from([True] * 9 + [False])


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    return raw(
        draw(opcodes), draw(payloads), fin=draw(mostly), masked=draw(mostly),
        rsv=0 if draw(mostly) else draw(st.integers(0, 7)),
    )  # fmt: skip


class LongWay:
    """A server that gives everything to `websockets`, as the library's own servers do."""

    def __init__(self) -> None:
        self.protocol = ServerProtocol(max_size=MAX_BYTES, state=OPEN)
        self.heard: list[str | bytes] = []
        self.sent = bytearray()
        self.said_eof = False
        self._parts: list[Frame] = []

    def receive(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            assert isinstance(event, Frame)
            if event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._collect(event)
        self._flush()

    def _collect(self, frame: Frame) -> None:
        self._parts.append(frame)
        if not frame.fin:
            return
        payload = b"".join(bytes(part.data) for part in self._parts)
        kind, self._parts = self._parts[0].opcode, []
        try:
            self.heard.append(payload.decode() if kind is Opcode.TEXT else payload)
        except UnicodeDecodeError as error:
            self.protocol.fail(1007, f"{error.reason} at {error.start}")

    def _flush(self) -> None:
        for data in self.protocol.data_to_send():
            self.sent += data
            self.said_eof |= not data


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


ZEROS = bytes(2 * MAX_BYTES)
"""They make whole whatever was begun, and what comes behind that is no frame of a client."""


async def compared(pieces: list[bytes]) -> None:
    """The library judges a header in halves, and may be a few bytes ahead; never the link."""
    peer, reference = Peer(MAX_BYTES), LongWay()
    await peer.begin()
    for piece in (*pieces, ZEROS):
        peer.link.data_received(piece)
        for byte in piece:
            reference.receive(bytes((byte,)))
        assert reference.heard[: len(peer.heard)] == peer.heard
        assert reference.sent.startswith(peer.transport.sent)
    assert peer.heard == reference.heard
    assert (peer.transport.sent, peer.transport.said_eof) == (reference.sent, True)


@settings(deadline=None, max_examples=400)
@given(sent=st.lists(frames(), max_size=12), cuts=st.lists(st.integers(0, 5000), max_size=12))
def test_a_link_hears_and_says_what_the_library_does(sent: list[bytes], cuts: list[int]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(compared(in_pieces(b"".join(sent), cuts)))


@settings(deadline=None, max_examples=200)
@given(noise=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=6))
def test_noise_is_met_as_the_library_meets_it(noise: bytes, cuts: list[int]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(compared(in_pieces(noise, cuts)))
