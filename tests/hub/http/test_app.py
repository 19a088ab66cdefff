"""The HTTP listener: what every request may count on, and what none can do to the others."""

import asyncio
import contextlib
import gzip
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import aiohttp
import pytest
from structlog.testing import capture_logs

from hub.auth import Grant, make_token, read_secret
from hub.errors import SettingsError
from hub.http import app, health
from hub.http.app import listening
from hub.limits import Limits
from hub.settings import Settings
from hub.store.errors import StoreFailed
from tests.hub.fakes import Site, a_hub
from tests.hub.http.served import Reply, ServedHub, dev_settings, serve

MEGABYTE = 1_000_000
NOTHING = {"auth_token": "ada", "logical_clock": 0, "diffs": []}
Json = dict[str, Any]


def request(*names: str, text: str = "") -> Json:
    return {**NOTHING, "diffs": [create(name, text) for name in names]}


def create(name: str, text: str = "") -> Json:
    return {
        "id": f"made-{name}",
        "owner": "a constant",
        "logical_clock": 0,
        "utc_timestamp": 1_700_000_000_000,
        "type": "create",
        "model": "tasks",
        "json_data": json.dumps({"id": name, "text": text}),
    }


def is_failure(reply: Reply, status: int) -> bool:
    """Whether it is refused in mobync's words, and nothing else is told."""
    said = reply.json
    is_said = said["success"] is False and isinstance(said["message"], str) and len(said) == 2
    return reply.status == status and is_said and "Traceback" not in said["message"]


@asynccontextmanager
async def a_site(path: Path, limits: Limits | None = None) -> AsyncIterator[tuple[Site, ServedHub]]:
    """A hub in the test's hand, over HTTP."""
    limits = limits or Limits()
    async with (
        a_hub(path / "hub.db", limits=limits) as site,
        listening(site.hub, dev_settings(path, limits=limits)) as url,
        aiohttp.ClientSession() as session,
    ):
        yield site, ServedHub("", url, session)


# Requests that are none


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"no JSON", 400),
        (b"null", 400),
        (b'{"auth_token": "ada", "diffs": []}', 400),
        (b'{"auth_token": "ada", "logical_clock": -1, "diffs": []}', 400),
        (b'{"auth_token": "ada", "logical_clock": 0, "diffs": 5}', 400),
        (b"[" * 100_000, 400),
        (b"\xff\xfe\x00", 400),
        (b'{"logical_clock": 0, "diffs": []}', 401),
        (b'{"auth_token": "", "logical_clock": 0, "diffs": []}', 401),
        (b'{"auth_token": {"a": 1}, "logical_clock": 0, "diffs": []}', 401),
        (b'{"auth_token": "ada", "logical_clock": 1, "diffs": []}', 409),
    ],
)
async def test_what_is_no_request_is_refused_in_mobync_s_words(
    served: ServedHub, body: bytes, status: int
) -> None:
    assert is_failure(await served.ask("POST", "/sync", data=body), status)
    assert (await served.ask("POST", "/sync", json=NOTHING)).status == 200


async def test_the_body_counts_whatever_type_it_is_said_to_have(served: ServedHub) -> None:
    headers = {"Content-Type": "text/plain; charset=latin-1"}
    reply = await served.ask("POST", "/sync", data=json.dumps(NOTHING), headers=headers)
    assert reply.status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/sync", 405), ("PUT", "/sync", 405), ("POST", "/readyz", 405), ("GET", "/", 404)],
)
async def test_other_ways_and_places_are_refused_as_json(
    served: ServedHub, method: str, path: str, status: int
) -> None:
    assert is_failure(await served.ask(method, path), status)


async def test_a_body_above_the_limit_is_too_large(tmp_path: Path) -> None:
    limits = Limits(max_body_bytes=2000, max_object_bytes=2000)
    async with serve(dev_settings(tmp_path, limits=limits)) as served:
        body = json.dumps(NOTHING).encode()
        just = body + b" " * (2000 - len(body))
        assert (await served.ask("POST", "/sync", data=just)).status == 200
        assert is_failure(await served.ask("POST", "/sync", data=just + b" "), 413)


async def test_a_body_above_the_limit_is_too_large_though_it_does_not_say_so(
    tmp_path: Path,
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _number in range(100):
            yield b" " * 1000

    limits = Limits(max_body_bytes=2000, max_object_bytes=2000)
    async with serve(dev_settings(tmp_path, limits=limits)) as served:
        assert is_failure(await served.ask("POST", "/sync", data=endless()), 413)


@pytest.mark.parametrize(
    "body", [b"no gzip", gzip.compress(json.dumps(NOTHING).encode())], ids=["not even", "sound"]
)
async def test_a_compressed_body_is_not_taken(served: ServedHub, body: bytes) -> None:
    headers = {"Content-Encoding": "gzip"}
    assert is_failure(await served.ask("POST", "/sync", data=body, headers=headers), 415)


async def test_a_large_request_is_stored_and_told_whole(served: ServedHub) -> None:
    """Large enough for a thread on its way in, and on its way out."""
    names = [f"x{number}" for number in range(300)]
    assert (await served.post(request(*names, text="x" * 1000)))["logical_clock"] == 1
    answer = await served.post(NOTHING)
    assert [json.loads(each["json_data"])["id"] for each in answer["diffs"]] == names


async def test_no_answer_tells_which_software_runs_here(served: ServedHub) -> None:
    for method, path in (("POST", "/sync"), ("GET", "/healthz"), ("GET", "/nowhere")):
        reply = await served.ask(method, path)
        assert "server" not in reply.headers
        assert reply.headers["content-type"].startswith("application/json")


# Tokens


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("s" * 40)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("grant", "status"),
    [
        (Grant("ada"), 200),
        (Grant("ada", device="mobync"), 200),
        (Grant("ada", device="phone"), 403),
        (Grant("ada", expires=1000), 401),
    ],
)
async def test_a_token_counts_as_it_does_on_a_socket(
    tmp_path: Path, secret_file: Path, grant: Grant, status: int
) -> None:
    settings = Settings(
        token_secret_file=secret_file, port=0, http_port=0, data=tmp_path / "hub.db"
    )
    token = make_token(read_secret(secret_file), grant)
    async with serve(settings) as served:
        reply = await served.ask("POST", "/sync", json={**NOTHING, "auth_token": token})
        assert reply.status == status


async def test_a_reader_s_edits_are_refused_and_all_else_is_told(
    tmp_path: Path, secret_file: Path
) -> None:
    settings = Settings(
        token_secret_file=secret_file, port=0, http_port=0, data=tmp_path / "hub.db"
    )
    reads = make_token(read_secret(secret_file), Grant("ada", read_only=True))
    async with serve(settings) as served:
        reply = await served.ask("POST", "/sync", json={**request("x"), "auth_token": reads})
        assert reply.status == 200
        assert "made-x (forbidden" in reply.json["message"]
        assert [each["type"] for each in reply.json["diffs"]] == ["delete"]


# Trouble


async def test_a_failing_store_is_said_as_trouble_that_passes(tmp_path: Path) -> None:
    async with a_site(tmp_path) as (site, served):
        site.store.failures = 1
        assert is_failure(await served.ask("POST", "/sync", json=request("x")), 503)
        assert (await served.post(request("x")))["logical_clock"] == 1


async def test_a_bug_ends_one_request_and_tells_nothing_of_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_args: object) -> NoReturn:
        raise LookupError("the secret of ada")

    async with a_site(tmp_path) as (_site, served):
        with monkeypatch.context() as patch, capture_logs() as logs:
            patch.setattr(app, "poll", fails)
            reply = await served.ask("POST", "/sync", json=NOTHING)
        assert is_failure(reply, 500)
        assert "ada" not in reply.json["message"]
        assert [line["event"] for line in logs if line["log_level"] == "error"] == [
            "request failed"
        ]
        assert (await served.ask("POST", "/sync", json=NOTHING)).status == 200


async def test_bad_input_leaves_one_quiet_line(tmp_path: Path) -> None:
    async with a_site(tmp_path) as (_site, served):
        with capture_logs() as logs:
            await served.ask("POST", "/sync", data=b"no JSON")
        assert [(line["event"], line["log_level"]) for line in logs] == [
            ("request refused", "info")
        ]


async def test_no_more_requests_at_once_than_may_be_nameless(tmp_path: Path) -> None:
    async with a_site(tmp_path, Limits(max_ungreeted=1)) as (site, served):
        site.store.hold()
        first = asyncio.create_task(served.ask("POST", "/sync", json=request("x")))
        await site.store.reached()
        assert is_failure(await served.ask("POST", "/sync", json=NOTHING), 503)
        site.store.let_go()
        assert (await first).status == 200
        assert (await served.ask("POST", "/sync", json=NOTHING)).status == 200


async def test_a_body_that_does_not_come_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(app, "LINGER_SECONDS", 0.2)
    async with a_site(tmp_path) as (_site, served), a_socket(served.url) as (reader, writer):
        writer.write(b"POST /sync HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        await reader.read()
        assert (await served.ask("POST", "/sync", json=NOTHING)).status == 200


async def test_a_hub_that_is_too_slow_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "REQUEST_SECONDS", 0.2)
    async with a_site(tmp_path) as (site, served):
        site.store.hold()
        assert is_failure(await served.ask("POST", "/sync", json=request("x")), 503)
        site.store.let_go()
        assert (await served.post(request("x")))["logical_clock"] == 1


async def test_a_peer_that_does_not_take_its_answer_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "ANSWER_SECONDS", 0.3)
    async with a_site(tmp_path) as (_site, served):
        await fill(served, pushes=14)
        async with a_socket(served.url) as (reader, writer):
            writer.write(posted(NOTHING))
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(0.6)  # The time that the hub gives it.
            assert await bytes_to_the_end(reader) < 12 * MEGABYTE
        assert (await served.ask("GET", "/healthz")).status == 200


async def fill(served: ServedHub, pushes: int) -> None:
    """Give the hub that many megabytes to tell."""
    for number in range(pushes):
        names = (f"{number}-{n}" for n in range(10))
        await served.post(request(*names, text="x" * (MEGABYTE // 11)))


async def bytes_to_the_end(reader: asyncio.StreamReader) -> int:
    count = 0
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(2**16):
            count += len(chunk)
    return count


def posted(value: Json) -> bytes:
    body = json.dumps(value).encode()
    return b"POST /sync HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@asynccontextmanager
async def a_socket(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**16)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


# Health


async def test_a_hub_that_serves_is_alive_and_ready(served: ServedHub) -> None:
    assert (await served.ask("GET", "/healthz"))[:2] == (200, {"alive": True})
    assert (await served.ask("GET", "/readyz"))[:2] == (200, {"ready": True})


async def test_a_hub_that_stops_is_alive_and_not_ready(tmp_path: Path) -> None:
    async with a_site(tmp_path) as (site, served):
        site.hub.stopping = True
        assert (await served.ask("GET", "/healthz")).status == 200
        reply = await served.ask("GET", "/readyz")
        assert reply[:2] == (503, {"ready": False, "message": "the hub stops"})
        assert is_failure(await served.ask("POST", "/sync", json=NOTHING), 503)


async def test_a_hub_whose_store_fails_is_not_ready_until_it_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails() -> NoReturn:
        raise StoreFailed("disk on fire")

    async with a_site(tmp_path) as (site, served):
        with monkeypatch.context() as patch:
            patch.setattr(site.store, "sizes", fails)
            reply = await served.ask("GET", "/readyz")
        assert reply[:2] == (503, {"ready": False, "message": "the store failed"})
        assert (await served.ask("GET", "/readyz")).status == 200


async def test_a_store_that_does_not_answer_is_asked_once_however_many_want_to_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def hangs() -> None:
        asked.append(1)
        await asyncio.Event().wait()

    monkeypatch.setattr(health, "READY_SECONDS", 0.1)
    async with a_site(tmp_path) as (site, served):
        monkeypatch.setattr(site.store, "sizes", hangs)
        replies = [await served.ask("GET", "/readyz") for _number in range(3)]
        assert [reply.status for reply in replies] == [503] * 3
        assert len(asked) == 1


# Start and stop


async def test_the_hub_says_where_it_serves_http(tmp_path: Path) -> None:
    async with serve(dev_settings(tmp_path, http_host="127.0.0.1")) as served:
        parts = urlsplit(served.url)
        assert (parts.scheme, parts.hostname, parts.path) == ("http", "127.0.0.1", "")
        assert parts.port not in (None, 0)


async def test_a_port_that_is_taken_is_said_with_its_remedy(tmp_path: Path) -> None:
    async with a_site(tmp_path) as (site, served):
        taken = urlsplit(served.url).port or 0
        settings = Settings(dev=True, http_port=taken, data=tmp_path / "hub.db")
        with pytest.raises(SettingsError, match=f"port {taken}.*choose another") as caught:
            await listening(site.hub, settings).__aenter__()
        assert caught.value.settings == ("http_host", "http_port")


async def test_a_request_under_way_ends_before_the_hub_does(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site, aiohttp.ClientSession() as session:
        async with listening(site.hub, dev_settings(tmp_path)) as url:
            served = ServedHub("", url, session)
            site.store.hold()
            asking = asyncio.create_task(served.post(request("x")))
            await site.store.reached()
            asyncio.get_running_loop().call_later(0.1, site.store.let_go)
        assert (await asking)["logical_clock"] == 1


async def test_the_hub_stops_in_time_though_peers_take_and_send_nothing(tmp_path: Path) -> None:
    settings = dev_settings(tmp_path, limits=Limits(stop_seconds=2.0))
    async with contextlib.AsyncExitStack() as peers:
        async with serve(settings) as served:
            await fill(served, pushes=14)
            for body in [posted(NOTHING), b"POST /sync HTTP/1.1\r\nContent-Length: 9\r\n\r\n"] * 10:
                _reader, writer = await peers.enter_async_context(a_socket(served.url))
                writer.write(body)
                await writer.drain()
            await served.ask("GET", "/healthz")
            began = time.monotonic()
        assert time.monotonic() - began < 2.0
