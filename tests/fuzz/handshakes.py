"""Opening requests as no browser would send them, and what stands behind them."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Final

from tests.crash.processes import raw_frame
from tests.fuzz.frames import HELLO, Frame, mutated
from tests.hub.websocket.wire import raw

_LINE: Final = b"GET /sync HTTP/1.1"
_HEADERS: Final[Sequence[bytes]] = (
    b"Host: hub.example",
    b"Upgrade: websocket",
    b"Connection: keep-alive, Upgrade",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Protocol: mobync.v1",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    b"Origin: https://app.example",
    b"X-Forwarded-For: 203.0.113.7, 10.1.2.3",
)
_LINES: Final = (
    b"", b" ", b"GET", b"GET /sync", b"POST /sync HTTP/1.1", b"GET /sync HTTP/1.0",
    b"GET /sync HTTP/9.9", b"GET  /sync HTTP/1.1", b"GET /\xff HTTP/1.1", b"GET * HTTP/1.1",
    b"GET http://[::1/sync HTTP/1.1", b"GET /sync?" + b"a" * 5000 + b" HTTP/1.1",
    b"PRI * HTTP/2.0", b"\x16\x03\x01\x02\x00\x01\x00", b"GET /sync HTTP/1.1\0",
)  # fmt: skip
_VALUES: Final = (
    b"", b" ", b",", b",,,,", b";", b"=", b'"', b"\0", b"\xff\xfe", b"\t", b"websocket, websocket",
    b"13, 8", b"null", b"*", b"permessage-deflate; server_max_window_bits=99",
    b"permessage-deflate; client_max_window_bits=x, x-unknown", b"permessage-deflate;" * 200,
    b"mobync.v1, " * 100, b"AA==", b"dGhlIHNhbXBsZSBub25jZQ== ", b"1" * 9000, b"\r\n folded",
    b"unknown, , for=, [::1, 999.1.1.1, 127.0.0.1", b"10.0.0.1, " * 500, b"chunked", b"99999999",
)  # fmt: skip
_NAMES: Final = (
    b"Content-Length", b"Transfer-Encoding", b"X-Forwarded-For", b"Forwarded", b"Cookie", b"X y",
    b"", b":", b"Sec-WebSocket-Key", b"Origin", b"\xff",
)  # fmt: skip
_BYTES: Final = (b"\0", b"\r", b"\n", b"\r\n\r\n", b":", b" ", b"\xff", b"A" * 20_000)


def mutated_opening(chance: random.Random) -> bytes:
    """A request that was changed a few times, and a `hello` and more behind it."""
    lines = [_LINE, *chance.sample(_HEADERS, len(_HEADERS))]
    for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
        chance.choice(_CHANGES)(lines, chance)
    opening = b"\r\n".join(lines) + b"\r\n\r\n"
    if chance.random() < 0.2:
        at = chance.randint(0, len(opening))
        opening = opening[:at] + chance.choice(_BYTES) + opening[at + chance.randint(0, 3) :]
    if chance.random() < 0.5:
        opening += raw_frame(json.dumps({**HELLO, "device": f"phone-{chance.randrange(50)}"}))
    return opening + b"".join(_framed(chance) for _ in range(chance.randint(0, 3)))


def pieces(data: bytes, chance: random.Random) -> Sequence[bytes]:
    """As it might arrive; now and then the end never does."""
    if chance.random() < 0.1:
        data = data[: chance.randint(0, len(data))]
    size = chance.choice((1, 7, 100, 10**6)) if len(data) < 2000 else 4096
    return [data[at : at + size] for at in range(0, len(data), size)]


def _framed(chance: random.Random) -> bytes:
    """A frame with a `hello` as it may be mutated, or one that RFC 6455 knows nothing of."""
    if chance.random() < 0.2:
        opcode, rsv = chance.randrange(16), chance.choice((0, 0, 4, 7))
        payload = chance.randbytes(chance.choice((0, 2, 125, 126)))
        fin, masked = chance.random() < 0.7, chance.random() < 0.9
        return raw(opcode, payload, fin=fin, rsv=rsv, masked=masked)
    return _text(mutated(chance, [HELLO]))


def _text(frame: Frame) -> bytes:
    if isinstance(frame, bytes):
        return raw(2, frame)
    return raw_frame(frame)


def _drop(lines: list[bytes], chance: random.Random) -> None:
    if len(lines) > 1:
        del lines[chance.randrange(1, len(lines))]


def _repeat(lines: list[bytes], chance: random.Random) -> None:
    line = chance.choice(lines)
    lines.extend([line] * chance.choice((1, 2, 200)))


def _change(lines: list[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(lines))
    name = lines[at].partition(b":")[0]
    lines[at] = name + b": " + chance.choice(_VALUES)


def _add(lines: list[bytes], chance: random.Random) -> None:
    lines.append(chance.choice(_NAMES) + b": " + chance.choice(_VALUES))


def _begin(lines: list[bytes], chance: random.Random) -> None:
    lines[0] = chance.choice(_LINES)


_CHANGES: Final[Sequence[Callable[[list[bytes], random.Random], None]]] = (
    _drop, _repeat, _change, _change, _add, _begin,
)  # fmt: skip
