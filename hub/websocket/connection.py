"""One open WebSocket as a `hub.link.Link` (RFC 6455).

Nearly every frame that a device sends is whole, masked, final text, and nearly every one that it
gets is plain text. Those go the short way, a few lines each, without a task being woken; all others
go the long way, through `websockets`' protocol without I/O, which alone knows the whole of the RFC.

Invariant: the short way is taken only between two frames of an open connection that has no
extension and no fragmented message under way. So the long way misses nothing that it depends on,
and between two such frames there is nothing that it has to remember: it is made when it is needed,
for it takes more memory than all the rest of an idle device.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import SERVER, Protocol, State

try:
    from websockets.speedups import apply_mask
except ImportError:  # an installation without the compiled part
    from websockets.utils import apply_mask

from hub.gate import Gate

Message: TypeAlias = str | bytes
"""What a device sent: text, or bytes where the frame was binary."""

MOST_WAITING: Final = 16
"""Messages that may wait for somebody to listen; more are not read."""

_FINAL_TEXT: Final = 0x80 | Opcode.TEXT
_EMPTY_PING: Final = bytes((0x80 | Opcode.PING, 0))
_SHORT: Final = 125
"""The longest payload whose length stands in the header's second byte."""
_SHORT_HEADERS: Final = tuple(bytes((_FINAL_TEXT, size)) for size in range(_SHORT + 1))
"""Of final text frames, by the bytes of their payload."""


def text_frame(payload: bytes) -> bytes:
    """A final text frame as a server sends it: unmasked (RFC 6455, section 5.2)."""
    size = len(payload)
    if size <= _SHORT:
        return _SHORT_HEADERS[size] + payload
    if size < 2**16:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload


class Peer(NamedTuple):
    """Who is at the other end: where, and since when, by the loop's clock."""

    address: str
    came: float


class WebSocketLink(asyncio.Protocol):
    """A `Link` over a transport whose handshake is done; `protocol` knows what was agreed there.

    `is_full` is set while the peer has not taken most of `send_buffer_bytes`; `heard` is set by
    whatever comes, and cleared by who watches whether the peer is alive. In its `context` the
    connection is served: what is logged there says whose it is.
    """

    __slots__ = (
        "_drained", "_ended", "_fragments", "_gate", "_gone", "_is_open", "_listener",
        "_max_bytes", "_missing", "_news", "_paused", "_protocol", "_rest", "_sent", "_transport",
        "_waiting", "address", "came", "context", "heard", "is_full",
    )  # fmt: skip

    def __init__(
        self,
        transport: asyncio.Transport,
        protocol: Protocol,
        send_buffer_bytes: int,
        peer: Peer,
        gate: Gate,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.heard = True
        self.context = contextvars.copy_context()
        self.address, self.came = peer
        self._transport = transport
        self._gate = gate
        self._protocol = protocol if protocol.extensions else None
        self._max_bytes = protocol.max_message_size or 0
        self._is_open = True
        self._rest = b""
        self._missing = 0
        self._fragments: list[bytes] = []
        self._waiting: deque[Message] = deque()
        self._listener: Callable[[Message], None] | None = None
        self._paused = False
        self.is_full = False
        self._sent = 0
        self._news: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[None] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        transport.set_write_buffer_limits(send_buffer_bytes, send_buffer_bytes // 4)

    # The hub's side

    @property
    def buffered(self) -> int:
        """Bytes sent that the peer has not taken."""
        return self._transport.get_write_buffer_size()

    @property
    def taken(self) -> int:
        """Bytes of frames that the peer has taken so far."""
        return self._sent - self._transport.get_write_buffer_size()

    def send(self, frame: bytes) -> None:
        """Send a text frame; nothing happens once the link is closing."""
        self._sent += len(frame)
        if not self._is_open:
            return
        if self._protocol is None:
            self._write(text_frame(frame))
        else:
            self._protocol.send_text(frame)
            self._follow(self._protocol)

    def send_all(self, frames: Sequence[bytes]) -> None:
        """Send text frames in this order, in one write where nothing is to be done to them."""
        if self._protocol is None and self._is_open:
            self._sent += sum(map(len, frames))
            self._write(b"".join(map(text_frame, frames)))
            return
        for frame in frames:
            self.send(frame)

    async def drained(self) -> None:
        """Wait until the peer has taken most of what was sent, or the link has broken."""
        while self.is_full and not self._gone.done():
            self._drained = self._drained or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    async def receive(self) -> Message | None:
        """The next message, while nobody listens; None once the link is closing."""
        while not self._waiting and not self._ended.done():
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        return self._waiting.popleft() if self._waiting else None

    async def listen(self, take: Callable[[Message], None]) -> None:
        """Hand each further message to `take` as it comes, until the link is closing."""
        self._listener = take
        self.resume()
        await self._ended

    def pause(self) -> None:
        """Hand on no more, and read no more: the peer feels it, in time."""
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on where `pause` stopped."""
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        asyncio.get_running_loop().call_soon(self._go_on)

    def close(self, code: int, reason: str) -> None:
        """Begin to close."""
        if self._is_open:
            protocol = self._whole()
            protocol.send_close(code, reason)
            self._follow(protocol)

    def abort(self) -> None:
        """Cut the connection off."""
        self._transport.abort()

    async def gone(self) -> None:
        """Wait until the connection is closed or cut off, and read past what still comes."""
        await self.listen(_pass_over)
        await self._gone

    def ping(self) -> None:
        """Ask the peer whether it is there."""
        if self._is_open:
            self._write(_EMPTY_PING)

    # The transport's side

    def data_received(self, data: bytes) -> None:
        """Take what came; what cannot be handed on yet waits, with reading paused."""
        self.heard = True
        self._rest = self._rest + data if self._rest else data
        if not self._paused:
            self._read()

    def eof_received(self) -> None:
        """The peer sends no more: the transport closes by itself."""
        self._is_open = False
        self._end()

    def pause_writing(self) -> None:
        """The peer has not taken `send_buffer_bytes`."""
        self.is_full = True

    def resume_writing(self) -> None:
        """The peer has taken most of it."""
        self.is_full = False
        _settle(self._drained)
        self._drained = None

    def connection_lost(self, _error: Exception | None) -> None:
        """Nothing more comes or goes."""
        self._is_open = False
        self._end()
        _settle(self._gone)
        self.resume_writing()

    # In

    def _go_on(self) -> None:
        """Hand on what waited. A bug met here cuts the link off, as one met in reading does."""
        try:
            self._hand_on_what_waited()
        except BaseException:
            self.abort()
            raise

    def _hand_on_what_waited(self) -> None:
        while self._waiting and self._listener is not None and not self._paused:
            self._listener(self._waiting.popleft())
        if self._rest and not self._paused:
            self._read()

    def _read(self) -> None:
        """Take all whole frames that came, and hand what is left to the long way."""
        data, at, step = self._rest, 0, 1
        while step and at < len(data) and not self._paused:
            step = self._short_way(data, at) or self._long_way(data, at)
            at += step
        self._rest = data[at:]

    def _short_way(self, data: bytes, at: int) -> int:
        """Take one frame that is whole and plain; its bytes, 0 if it is not."""
        if len(data) < at + 2 or self._protocol is not None:
            return 0
        length = data[at + 1] - 0x80
        start = at + 6
        if length > _SHORT:
            start += 2 if length == _SHORT + 1 else 8
            length = int.from_bytes(data[at + 2 : start - 4])
        end = start + length
        is_plain = data[at] == _FINAL_TEXT and 0 <= length <= self._max_bytes
        if not is_plain or end > len(data):
            return 0
        self._hand_on_text(apply_mask(data[start:end], data[start - 4 : start]))
        return end - at

    def _long_way(self, data: bytes, at: int) -> int:
        """Give the library the frame that begins here, or goes on, as far as it has come.

        How many bytes that was; 0 if not even the length of the frame has come.
        """
        if self._missing == 0:
            size = _size_of_frame(data, at)
            if size is None:
                return 0
            self._missing = size
        part = data[at : at + self._missing]
        self._missing -= len(part)
        self._give(part)
        return len(part)

    def _give(self, data: bytes) -> None:
        protocol = self._whole()
        protocol.receive_data(data)
        for frame in protocol.events_received():
            if isinstance(frame, Frame):
                self._take_frame(frame)
        self._follow(protocol)

    def _take_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self._end()
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._take_fragment(frame)

    def _take_fragment(self, frame: Frame) -> None:
        """Put a message together; `websockets` has seen to the order and the size of the whole.

        An empty fragment adds nothing to that size, and so must add nothing here.
        """
        if frame.opcode is not Opcode.CONT:
            self._fragments = [bytes((frame.opcode,))]
        if frame.data:
            self._fragments.append(bytes(frame.data))
        if frame.fin:
            kind, *parts = self._fragments
            self._fragments = []
            self._hand_on_message(kind[0], b"".join(parts))

    def _hand_on_message(self, kind: int, payload: bytes) -> None:
        if kind == Opcode.TEXT:
            self._hand_on_text(payload)
        else:
            self._hand_on(payload)

    def _hand_on_text(self, payload: bytes) -> None:
        try:
            text = payload.decode()
        except UnicodeDecodeError as error:
            protocol = self._whole()
            protocol.fail(CloseCode.INVALID_DATA, f"{error.reason} at {error.start}")
            self._follow(protocol)
        else:
            self._hand_on(text)

    def _hand_on(self, message: Message) -> None:
        if self._listener is not None and not self._waiting:
            self._listener(message)
            return
        self._waiting.append(message)
        if len(self._waiting) >= MOST_WAITING:
            self.pause()
        _settle(self._news)

    # Out

    def _whole(self) -> Protocol:
        """The long way, which knows the whole of the RFC."""
        if self._protocol is None:
            self._protocol = Protocol(SERVER, max_size=self._max_bytes)
        return self._protocol

    def _follow(self, protocol: Protocol) -> None:
        """Send what the library has to say, and go where it goes; forget it if it has no more."""
        for data in protocol.data_to_send():
            if data:
                self._write(data)
            else:
                self._end()
                self._send_eof()
        self._is_open = self._is_open and protocol.state is State.OPEN
        is_between_messages = protocol.current_size is None and not self._missing
        if self._is_open and is_between_messages and not protocol.extensions:
            self._protocol = None

    def _write(self, data: bytes) -> None:
        held = self._gate.held
        if held is None:
            self._transport.write(data)
        else:
            held.append((self._transport, data))

    def _send_eof(self) -> None:
        """Say that nothing more comes; whoever does not hang up then is cut off by the sweep."""
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _end(self) -> None:
        _settle(self._ended)
        _settle(self._news)


def _size_of_frame(data: bytes, at: int) -> int | None:
    """Bytes of the frame that begins here, header and all; None if that cannot be told yet."""
    if len(data) < at + 2:
        return None
    mask, length = data[at + 1] & 0x80, data[at + 1] & 0x7F
    header = 2
    if length > _SHORT:
        header += 2 if length == _SHORT + 1 else 8
        if len(data) < at + header:
            return None
        length = int.from_bytes(data[at + 2 : at + header])
    return header + (4 if mask else 0) + length


def _settle(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _pass_over(_message: Message) -> None:
    """What comes after the end is nobody's."""
