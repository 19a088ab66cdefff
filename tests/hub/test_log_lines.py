"""Whose line it is: each that is about a connection names it, its user and its device."""

import asyncio
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from hub.http import app
from hub.limits import Limits
from hub.session import Session
from hub.settings import LogLevel
from hub.store.sqlite import SqliteStore
from tests.hub.http.served import ServedHub, dev_settings, serve
from tests.hub.test_logs import as_it_was, lines, logging_to

__all__ = ["as_it_was"]

SPOKEN = ("mobync.v1",)
HELLO = {"type": "hello", "logical_clock": 0, "log_id": None, "half": None}


def about(log: io.StringIO, *events: str) -> list[dict[str, Any]]:
    return [line for line in lines(log) if line["event"] in events]


def who(line: Mapping[str, Any]) -> tuple[Any, ...]:
    return line.get("connection"), line.get("user"), line.get("device")


class Log(io.StringIO):
    """What is logged, and whether there is something new."""

    def __init__(self) -> None:
        super().__init__()
        self.news = asyncio.Event()

    def write(self, text: str) -> int:
        self.news.set()
        return super().write(text)


async def told(log: Log, event: str, count: int = 1) -> list[dict[str, Any]]:
    """Lines of an event, once there are so many of them."""
    async with asyncio.timeout(20):
        while len(found := about(log, event)) < count:
            log.news.clear()
            await log.news.wait()
    return found


def logging(monkeypatch: pytest.MonkeyPatch, level: LogLevel) -> Log:
    log = Log()
    logging_to(monkeypatch, level, "json", log)
    return log


async def test_a_connection_has_one_number_from_its_first_line_to_its_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = logging(monkeypatch, "debug")
    async with serve(dev_settings(tmp_path)) as hub:
        async with hub.live_device("ada"), hub.live_device("bob", "tab"):
            pass
        await told(log, "gone", 2)
        async with hub.live_device("ada") as replaced, hub.live_device("ada"):
            assert (await replaced.hear())["code"] == "replaced"
        await told(log, "gone", 3)
    came = {line["connection"]: line["address"] for line in about(log, "connected")}
    assert came == dict.fromkeys((1, 2, 3, 4), "127.0.0.1")
    expected = [(1, "ada", "phone"), (2, "bob", "tab"), (3, "ada", "phone"), (4, "ada", "phone")]
    assert [who(line) for line in about(log, "hello")] == expected
    closed = about(log, "closed")
    assert [(who(line), line["code"]) for line in closed] == [((3, "ada", "phone"), 4409)]
    gone = sorted(who(line) for line in about(log, "gone"))
    assert gone == [(1, "ada", "phone"), (2, "bob", "tab"), (4, "ada", "phone")]


async def test_each_connection_ends_with_one_line_whoever_ends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = logging(monkeypatch, "info")
    async with serve(dev_settings(tmp_path)) as hub:
        async with hub.live_device("ada") as phone:
            await phone.say(type="no such message")
            await phone.hear()
        async with hub.live_device("ada"):
            pass
        await told(log, "gone")
        async with hub.session.ws_connect(hub.websocket_url, protocols=SPOKEN) as stranger:
            await stranger.send_str("no hello")
            await stranger.receive()
        await told(log, "closed", 2)
    ends = [(line["event"], line["connection"]) for line in about(log, "closed", "gone")]
    assert ends == [("closed", 1), ("gone", 2), ("closed", 3)]


async def test_a_bug_in_a_session_names_whose_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def fails(*_: Any) -> None:
        raise RuntimeError("ours")

    log = logging(monkeypatch, "error")
    async with serve(dev_settings(tmp_path)) as hub:
        monkeypatch.setattr(Session, "_greet", fails)
        async with hub.session.ws_connect(hub.websocket_url, protocols=SPOKEN) as socket:
            await socket.send_json({**HELLO, "token": "ada", "device": "phone"})
            await socket.receive()
        (line,) = await told(log, "session failed")
    assert who(line) == (1, "ada", "phone")
    assert "RuntimeError: ours" in line["exception"]


async def test_a_device_that_answers_no_pings_is_named_when_it_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = logging(monkeypatch, "info")
    limits = Limits(ping_seconds=0.2, ping_timeout_seconds=0.4)
    async with (
        serve(dev_settings(tmp_path, limits=limits)) as hub,
        hub.session.ws_connect(hub.websocket_url, autoping=False, protocols=SPOKEN) as socket,
    ):
        await socket.send_json({**HELLO, "token": "ada", "device": "phone"})
        (line,) = await told(log, "cut off")
        await told(log, "gone")
    assert who(line) == (1, "ada", "phone")
    assert line["why"] == "no answer to pings"


async def test_what_others_log_on_behalf_of_a_device_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Here the store, which knows nothing of connections."""
    log = logging(monkeypatch, "info")
    real = SqliteStore.count

    async def says(self: SqliteStore, user: str, after: int) -> int:
        structlog.get_logger("store").info("counting")
        return await real(self, user, after)

    monkeypatch.setattr(SqliteStore, "count", says)
    async with serve(dev_settings(tmp_path)) as hub, hub.live_device("ada") as phone:
        edit = {"id": "e", "logical_clock": 0, "utc_timestamp": 1, "type": "create"}
        diff = {**edit, "model": "tasks", "json_data": {"id": "t1"}}
        await phone.say(type="push", push_id=1, diffs=[diff])
        await phone.hear()
        async with hub.live_device("ada", "tab"):
            pass
    assert [who(line) for line in about(log, "counting")] == [(2, "ada", "tab")]


# Over HTTP


async def poll(hub: ServedHub, token: str, **request: Any) -> int:
    said = {"auth_token": token, "logical_clock": 0, "diffs": [], **request}
    return (await hub.ask("POST", "/sync", json=said)).status


async def test_a_request_has_a_number_and_a_poll_its_user_and_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Though they come by one connection, on which the hub has one task."""
    log = logging(monkeypatch, "info")
    async with serve(dev_settings(tmp_path)) as hub:
        assert await poll(hub, "ada") == 200
        assert await poll(hub, "ada", logical_clock=7) == 409
        assert await poll(hub, "\0") == 401
    found = [
        (line["request"], line.get("user"), line.get("device"))
        for line in about(log, "poll", "request refused")
    ]
    assert found == [(1, "ada", "mobync"), (2, "ada", "mobync"), (3, None, None)]


async def test_a_bug_in_a_request_names_whose_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def fails(*_: Any) -> None:
        structlog.contextvars.bind_contextvars(user="ada")
        raise RuntimeError("ours")

    log = logging(monkeypatch, "error")
    monkeypatch.setattr(app, "poll", fails)
    async with serve(dev_settings(tmp_path)) as hub, aiohttp.ClientSession():
        assert await poll(hub, "ada") == 500
    (line,) = about(log, "request failed")
    assert (line["request"], line["user"], line["route"]) == (1, "ada", "/sync")
