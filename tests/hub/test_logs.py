import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import aiosqlite
import pytest
import structlog
from aiohttp import web
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from hub.logs import configure
from hub.settings import LogFormat, LogLevel

LIBRARIES = ("aiosqlite", "websockets", "websockets.server", "aiohttp.server", "aiohttp.access")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Logging belongs to the whole process: leave it as it was found."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []  # so that pytest's own are not closed by configure
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.NOTSET)
        logging.getLogger(name).filters = []


def logging_to(
    monkeypatch: pytest.MonkeyPatch,
    level: LogLevel = "info",
    form: LogFormat = "auto",
    stream: io.StringIO | None = None,
) -> io.StringIO:
    stream = io.StringIO() if stream is None else stream
    monkeypatch.setattr(sys, "stderr", stream)
    configure(level, form)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_pipe_gets_one_json_object_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = logging_to(monkeypatch)
    structlog.get_logger("hub").info("ready", port=8765, who='a"\n\x1b[31m\ud800')
    (line,) = lines(stream)
    when = datetime.fromisoformat(line.pop("timestamp"))
    assert when.tzinfo == UTC
    assert line == {
        "event": "ready",
        "port": 8765,
        "who": 'a"\n\x1b[31m\ud800',
        "level": "info",
        "logger": "hub",
    }


def test_a_terminal_gets_text_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = logging_to(monkeypatch, stream=Terminal())
    structlog.get_logger("hub").info("ready", port=8765)
    assert "ready" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_a_terminal_that_wants_no_colour_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = logging_to(monkeypatch, stream=Terminal())
    structlog.get_logger("hub").info("ready")
    assert "\x1b[" not in stream.getvalue()


@pytest.mark.parametrize(("form", "is_json"), [("text", False), ("json", True)])
def test_the_format_may_be_fixed(
    monkeypatch: pytest.MonkeyPatch, form: LogFormat, *, is_json: bool
) -> None:
    stream = logging_to(monkeypatch, form=form, stream=io.StringIO() if not is_json else Terminal())
    structlog.get_logger("hub").info("ready")
    assert stream.getvalue().startswith("{") is is_json
    assert "\x1b[" not in stream.getvalue()


def test_what_a_peer_sent_neither_moves_the_cursor_nor_starts_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = logging_to(monkeypatch, form="text")
    structlog.get_logger("hub").info("hello\nfrom", device="a\x1b[2J\r\nINFO all is well\ud800é")
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()
    assert "é" in stream.getvalue()


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_nothing_below_the_level_is_logged(
    monkeypatch: pytest.MonkeyPatch, level: LogLevel, heard: list[str]
) -> None:
    stream = logging_to(monkeypatch, level)
    for logger in (structlog.get_logger("hub"), logging.getLogger("asyncio")):
        for name in ("debug", "info", "warning", "error"):
            getattr(logger, name)(name)
    assert [line["event"] for line in lines(stream)] == heard + heard


def fail_with(token: str) -> None:
    raise RuntimeError(f"of {len(token)} characters")


def test_a_bug_has_its_traceback_without_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    for form in ("text", "json"):
        stream = logging_to(monkeypatch, form=form)
        token = "-".join(("very", "secret"))
        try:
            fail_with(token)
        except RuntimeError:
            structlog.get_logger("hub").exception("a bug")
        assert "RuntimeError: of 11 characters" in stream.getvalue()
        assert "test_logs.py" in stream.getvalue()
        assert token not in stream.getvalue()


# The libraries


async def send_garbage(port: int, garbage: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(garbage)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    return answer


async def to_websockets(garbage: bytes) -> None:
    async with serve(echo, "127.0.0.1", 0) as server:
        await send_garbage(next(iter(server.sockets)).getsockname()[1], garbage)


async def to_aiohttp(garbage: bytes) -> None:
    runner = web.AppRunner(web.Application())
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        await send_garbage(runner.addresses[0][1], garbage)
    finally:
        await runner.cleanup()


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


GARBAGE = [
    b"",
    b"GET",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nBad\x00Header\r\n\r\n",
    b"POST /sync HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
]


@pytest.mark.parametrize("send", [to_websockets, to_aiohttp])
@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:20]))
async def test_bad_input_is_silent_above_debug_level(
    monkeypatch: pytest.MonkeyPatch, send: Any, garbage: bytes
) -> None:
    stream = logging_to(monkeypatch, "info")
    await send(garbage)
    assert lines(stream) == []


@pytest.mark.parametrize("send", [to_websockets, to_aiohttp])
@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:20]))
async def test_bad_input_has_no_traceback_at_debug_level(
    monkeypatch: pytest.MonkeyPatch, send: Any, garbage: bytes
) -> None:
    stream = logging_to(monkeypatch, "debug")
    await send(garbage)
    assert "Traceback" not in stream.getvalue()
    assert {line["level"] for line in lines(stream)} <= {"debug", "info"}


async def test_no_frame_is_shown_for_it_may_hold_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = logging_to(monkeypatch, "debug")
    async with serve(echo, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as connection:
            await connection.send('{"type": "hello", "token": "very-secret"}')
            assert "very-secret" in str(await connection.recv())
    assert "very-secret" not in stream.getvalue()


@pytest.mark.parametrize("send", [to_websockets, to_aiohttp])
async def test_nothing_of_bad_input_is_shown_for_it_may_be_a_token(
    monkeypatch: pytest.MonkeyPatch, send: Any
) -> None:
    """aiohttp quotes a header that it cannot read, such as one with a token and a NUL."""
    stream = logging_to(monkeypatch, "debug")
    for line in (b"GET / HTTP/1.1\r\nAuthorization: very-secret\0", b"very-secret / HTTP/1.1"):
        await send(line + b"\r\n\r\n")
    assert "very-secret" not in stream.getvalue()


async def test_no_transaction_is_shown_for_it_holds_what_users_wrote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = logging_to(monkeypatch, "debug")
    async with aiosqlite.connect(":memory:") as database:
        await database.execute("SELECT ?", ("dear diary",))
    assert stream.getvalue() == ""


async def test_a_bug_behind_a_websocket_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(_connection: ServerConnection) -> None:
        raise RuntimeError("ours")

    stream = logging_to(monkeypatch, "error")
    async with serve(fail, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as connection:
            await connection.wait_closed()
    (line,) = lines(stream)
    assert line["level"] == "error"
    assert "RuntimeError: ours" in line["exception"]


def test_a_peer_that_went_away_is_one_quiet_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = logging_to(monkeypatch, "debug")
    for logger in ("websockets.server", "aiohttp.server"):
        gone = ConnectionResetError("gone\r\nfor good")
        logging.getLogger(logger).error("handling %s failed", "a peer", exc_info=gone)
    assert [(line["event"], line["level"]) for line in lines(stream)] == [
        ("handling a peer failed: ConnectionResetError: gone for good", "debug")
    ] * 2
    assert "Traceback" not in stream.getvalue()
