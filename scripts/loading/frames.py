"""WebSocket frames of a client (RFC 6455, section 5), no more of them than the load needs.

A library costs more per frame than the relay spends on it, and a load generator must be cheaper
than what it measures. The key of every mask is zero: legal framing, and the masked payload is the
payload itself.
"""

from typing import Final, TypeAlias

# The first byte of a frame: FIN and the opcode. Nothing here is sent in fragments.
TEXT: Final = 0x81
CLOSE: Final = 0x88
PING: Final = 0x89
PONG: Final = 0x8A

_KNOWN: Final = frozenset({TEXT, CLOSE, PING, PONG})
_MASKED: Final = 0x80
_ZERO_KEY: Final = bytes(4)

Frame: TypeAlias = tuple[int, bytes]
"""The first byte (`TEXT`, `CLOSE`, `PING` or `PONG`) and the payload."""


class BadFrame(Exception):
    """The server's fault: a frame that no server of this protocol sends."""


class FrameReader:
    """Cuts what a server sends into frames, however the network has cut it before."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Take what was read; return the frames that are now whole."""
        if self._rest:
            data = self._rest + data
        frames: list[Frame] = []
        at = 0
        while (span := _payload_span(data, at)) is not None:
            start, end = span
            frames.append((data[at], data[start:end]))
            at = end
        self._rest = data[at:]
        return frames


def _payload_span(data: bytes, at: int) -> tuple[int, int] | None:
    """Return where the payload of the frame at `at` starts and ends; None if it is not all here."""
    if len(data) < at + 2:
        return None
    length, start = data[at + 1], at + 2
    if data[at] not in _KNOWN or length & _MASKED:
        raise BadFrame(f"a frame that begins with {data[at : at + 2].hex()} is none of a server's")
    if length > 125:
        start += 2 if length == 126 else 8
        if len(data) < start:
            return None
        length = int.from_bytes(data[at + 2 : start], "big")
    end = start + length
    return (start, end) if end <= len(data) else None


def client_frame(first: int, payload: bytes) -> bytes:
    """Return `payload` as one masked frame."""
    length = len(payload)
    if length < 126:
        return bytes((first, _MASKED | length)) + _ZERO_KEY + payload
    if length < 1 << 16:
        return bytes((first, _MASKED | 126)) + length.to_bytes(2, "big") + _ZERO_KEY + payload
    return bytes((first, _MASKED | 127)) + length.to_bytes(8, "big") + _ZERO_KEY + payload
