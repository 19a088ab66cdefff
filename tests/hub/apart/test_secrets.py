"""No secret is ever in a log line, an error, an answer, the process list, or the name of a file.

A hub runs with all of its logs on, and is led into every kind of failure with tokens and values
that are marked; so are its secret, and the settings that an operator gets wrong, and it is given a
bug of its own. Whatever it then has said, to whomever, is searched for the marks.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import jwt
import pytest
from click.testing import CliRunner
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from client import Device
from hub import logs
from hub.auth import Secret
from hub.cli import main
from hub.server import serving
from hub.settings import Settings
from protocol.messages import Auth, Hello
from tests.crash.processes import READY
from tests.hub.apart.two import edit

MARK: Final = "9x7q"
"""In every secret; nothing else has it."""
SECRET: Final = f"the-token-secret-{MARK}-of-this-hub-and-long-enough"
VALUE: Final = f"what-a-user-wrote-{MARK}"
FORGER: Final = f"a-forgers-own-{MARK}-secret-and-long-enough"
HIDDEN: Final = f"claim-{MARK}"
BUGS: Final = """
import hub.renewal, hub.http.app
from hub.cli import main

def fail(*secrets, **more):
    raise RuntimeError("a bug")

hub.renewal.Renewal.renew = fail
hub.http.app.Health.trouble = fail
main()
"""
"""A hub that fails in its own code while it holds a frame, and while it answers a request."""
RULES: Final = """
def rule(user, diff, current):
    raise ValueError(f"{user} wrote {diff}, over {current}")
"""


HARM: Final[set[str]] = {MARK}
"""What must not be found: the mark in clear, and of every token that was made its claims and its
signature."""


def token(secret: str = SECRET, **claims: object) -> str:
    now = int(time.time())
    said = {"sub": "ada", "exp": now + 3600, "iat": now, "secret": HIDDEN, **claims}
    made = jwt.PyJWS().encode(json.dumps(said).encode(), secret.encode(), "HS256")
    HARM.update(made.split(".")[1:])
    return made


def bad_tokens() -> list[Any]:
    """Tokens of every kind that is refused."""
    good = token()
    forged, unsigned = token(FORGER), ".".join((*good.split(".")[:2], ""))
    claims: list[Any] = [{"sub": 5}, {"sub": ""}, {"sub": f"a\0{MARK}"}, {"exp": 1}, {"nbf": 2**40}]
    claims += [{"aud": f"for-{MARK}"}, {"exp": f"soon-{MARK}"}, {"device": f"not-{MARK}"}]
    wrong = [token(**each) for each in claims]
    return [
        *(f"garbage-{MARK}", f"garbage-{MARK}." * 3, f"ünlike-{MARK}", forged, unsigned, *wrong),
        *(
            [f"list-{MARK}"],
            {"token": f"object-{MARK}"},
            f"long-{MARK}" * 3000,
            f"half-{MARK}\ud800",
        ),
    ]


def leaks(said: str) -> list[str]:
    """The lines that have a secret in them."""
    return [line[:300] for line in said.splitlines() if any(harm in line for harm in HARM)]


# The hub, as a process


@contextmanager
def a_hub(folder: Path, log_format: str, *, bugs: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A hub that serves, says all it can, and is stopped in good order."""
    (folder / "secret").write_text(SECRET)
    (folder / "secret").chmod(0o600)
    (folder / "strict_rules.py").write_text(RULES)
    code = ["-c", BUGS] if bugs else ["-c", "from hub.cli import main; main()"]
    words = [
        *("serve", "--token-secret-file", "secret", "--port", "0", "--http-port", "0"),
        *("--log-level", "debug", "--log-format", log_format, "--policy", "strict_rules:rule"),
        *("--max-frame-bytes", "20000", "--max-object-bytes", "10000", "--max-body-bytes", "20000"),
        *("--hello-seconds", "2"),
    ]
    with (folder / "hub.log").open("a") as log:
        hub = subprocess.Popen(
            [sys.executable, *code, *words],
            cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True,
            env={**os.environ, "PYTHONASYNCIODEBUG": "1", "PYTHONFAULTHANDLER": "1"},
        )  # fmt: skip
    try:
        yield hub
    finally:
        hub.send_signal(signal.SIGTERM)
        assert hub.stdout is not None
        hub.stdout.close()
        assert hub.wait(30) == 0


def urls(hub: "subprocess.Popen[str]") -> tuple[str, str]:
    assert hub.stdout is not None
    ready = READY.match(hub.stdout.readline())
    assert ready
    return ready[1], ready[3]


# All kinds of failure; what each answers is kept

SUBPROTOCOL: Final = Subprotocol("mobync.v1")


@asynccontextmanager
async def connected(url: str, said: list[str]) -> AsyncIterator[Any]:
    """A connection; what it is told goes to `said`, up to its end, an ack or a pong."""
    try:
        async with connect(
            url, subprotocols=[SUBPROTOCOL], proxy=None, max_size=None
        ) as connection:
            yield connection
            async with asyncio.timeout(20):
                kind = ""
                while kind not in ("ack", "pong"):
                    said.append(str(await connection.recv()))
                    kind = json.loads(said[-1])["type"]
    except WebSocketException as error:
        said.append(f"{error}")


async def greeted_and_told(connection: Any, device: str, message: dict[str, Any]) -> None:
    """What a device says once it is live, and a ping behind what has no ack."""
    await connection.send(json.dumps(hello(token(), device)))
    while '"type":"ready"' not in await connection.recv():
        pass
    await connection.send(json.dumps({"push_id": 1, **message}))
    if message["type"] != "push":
        await connection.send('{"type": "ping"}')


def hello(token: object, device: object = "phone", **more: object) -> dict[str, Any]:
    return {"type": "hello", "token": token, "device": device, "logical_clock": 0, **more}


def bad_frames() -> Iterator[str | bytes]:
    """First frames that end a connection, each with something that nobody should read again."""
    for bad in bad_tokens():
        yield json.dumps(hello(bad))
    good = json.dumps(hello(token()))
    yield from (good[:-1], good + good, good.encode(), good.replace('"hello"', f'"hello{MARK}"'))
    yield json.dumps(hello(token(), 5))
    yield json.dumps(hello(token(), [token()]))
    yield json.dumps(hello(token(), logical_clock=token()))
    yield json.dumps(hello(token(), "mobync"))
    yield json.dumps({"type": token(), "token": token()})
    yield json.dumps({"type": "auth", "token": token()})
    yield json.dumps({token(): token()})
    yield json.dumps([token()])
    yield json.dumps(token())
    yield json.dumps(hello(token(), more="x" * 30_000))


def bad_pushes() -> Iterator[dict[str, Any]]:
    """Messages of a greeted device that end its connection, or of which parts are refused."""
    sound = edit("create", "n1", model="m", text=VALUE)
    for field in sound:
        for wrong in (VALUE * 30, [VALUE], {VALUE: VALUE}, 2**70, None):
            yield {"type": "push", "diffs": [{**sound, field: wrong}]}
    yield {
        "type": "push",
        "diffs": [sound, VALUE, [VALUE], {VALUE: 1}, edit("update", "n9", text=VALUE)],
    }
    yield {"type": "push", "diffs": {VALUE: VALUE}}
    yield {"type": "push", "diffs": [sound] * 1001}
    yield {"type": "push", "diffs": [], VALUE: VALUE}
    yield {"type": "push", "push_id": VALUE, "diffs": [sound]}
    yield {
        "type": "push",
        "diffs": [edit("create", "n2", text="x" * 9_000 + VALUE * 90)],
    }
    yield {"type": "received", "logical_clock": VALUE}
    yield {"type": "ping", "nonce": [VALUE]}
    yield {"type": VALUE, VALUE: VALUE}
    for bad in bad_tokens():
        yield {"type": "auth", "token": bad}
    yield {"type": "auth", "token": token(sub="grace")}
    yield hello(token())


async def fail_over_websockets(url: str) -> list[str]:
    said: list[str] = []
    for frame in bad_frames():
        async with connected(url, said) as connection:
            await connection.send(frame)
    for message in bad_pushes():
        async with connected(url, said) as connection:
            await greeted_and_told(connection, f"phone {len(said)}", message)
    return said


async def fail_over_http(url: str) -> list[str]:
    """Polls of every kind that is refused."""
    sound = {"auth_token": token(), "logical_clock": 0, "diffs": []}
    bodies: list[Any] = [{**sound, "auth_token": bad} for bad in bad_tokens()]
    bodies += [{**sound, "logical_clock": wrong} for wrong in (VALUE, 7, [token()])]
    bodies += [{**sound, "diffs": wrong} for wrong in (VALUE, {token(): VALUE}, [VALUE])]
    for diff in (
        edit("create", "n1", text=VALUE),
        edit(VALUE, "n1", diff="d"),
        edit("update", "n1", text=VALUE),
    ):
        text = {**diff, "json_data": json.dumps(diff["json_data"])}
        bodies += [{**sound, "diffs": [diff]}, {**sound, "diffs": [text]}]
    texts = [json.dumps(each) for each in bodies]
    texts += [json.dumps(sound)[:-2], json.dumps(sound) * 2, token(), f"{VALUE}" * 5000]
    said: list[str] = []
    bearer = {"Authorization": f"Bearer {token()}", "Cookie": f"token={token()}"}
    async with aiohttp.ClientSession(headers=bearer) as session:
        for body in texts:
            async with session.post(f"{url}/sync?token={token()}", data=body) as answer:
                said.append(f"{answer.status} {answer.headers} {await answer.text()}")
        for path in (f"/{token()}", f"/sync?token={token()}", "/sync/", f"/healthz?{token()}"):
            async with session.get(url + path) as answer:
                said.append(f"{answer.status} {answer.headers} {await answer.text()}")
    return said


def broken_requests() -> Iterator[bytes]:
    """What is no HTTP, or not what it should be, with a token in it."""
    get, host = b"GET /sync HTTP/1.1\r\n", b"Host: a\r\n"
    bearer, end = f"Authorization: Bearer {token()}".encode(), b"\r\n\r\n"
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    yield get + host + bearer + b"\0" + end
    yield get + host + bearer + b"\x7f\xff" + b"\rX: y" + end
    yield get + host + bearer.replace(b": ", b"\x01: ") + end
    yield get + host + bearer.replace(b":", b" ") + end
    yield get + host + (bearer + b"\r\n") * 200 + end
    yield bearer + end
    yield f"GET /sync?token={token()} HTTP/9.9\r\n".encode() + host + end
    yield f"GET /sync?token={token()} \0 HTTP/1.1\r\n".encode() + host + end
    yield f"{token()} /sync HTTP/1.1\r\n".encode() + host + end
    yield get + host + upgrade + f"Sec-WebSocket-Key: {token()}".encode() + end
    yield get + host + upgrade + f"Sec-WebSocket-Protocol: mobync.v1, {token()}".encode() + end
    yield get + host + upgrade + f"Sec-WebSocket-Protocol: {token()}\0".encode() + end
    key = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    yield get + host + upgrade + key + f"Sec-WebSocket-Protocol: {token()}".encode() + end
    yield get + host + upgrade + key + f"Sec-WebSocket-Extensions: {token()};;".encode() + end
    yield get + host + upgrade + key + f"Origin: {token()}\r\nOrigin: b".encode() + end
    yield f"GET /{token()} HTTP/1.1\r\n".encode() + host + upgrade + key + end
    post = b"POST /sync HTTP/1.1\r\n" + host
    yield post + f"Content-Length: {token()}".encode() + end
    yield post + b"Transfer-Encoding: chunked" + end + f"{token()}\r\n".encode()
    yield post + b"Transfer-Encoding: chunked" + end + f"5;{token()}\0\r\n".encode()
    yield post + b"Content-Encoding: gzip\r\nContent-Length: 900" + end + token().encode() * 9
    yield (
        post + f"Content-Type: a; charset={token()}\r\nContent-Length: 9".encode() + end + b"x" * 9
    )


async def fail_below_http(*addresses: str) -> list[str]:
    said = []
    for address, request in itertools.product(addresses, broken_requests()):
        host, port = address.split("/")[2].rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        with contextlib.suppress(ConnectionError):
            writer.write(request)
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(), 20)
            said.append(answer.decode(errors="replace"))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return said


async def fail_in_all_ways(websocket_url: str, http_url: str) -> list[str]:
    return await fail_over_websockets(websocket_url) + await fail_over_http(http_url)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_secret_is_in_the_log_nor_in_what_anybody_is_told(
    tmp_path: Path, log_format: str
) -> None:
    with a_hub(tmp_path, log_format) as hub:
        websocket_url, http_url = urls(hub)
        answers = "\n".join(asyncio.run(fail_in_all_ways(websocket_url, http_url)))
        # What is no HTTP may be quoted to whoever sent it, and to nobody else.
        quoted = asyncio.run(fail_below_http(websocket_url, http_url))
    log = (tmp_path / "hub.log").read_text()
    assert leaks(log) == []
    assert leaks(answers) == []
    assert not any(SECRET in answer for answer in quoted)
    assert "aiohttp.server" in log
    assert log.count("closed") > 50
    for told in ("unauthorized", "bad_message", "invalid_diff", "policy_error", "4400", "4401"):
        assert told in answers, told


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_secret_is_in_the_traceback_of_a_bug(tmp_path: Path, log_format: str) -> None:
    """One with a token in hand, and one with a request."""

    async def meet_bugs(websocket_url: str, http_url: str) -> str:
        said: list[str] = []
        async with connected(websocket_url, said) as connection:
            await greeted_and_told(connection, "phone", {"type": "auth", "token": token()})
        async with aiohttp.ClientSession() as session:
            for path in (f"/readyz?token={token()}", f"/{token()}"):
                async with session.get(http_url + path) as answer:
                    said.append(await answer.text())
        return "\n".join(said)

    with a_hub(tmp_path, log_format, bugs=True) as hub:
        answers = asyncio.run(meet_bugs(*urls(hub)))
    log = (tmp_path / "hub.log").read_text()
    assert log.count("RuntimeError: a bug") == 2
    assert leaks(log) == []
    assert leaks(answers) == []


def test_no_secret_is_in_the_process_list_nor_in_the_environment(tmp_path: Path) -> None:
    with a_hub(tmp_path, "json") as hub:
        urls(hub)
        about = Path(f"/proc/{hub.pid}")
        if not about.exists():
            pytest.skip("this system has no /proc")
        for name in ("cmdline", "environ"):
            assert leaks((about / name).read_text().replace("\0", "\n")) == [], name


# Settings and verbs


def verb(*words: str | Path, **environment: str) -> str:
    """All that a command says."""
    done = CliRunner().invoke(main, [str(word) for word in words], env=environment)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.output


def test_no_secret_is_in_what_is_said_of_settings_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among them the mistake to give the secret where the name of its file is wanted."""
    monkeypatch.chdir(tmp_path)
    slashed = f"ab/{SECRET}/cd"
    pem = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"
    files = {"short": MARK, "pem": pem}
    tables = {
        "wrong.toml": f"token_secret = '{SECRET}'",
        "broken.toml": f"token_secret = {SECRET}",
        "torn.toml": f'token_secret = "{SECRET}',
        "itself.toml": f"token_secret_file = '{SECRET}'",
    }
    for name, text in (files | tables).items():
        (tmp_path / name).write_text(text)
    said = [verb("serve", "--config", name) for name in tables]
    for flag in ("--token-secret-file", "--token-key-file"):
        said += [verb("serve", flag, name) for name in (*files, SECRET, slashed, SECRET * 20)]
        said.append(verb("serve", MOBYNC_TOKEN_SECRET_FILE=SECRET))
    said += [verb("serve", f"--token-secret={SECRET}"), verb("serve", "--token-secret", SECRET)]
    said += [verb("serve", "--token-secret-file", "pem", "--token-key-file", "pem")]
    said += [verb("serve", "--dev", "--data", "x.db", "--config", "wrong.toml")]
    for flag in ("--secret-file", "--key-file"):
        said += [verb("token", "--user=ada", flag, name) for name in (*files, SECRET, slashed)]
    assert leaks("\n".join(said)) == []
    assert all(said)


def test_no_secret_is_in_what_the_verbs_say_nor_in_the_names_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "configure", lambda *_: None)

    async def use(websocket_url: str, _http_url: str) -> None:
        async with connected(websocket_url, []) as connection:
            diffs = [edit("create", "n1", model="m", diff="d", text=VALUE)]
            message = {"type": "push", "diffs": diffs}
            await greeted_and_told(connection, "phone", message)

    with a_hub(tmp_path, "json") as hub:
        asyncio.run(use(*urls(hub)))
    data, copy = tmp_path / "hub.db", tmp_path / "copy.db"
    said = [verb("backup", copy, "--data", data), verb("restore", copy, "--data", data)]
    said += [verb("refills", "--data", data), verb("settings"), verb("serve", "--help")]
    said += [verb("settings", MOBYNC_TOKEN_SECRET_FILE=SECRET)]
    said += [verb("doctor", "--data", data, MOBYNC_TOKEN_SECRET_FILE=SECRET)]
    said += [verb("serve", "--help", MOBYNC_TOKEN_SECRET_FILE=SECRET)]
    assert leaks("\n".join(said)) == []
    names = [each.name for each in tmp_path.iterdir()]
    assert leaks("\n".join(names)) == []
    assert [name for name in names if "ada" in name or "phone" in name] == []


def test_what_a_hub_writes_nobody_else_on_the_machine_can_read(tmp_path: Path) -> None:
    """The data, the WAL and the lock, while it serves and after."""
    made = ("hub.db", "hub.db-wal", "hub.db-shm", "hub.db-lock")
    with a_hub(tmp_path, "json") as hub:
        urls(hub)
        serving = {n: oct((tmp_path / n).stat().st_mode & 0o777) for n in made}
    assert serving == dict.fromkeys(made, "0o600")


# Inside


def test_what_holds_a_secret_does_not_show_it() -> None:
    """Whatever may come to print it: a log, a debugger, the message of an exception."""
    kept = (Secret("HS256", SECRET.encode()), Hello(token=token(), device="phone", logical_clock=0))
    assert leaks(f"{kept!r} {Auth(token())} {[*kept]}") == []


async def test_a_device_shows_its_token_to_the_hub_and_in_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An application that logs all that its libraries say: websockets shows each frame."""
    caplog.set_level(logging.DEBUG)
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o600)
    settings = Settings(
        token_secret_file=tmp_path / "secret", port=0, http_port=0, data=tmp_path / "hub.db"
    )
    async with serving(settings) as (url, _http):
        for shown in (token(), token(FORGER), f"garbage-{MARK}"):
            async with Device(url, token=shown, name="phone") as device:
                caplog.clear()
                await device.create("m", {"id": "n1"})
                with contextlib.suppress(Exception):
                    await device.synchronize(1)
                assert leaks(f"{device!r} {device.status}") == []
                assert leaks(caplog.text) == []
