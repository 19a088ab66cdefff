"""TLS by file, on both ports: what is shown, what is refused, and how it is renewed."""

import asyncio
import contextlib
import json
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from client import Device
from hub.edge import Edge
from hub.errors import SettingsError
from hub.limits import Limits
from hub.server import listener_for, serving
from hub.settings import Settings
from hub.tls.identity import Identity, read_pair
from tests.certificates import DAY, make_pair
from tests.crash.processes import a_device, a_hub_process, in_time
from tests.hub.fakes import a_hub, create
from tests.hub.http.test_app import NOTHING

HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01"
"""How a handshake begins that says no more."""


class Files:
    """A pair of files, and who trusts in the certificate that is in them."""

    def __init__(self, folder: Path) -> None:
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.edge = Edge(tls_cert_file=self.cert, tls_key_file=self.key)

    def renew(self, **options: Any) -> None:
        make_pair(self.cert, self.key, **options)

    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.cert))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    pair = Files(tmp_path)
    pair.renew()
    return pair


def settings(folder: Path, files: Files, **limits: Any) -> Settings:
    return Settings(
        dev=True, port=0, http_port=0, data=folder / "hub.db", edge=files.edge,
        limits=Limits(**limits),
    )  # fmt: skip


def on_uvloop(test: Callable[[], Any]) -> None:
    """Run it as the hub runs."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(in_time(test(), 60))


@asynccontextmanager
async def a_socket(url: str, trust: ssl.SSLContext) -> AsyncIterator[ClientConnection]:
    name = [Subprotocol("mobync.v1")]
    async with connect(url, ssl=trust, subprotocols=name, compression=None) as connection:
        yield connection


async def is_served(connection: ClientConnection, device: str = "phone") -> None:
    hello = {"type": "hello", "token": "ada", "device": device, "logical_clock": 0}
    await connection.send(json.dumps(hello))
    while json.loads(await connection.recv())["type"] != "ready":
        pass


async def pongs(connection: ClientConnection) -> bool:
    await connection.send('{"type": "ping"}')
    return bool(json.loads(await connection.recv())["type"] == "pong")


# What is spoken


def test_both_ports_speak_tls(tmp_path: Path, files: Files) -> None:
    async def both() -> None:
        async with serving(settings(tmp_path, files)) as (socket_url, http_url):
            assert (socket_url[:6], http_url[:8]) == ("wss://", "https://")
            async with a_socket(socket_url, files.trusted()) as phone:
                await is_served(phone)
            async with aiohttp.ClientSession() as session:
                asked = session.post(f"{http_url}/sync", json=NOTHING, ssl=files.trusted())
                async with asked as answer:
                    assert answer.status == 200

    on_uvloop(both)


def test_the_python_device_syncs_over_tls(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which authorities it trusts, OpenSSL decides: SSL_CERT_FILE adds one's own."""
    monkeypatch.setenv("SSL_CERT_FILE", str(files.cert))

    async def sync() -> None:
        async with serving(settings(tmp_path, files)) as (url, _http):
            async with Device(url, token="ada", name="phone") as phone:
                await phone.create("tasks", {"id": "t", "text": "x" * 200_000})
                await phone.synchronize(20)
            async with Device(url, token="ada", name="laptop") as laptop:
                await laptop.synchronize(20)
                assert len((await laptop.read("tasks"))[0]["text"]) == 200_000

    on_uvloop(sync)


@pytest.mark.parametrize(
    ("version", "is_spoken"),
    [
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
def test_tls_is_spoken_from_1_2_up(
    tmp_path: Path, files: Files, version: ssl.TLSVersion, is_spoken: bool
) -> None:
    trust = files.trusted()
    trust.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(match="TLSv1_1") if not is_spoken else contextlib.nullcontext():
        trust.minimum_version = trust.maximum_version = version

    async def speak() -> None:
        async with serving(settings(tmp_path, files)) as (url, _http):
            if is_spoken:
                async with a_socket(url, trust) as phone:
                    await is_served(phone)
            else:
                with pytest.raises(OSError):  # noqa: PT011 - by an alert, or by hanging up
                    async with a_socket(url, trust):
                        pass

    on_uvloop(speak)


def distrust(url: str) -> None:
    """Come as who does not know the authority, and say so by an alert as OpenSSL's programs do."""
    host, port = url.split("/")[2].split(":")
    trust = ssl.create_default_context()
    with (
        socket.create_connection((host, int(port))) as line,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        trust.wrap_socket(line, server_hostname=host)


def test_who_does_not_trust_the_certificate_and_who_speaks_no_tls_is_counted(
    tmp_path: Path, files: Files
) -> None:
    async def refuse() -> None:
        async with serving(settings(tmp_path, files)) as (url, http_url):
            await asyncio.to_thread(distrust, url)
            await cut_off_after(url, b"no TLS at all\r\n\r\n")
            async with a_socket(url, files.trusted()) as phone, aiohttp.ClientSession() as session:
                await is_served(phone)
                async with session.get(f"{http_url}/metrics", ssl=files.trusted()) as answer:
                    shown = await answer.text()
        assert 'mobync_handshakes_refused_total{reason="tls"} 2.0' in shown

    on_uvloop(refuse)


def test_a_handshake_that_takes_too_long_is_counted_and_one_whose_peer_hangs_up_is_not(
    tmp_path: Path, files: Files
) -> None:
    """A crowd of half-open handshakes filled the door, and no figure that is watched moved."""

    async def stall() -> None:
        chosen = settings(tmp_path, files, hello_seconds=0.5)
        async with serving(chosen) as (url, http_url):
            host, port = url.split("/")[2].split(":")
            for said in (b"", HALF_A_HELLO):
                await cut_off_after(url, said)
                _reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(said)
                await writer.drain()
                writer.close()
            await cut_off_after(url, HALF_A_HELLO)
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{http_url}/metrics", ssl=files.trusted()) as answer,
            ):
                shown = await answer.text()
        assert 'mobync_handshakes_refused_total{reason="too_slow"} 3.0' in shown
        assert 'mobync_handshakes_refused_total{reason="tls"} 0.0' in shown

    on_uvloop(stall)


async def cut_off_after(url: str, said: bytes = b"") -> float:
    """Seconds until a plain connection that says this is cut off."""
    loop, (host, port) = asyncio.get_running_loop(), url.split("/")[2].split(":")
    began = loop.time()
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(said)
    with contextlib.suppress(ConnectionError):
        await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return loop.time() - began


def test_a_handshake_that_does_not_go_on_is_cut_off_in_time_and_counts_no_more(
    tmp_path: Path, files: Files
) -> None:
    """As many as may be under way at once, on both ports, again and again; then others come in."""

    async def crowd() -> None:
        chosen = settings(tmp_path, files, hello_seconds=0.5, max_ungreeted=4)
        async with serving(chosen) as urls:
            for said in (b"", HALF_A_HELLO, b"no TLS at all\r\n\r\n"):
                for url in urls:
                    took = await asyncio.gather(*(cut_off_after(url, said) for _ in range(4)))
                    assert max(took) < 0.5 + 1.5
            async with a_socket(urls[0], files.trusted()) as phone:
                await is_served(phone)

    on_uvloop(crowd)


def test_handshakes_beyond_the_limit_are_cut_off_at_once(tmp_path: Path, files: Files) -> None:
    async def crowd() -> None:
        chosen = settings(tmp_path, files, hello_seconds=30, max_ungreeted=1)
        async with serving(chosen) as urls:
            for url in urls:
                host, port = url.split("/")[2].split(":")
                _reader, first = await asyncio.open_connection(host, int(port))
                first.write(HALF_A_HELLO)
                await first.drain()
                assert await cut_off_after(url, HALF_A_HELLO) < 5
                first.close()

    on_uvloop(crowd)


def test_a_hub_stops_though_handshakes_are_half_done(tmp_path: Path, files: Files) -> None:
    async def stop() -> None:
        async with contextlib.AsyncExitStack() as half:
            async with serving(settings(tmp_path, files)) as urls:
                for url in urls:
                    host, port = url.split("/")[2].split(":")
                    _reader, writer = await asyncio.open_connection(host, int(port))
                    half.callback(writer.close)
                    writer.write(HALF_A_HELLO)
                    await writer.drain()
                began = asyncio.get_running_loop().time()
            assert asyncio.get_running_loop().time() - began < 5

    on_uvloop(stop)


def test_a_device_that_takes_nothing_costs_its_buffer_over_tls_too(
    tmp_path: Path, files: Files
) -> None:
    """Between it and the hub there is one more buffer, which must not grow either."""
    pushes, size, chosen = 40, 200_000, settings(tmp_path, files)

    async def stall() -> None:
        async with a_hub(tmp_path / "hub.db") as site:
            listener = listener_for(site.hub, chosen, Identity(files.cert, files.key))
            async with listener.listening("127.0.0.1", 0) as (_host, port):
                url = f"wss://localhost:{port}/sync"
                async with a_device(url, "phone", ssl=files.trusted()) as phone:
                    await phone.hear_until("ready")
                    phone.connection.transport.pause_reading()
                    async with a_device(url, "laptop", ssl=files.trusted()) as laptop:
                        await laptop.hear_until("ready")
                        for push_id in range(1, pushes + 1):
                            await laptop.push(push_id, create(f"o{push_id}", text="x" * size))
                            await laptop.hear_until("ack")
                    [session] = [each for each in site.hub.sessions if each.device == "phone"]
                    print(f"{session.link.buffered} bytes kept of {pushes * size}")
                    assert session.link.is_full
                    assert session.link.buffered < chosen.limits.send_buffer_bytes + 2 * size
                    phone.connection.transport.resume_reading()
                    while (await phone.hear()).get("logical_clock") != pushes:
                        pass

    on_uvloop(stall)


# How it is renewed


def test_a_new_pair_counts_for_who_comes_and_drops_nobody(tmp_path: Path, files: Files) -> None:
    with a_hub_process(
        tmp_path / "hub.db", "--tls-cert-file", str(files.cert), "--tls-key-file", str(files.key)
    ) as hub:

        async def renew() -> None:
            old = files.trusted()
            async with a_socket(hub.url, old) as phone:
                await is_served(phone)
                files.renew()
                hub.process.send_signal(signal.SIGHUP)
                await served_anew(hub.url, files.trusted())
                with pytest.raises(ssl.SSLCertVerificationError):
                    async with a_socket(hub.url, old):
                        pass
                assert await pongs(phone)

        on_uvloop(renew)
        assert hub.stop() == 0


async def served_anew(url: str, trust: ssl.SSLContext) -> None:
    """Wait until the hub shows a certificate that is trusted."""
    while True:
        try:
            async with a_socket(url, trust) as laptop:
                return await is_served(laptop, "laptop")
        except ssl.SSLCertVerificationError:
            await asyncio.sleep(0.05)


def test_the_files_are_looked_at_without_being_told(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.tls.identity.WATCH_SECONDS", 0.01)

    async def wait() -> None:
        identity = Identity(files.cert, files.key)
        before = identity.context
        watching = asyncio.create_task(identity.watch())
        files.renew()
        while identity.context is before:
            await asyncio.sleep(0.01)
        watching.cancel()

    on_uvloop(wait)


def test_a_new_pair_that_cannot_be_used_changes_nothing_and_is_said_once(files: Files) -> None:
    identity = Identity(files.cert, files.key)
    before = identity.context
    files.key.write_text("half a")
    with capture_logs() as logs:
        identity.look()
        identity.look()
    assert identity.context is before
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("the new certificate cannot be used; the old one still counts", "warning")
    ]
    files.renew()
    identity.look()
    assert identity.context is not before


def test_files_that_are_gone_change_nothing(files: Files) -> None:
    identity = Identity(files.cert, files.key)
    before = identity.context
    files.cert.unlink()
    identity.look()
    assert identity.context is before


def test_a_certificate_that_runs_out_while_the_hub_serves_is_said_once(files: Files) -> None:
    files.renew(ends=timedelta(seconds=1.5))
    identity = Identity(files.cert, files.key)

    async def over() -> None:
        with capture_logs() as logs:
            while not logs:
                identity.look()
                await asyncio.sleep(0.05)
            identity.look()
        assert [line["event"] for line in logs] == [
            "the certificate has run out: devices no longer connect"
        ]

    on_uvloop(over)


# What cannot be shown


def refused(files: Files) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        read_pair(files.cert, files.key)
    return caught.value


def test_files_that_cannot_be_read_are_named(files: Files) -> None:
    for path, name in ((files.key, "tls_key_file"), (files.cert, "tls_cert_file")):
        path.unlink()
        error = refused(files)
        assert f"{path} cannot be read: No such file" in error.problem
        assert error.settings == (name,)
        path.mkdir()
        assert f"{path} cannot be read: Is a directory" in refused(files).problem


def test_files_that_hold_something_else_are_named(files: Files) -> None:
    key = files.key.read_bytes()
    files.key.write_bytes(files.cert.read_bytes())
    assert f"{files.key} holds no private key" in refused(files).problem
    files.cert.write_bytes(key)
    assert f"{files.cert} holds no certificate" in refused(files).problem


def test_a_key_of_another_certificate_is_refused(files: Files) -> None:
    make_pair(files.cert.with_name("other.pem"), files.key)
    error = refused(files)
    assert f"the key in {files.key} is not that of the certificate in {files.cert}" in str(error)
    assert error.settings == ("tls_cert_file", "tls_key_file")


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(files: Files) -> None:
    files.renew(password=b"secret")
    assert "has a password" in refused(files).problem


@pytest.mark.parametrize(
    ("begins", "ends", "why"), [(-2 * DAY, -DAY, "ran out on"), (DAY, 2 * DAY, "counts only from")]
)
def test_a_certificate_that_does_not_count_today_is_refused(
    files: Files, begins: timedelta, ends: timedelta, why: str
) -> None:
    files.renew(begins=begins, ends=ends)
    assert f"the certificate in {files.cert} {why}" in refused(files).problem


def test_one_file_may_hold_both(files: Files) -> None:
    files.cert.write_bytes(files.key.read_bytes() + files.cert.read_bytes())
    assert read_pair(files.cert, files.cert).context


@pytest.mark.parametrize("name", ["tls_cert_file", "tls_key_file"])
def test_one_without_the_other_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="TLS needs both") as caught:
        Edge(**{name: Path("x.pem")})  # type: ignore[arg-type]
    assert caught.value.settings[0] == name
