"""How a connection becomes a WebSocket, or does not."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.edge import Edge
from hub.errors import HandshakeFault
from hub.forwarded import Proxies, proxies_of
from hub.gate import Gate
from hub.settings import Settings
from hub.websocket.connection import WebSocketLink
from hub.websocket.handshake import MOST_REQUEST_BYTES, Handshake, Terms
from tests.hub.fakes import in_virtual_time, settled
from tests.hub.websocket.wire import FakeTransport, text

TERMS = Terms(
    pages=None,
    proxies=Proxies((), "x-forwarded-for"),
    compression=False,
    max_frame_bytes=1000,
    send_buffer_bytes=1000,
    seconds=10,
)
HEADERS = {
    "Host": "hub.example",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "mobync.v1",
}


def request(line: str = "GET /sync HTTP/1.1", **headers: str | None) -> bytes:
    """An opening request; a header of None is left out."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [
        f"{name}: {value}" for name, value in {**HEADERS, **named}.items() if value is not None
    ]
    return "\r\n".join([line, *lines, "", ""]).encode()


class Door:
    """A handshake under way, and what becomes of it."""

    def __init__(self, terms: Terms = TERMS, *, is_crowded: bool = False) -> None:
        self.links: list[WebSocketLink] = []
        self.is_over = False
        self.faults: list[HandshakeFault] = []
        self.transport = FakeTransport()
        self.handshake = Handshake(
            terms,
            Gate(),
            lambda _handshake, _where: not is_crowded,
            self.links.append,
            self._over,
            self.faults.append,
        )
        self.transport.protocol = self.handshake
        self.handshake.connection_made(self.transport)

    def _over(self, _handshake: Handshake) -> None:
        self.is_over = True

    def say(self, data: bytes, piece: int = 10**6) -> None:
        for start in range(0, len(data), piece):
            self.transport.protocol.data_received(data[start : start + piece])

    @property
    def answer(self) -> str:
        return self.transport.sent.decode()


@pytest.mark.parametrize("piece", [1, 50, 10**6])
@in_virtual_time
async def test_a_sound_request_opens_a_link(piece: int) -> None:
    door = Door()
    door.say(request(), piece)
    [link] = door.links
    assert door.faults == []
    assert door.answer.startswith("HTTP/1.1 101 Switching Protocols\r\n")
    assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in door.answer
    assert "Sec-WebSocket-Protocol: mobync.v1\r\n" in door.answer
    assert "Sec-WebSocket-Extensions" not in door.answer
    assert door.transport.protocol is link
    assert door.is_over
    assert link.address == "192.0.2.7"


@in_virtual_time
async def test_frames_right_behind_the_request_are_heard() -> None:
    door = Door()
    door.say(request() + text("no patience") + text("none")[:3])
    door.say(text("none")[3:])
    assert [await door.links[0].receive() for _ in range(2)] == ["no patience", "none"]


@pytest.mark.parametrize(
    ("bad", "status", "fault"),
    [
        (request("GET /other HTTP/1.1"), 404, "path"),
        (request("GET /sync/ HTTP/1.1"), 404, "path"),
        (request("POST /sync HTTP/1.1"), 405, "not_upgraded"),
        (request("GET /sync HTTP/1.0"), 505, "malformed"),
        (request(Upgrade=None), 426, "not_upgraded"),
        (request(Connection="close"), 426, "not_upgraded"),
        (request(Sec_WebSocket_Key=None), 400, "malformed"),
        (request(Sec_WebSocket_Key="short"), 400, "malformed"),
        (request(Sec_WebSocket_Version="8"), 400, "malformed"),
        (request(Sec_WebSocket_Protocol=None), 400, "subprotocol"),
        (request(Sec_WebSocket_Protocol="mobync.v2"), 400, "subprotocol"),
        (request(Cookie="c" * 9000), 431, "too_large"),
        (request(f"GET /sync?{'c' * 9000} HTTP/1.1"), 414, "too_large"),
    ],
)
@in_virtual_time
async def test_any_other_request_is_answered_closed_and_told_of(
    bad: bytes, status: int, fault: str
) -> None:
    """What could not be read as a request, as one with a large cookie, was in no log."""
    door = Door()
    with capture_logs() as logs:
        door.say(bad)
    assert [(line["event"], line["reason"]) for line in logs] == [("handshake refused", fault)]
    assert door.faults == [fault]
    assert door.answer.startswith(f"HTTP/1.1 {status} ")
    assert door.transport.is_closed
    assert door.links == []


@in_virtual_time
async def test_what_is_no_request_at_all_is_closed_without_a_word() -> None:
    door = Door()
    door.say(b"\x16\x03\x01 what a TLS client says\r\n\r\n")
    assert (door.answer, door.transport.is_closed, door.links) == ("", True, [])
    assert door.faults == ["malformed"]


@pytest.mark.parametrize("path", ["/sync", "/sync?colour=blue"])
@in_virtual_time
async def test_a_query_is_nobody_s_business(path: str) -> None:
    door = Door()
    door.say(request(f"GET {path} HTTP/1.1"))
    assert len(door.links) == 1


@pytest.mark.parametrize(
    ("origin", "status"),
    [("https://app.example", 101), (None, 101), ("https://evil.example", 403), ("null", 403)],
)
@in_virtual_time
async def test_pages_of_other_origins_are_refused(origin: str | None, status: int) -> None:
    door = Door(_terms(pages=["https://app.example"]))
    door.say(request(Origin=origin))
    assert door.answer.startswith(f"HTTP/1.1 {status} ")
    assert len(door.links) == (status == 101)
    assert door.faults == [] if status == 101 else ["origin"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 101),
        ("https://127.0.0.1", 101),
        ("http://[::1]:8080", 101),
        ("http://localhost.evil.example", 403),
        ("http://evil.example:8765", 403),
        ("null", 403),
        (None, 101),
    ],
)
@in_virtual_time
async def test_under_dev_only_pages_of_this_machine_may_connect(
    origin: str | None, status: int
) -> None:
    """Any page in the browser of whoever tries the hub could be any user of it."""
    door = Door(_terms(pages=Settings(dev=True).pages))
    door.say(request(Origin=origin))
    assert door.answer.startswith(f"HTTP/1.1 {status} ")


@in_virtual_time
async def test_a_page_that_names_two_origins_is_refused() -> None:
    door = Door(_terms(pages=["https://app.example"]))
    door.say(request(Origin="https://app.example\r\nOrigin: https://evil.example"))
    assert door.answer.startswith("HTTP/1.1 400 ")


@in_virtual_time
async def test_the_address_is_the_peer_s_where_a_trusted_proxy_says_it() -> None:
    trusted = proxies_of(Edge(trusted_proxies=("192.0.2.7",)))
    for proxies, address in ((trusted, "203.0.113.7"), (TERMS.proxies, "192.0.2.7")):
        door = Door(_terms(proxies=proxies))
        door.say(request(X_Forwarded_For="127.0.0.1\r\nX-Forwarded-For: 203.0.113.7"))
        assert door.links[0].address == address


@in_virtual_time
async def test_a_refusal_is_logged_with_the_address_and_without_the_path() -> None:
    with capture_logs() as logs:
        Door(_terms(pages=["https://app.example"])).say(
            request("GET /sync?token=secret HTTP/1.1", Origin="https://evil.example")
        )
    [line] = logs
    assert (line["event"], line["reason"], line["address"]) == (
        "handshake refused", "origin", "192.0.2.7",
    )  # fmt: skip
    assert "secret" not in str(line)


@in_virtual_time
async def test_compression_is_agreed_on_only_if_it_is_on() -> None:
    offer = request(Sec_WebSocket_Extensions="permessage-deflate")
    off, on = Door(), Door(_terms(compression=True))
    off.say(offer)
    on.say(offer)
    assert "permessage-deflate" not in off.answer
    assert "Sec-WebSocket-Extensions: permessage-deflate" in on.answer


@in_virtual_time
async def test_a_request_without_an_end_is_cut_off_in_time() -> None:
    door = Door()
    door.say(request()[:-2])
    await settled()
    assert not door.is_over
    await _seconds(9.9)
    assert not door.is_over
    await _seconds(0.2)
    assert (door.transport.was_aborted, door.is_over, door.links) == (True, True, [])
    assert door.faults == ["too_slow"]


@in_virtual_time
async def test_who_was_refused_and_does_not_take_the_answer_is_cut_off_and_counted_once() -> None:
    door = Door()
    door.say(request("GET /other HTTP/1.1"))
    await _seconds(11)
    assert (door.transport.was_aborted, door.faults) == (True, ["path"])


@in_virtual_time
async def test_who_hangs_up_was_not_refused() -> None:
    door = Door()
    door.say(request()[:-2])
    door.handshake.connection_lost(None)
    await _seconds(60)
    assert (door.is_over, door.faults) == (True, [])


@in_virtual_time
async def test_a_request_of_endless_headers_is_cut_off() -> None:
    door = Door()
    door.say(request()[:-2] + b"X: y\r\n" * (MOST_REQUEST_BYTES // 6 + 1), 1000)
    assert (door.transport.was_aborted, door.faults[:1]) == (True, ["too_large"])


@in_virtual_time
async def test_an_open_link_has_no_deadline_of_the_handshake_any_more() -> None:
    door = Door()
    door.say(request())
    await _seconds(60)
    assert not door.transport.was_aborted


@in_virtual_time
async def test_one_too_many_is_cut_off_at_once() -> None:
    door = Door(is_crowded=True)
    await settled()
    assert (door.transport.was_aborted, door.is_over) == (True, True)
    assert door.faults == ["crowded"]


def _terms(**changes: Any) -> Terms:
    return Terms(**{name: getattr(TERMS, name) for name in TERMS.__struct_fields__} | changes)


async def _seconds(seconds: float) -> None:
    await asyncio.sleep(seconds)
    await settled()
