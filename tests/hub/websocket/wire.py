"""A WebSocket's peer and transport in a test's hand: raw frames in, raw bytes out."""

import asyncio
from collections.abc import Iterable
from typing import Any, TypeAlias

from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol
from websockets.server import ServerProtocol
from websockets.speedups import apply_mask

from hub.gate import Gate
from hub.websocket.connection import Peer as PeerOf
from hub.websocket.connection import WebSocketLink

Data: TypeAlias = "bytes | bytearray | memoryview[Any]"

MASK = b"\x01\x02\x03\x04"
MAX_BYTES = 70_000


def raw(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True
) -> bytes:
    """A frame as a client sends it, or, if the test wants, as none may send it."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mask = 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        header = bytes((first, mask | size))
    elif size < 2**16:
        header = bytes((first, mask | 126)) + size.to_bytes(2)
    else:
        header = bytes((first, mask | 127)) + size.to_bytes(8)
    return header + (MASK + apply_mask(payload, MASK) if masked else payload)


def text(words: str, **options: Any) -> bytes:
    return raw(Opcode.TEXT, words.encode(), **options)


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return raw(Opcode.CLOSE, code.to_bytes(2) + reason)


class FakeTransport(asyncio.Transport):
    """Takes whatever is written, as long as it is not stalled."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.7", 5)})
        self.sent = bytearray()
        self.writes = 0
        self.buffered = 0
        self.is_stalled = False
        self.reads = True
        self.said_eof = False
        self.is_closed = False
        self.was_aborted = False
        self.protocol: Any = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits = high, low

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def write(self, data: Data) -> None:
        self.sent += data
        self.writes += 1
        if self.is_stalled:
            self.buffered += len(data)

    def writelines(self, list_of_data: Iterable[Data]) -> None:
        for data in list_of_data:
            self.write(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.said_eof = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return self.is_closed or self.was_aborted

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.was_aborted = True
        if self.protocol is not None:
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


class Peer:
    """A client of a link: what it sends arrives at once, and it reads all that it is sent."""

    def __init__(
        self,
        max_bytes: int = MAX_BYTES,
        extensions: Any = (),
        theirs: Any = (),
        gate: Gate | None = None,
    ) -> None:
        self.transport = FakeTransport()
        self.gate = gate or Gate()
        protocol = ServerProtocol(max_size=max_bytes, state=OPEN)
        protocol.extensions = list(extensions)
        self.link = WebSocketLink(
            self.transport, protocol, 1000, PeerOf("192.0.2.7", 0.0), self.gate
        )
        self.transport.protocol = self.link
        self.heard: list[str | bytes] = []
        self._client = Protocol(CLIENT, max_size=None)
        self._client.extensions = list(theirs)

    async def begin(self) -> "asyncio.Task[None]":
        """Listen to what comes; the task ends with the link."""
        self._listening = asyncio.ensure_future(self.link.listen(self.heard.append))
        await asyncio.sleep(0)
        return self._listening

    def send(self, *frames: bytes) -> None:
        """Bytes that arrive in one piece."""
        self.link.data_received(b"".join(frames))

    def send_in_pieces(self, data: bytes, size: int) -> None:
        for start in range(0, len(data), size):
            self.link.data_received(data[start : start + size])

    def frames(self) -> list[Frame]:
        """What the link has sent since the last call."""
        data, self.transport.sent = bytes(self.transport.sent), bytearray()
        if data:
            self._client.receive_data(data)
        return [event for event in self._client.events_received() if isinstance(event, Frame)]

    def closed_with(self) -> int | None:
        """The code of the close that the link has sent; None: it has sent none."""
        codes = [f.data for f in self.frames() if f.opcode is Opcode.CLOSE]
        return int.from_bytes(bytes(codes[0][:2])) if codes else None
