"""A hub as systemd runs it, by the means that systemd has: NOTIFY_SOCKET and LISTEN_FDS."""

import asyncio
import contextlib
import itertools
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed

from protocol import closing
from scripts.drilling.standin import SECONDS, StandIn, ended, standing_in
from tests.certificates import make_pair
from tests.crash.processes import a_device
from tests.hub.fakes import create

WATCHDOG = 1.5
MOST_SAID = 20
MOST_COMERS = 100
"""Devices of a user who come again and again; a hub knows no more than a thousand of one."""


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    with standing_in(tmp_path) as one:
        yield one


def serve(stand_in: StandIn) -> tuple[str, ...]:
    """Other ports in the settings than those of the sockets: nobody may listen there."""
    return "--dev", "--data", str(stand_in.folder / "hub.db"), "--port", "1", "--http-port", "2"


def answer(stand_in: StandIn) -> bytes:
    port = stand_in.sockets[1].getsockname()[1]
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as asking:
        asking.request("GET", "/readyz")
        return asking.getresponse().read()


@pytest.mark.parametrize("abstract", [False, True], ids=["a file", "an abstract socket"])
def test_it_is_ready_when_it_serves_and_says_when_it_stops(tmp_path: Path, abstract: bool) -> None:
    with (
        standing_in(tmp_path, abstract=abstract) as stand_in,
        ended(stand_in.start(*serve(stand_in))) as hub,
    ):
        ready = stand_in.wait_for("READY", "1")
        assert ready.lines["STATUS"] == "Serving 0 connections"
        assert answer(stand_in) == b'{"ready":true}'
        hub.terminate()
        stand_in.wait_for("STOPPING", "1")
        assert hub.wait(SECONDS) == 0


def test_its_status_has_the_number_of_connections(stand_in: StandIn) -> None:
    with ended(stand_in.start(*serve(stand_in), watchdog=WATCHDOG)):
        stand_in.wait_for("READY")

        async def come() -> None:
            async with a_device(stand_in.url, "phone") as phone, a_device(stand_in.url, "tab"):
                await phone.hear_until("ready")
                wanted = "Serving 2 connections"
                await asyncio.to_thread(stand_in.wait_for, "STATUS", wanted)

        asyncio.run(come())
        stand_in.wait_for("STATUS", "Serving 0 connections")


@pytest.mark.parametrize("names", [("http", "devices"), None, ("mobync-hub.socket",) * 2])
def test_sockets_are_told_by_their_names_and_without_those_by_their_order(
    stand_in: StandIn, names: tuple[str, ...] | None
) -> None:
    if names and names[0] == "http":
        stand_in.sockets = stand_in.sockets[::-1]
    with ended(stand_in.start(*serve(stand_in), names=names)):
        stand_in.wait_for("READY")
        if names and names[0] == "http":
            stand_in.sockets = stand_in.sockets[::-1]
        assert answer(stand_in) == b'{"ready":true}'
        asyncio.run(greeted(stand_in.url))


async def greeted(url: str) -> None:
    async with a_device(url, "phone") as phone:
        await phone.hear_until("ready")


def test_sockets_that_are_for_nothing_are_refused_by_name(stand_in: StandIn) -> None:
    with ended(stand_in.start(*serve(stand_in), names=("devices", "metrics"))) as hub:
        assert hub.wait(SECONDS) == 2
    said = (stand_in.folder / "hub.log").read_text()
    assert "devices:metrics" in said
    assert "FileDescriptorName=devices" in said


def test_a_hub_for_trying_takes_no_socket_that_other_machines_reach(stand_in: StandIn) -> None:
    stand_in.sockets[0].close()
    stand_in.sockets = (socket.create_server(("0.0.0.0", 0)), stand_in.sockets[1])  # noqa: S104
    with ended(stand_in.start(*serve(stand_in))) as hub:
        assert hub.wait(SECONDS) == 2
    assert "anybody there could be any user" in (stand_in.folder / "hub.log").read_text()


def test_sockets_of_another_process_are_not_taken(stand_in: StandIn, tmp_path: Path) -> None:
    flags = "--dev", "--data", str(tmp_path / "hub.db"), "--port", "0", "--http-port", "0"
    with ended(stand_in.start(*flags, environment={"LISTEN_FDS": "no number"})):
        stand_in.wait_for("READY")
    (url,) = re.findall(r"ready ws://127.0.0.1:(\d+)/sync", (tmp_path / "hub.log").read_text())
    assert int(url) not in [each.getsockname()[1] for each in stand_in.sockets]


# The watchdog


def test_signs_of_life_come_three_times_as_often_as_they_must(stand_in: StandIn) -> None:
    with ended(stand_in.start(*serve(stand_in), watchdog=WATCHDOG)):
        stand_in.wait_for("READY")
        moments = [stand_in.wait_for("WATCHDOG", "1").at for _ in range(5)]
    gaps = [later - sooner for sooner, later in itertools.pairwise(moments)]
    print("seconds from one to the next:", [f"{gap:.2f}" for gap in gaps])
    assert max(gaps) < WATCHDOG


def test_there_is_none_where_none_is_wanted_or_another_process_is_meant(
    stand_in: StandIn,
) -> None:
    other = {"WATCHDOG_PID": str(os.getpid())}
    with ended(stand_in.start(*serve(stand_in), watchdog=0.3, environment=other)):
        stand_in.wait_for("READY")
        stand_in.wait_for("STATUS")
        assert not [each for each in stand_in.said if "WATCHDOG" in each.lines]


def test_a_loop_that_is_stuck_gives_no_sign_of_life(stand_in: StandIn) -> None:
    """Stopped as a whole: no thread of it goes on."""
    with ended(stand_in.start(*serve(stand_in), watchdog=WATCHDOG)) as hub:
        stand_in.wait_for("READY")
        stand_in.wait_for("WATCHDOG")
        hub.send_signal(signal.SIGSTOP)
        while stand_in.hear(0.0):
            pass  # what it said before
        assert stand_in.hear(2 * WATCHDOG) is None
        hub.send_signal(signal.SIGCONT)
        stand_in.wait_for("WATCHDOG")


@contextlib.contextmanager
def hanging_disk(pid: int) -> Iterator[None]:
    """Each fdatasync waits for 6 s, as on a disk that is stuck."""
    slow = f"strace -f -qq -e trace=fdatasync -e inject=fdatasync:delay_enter=6s -p {pid}"
    tracer = subprocess.Popen(slow.split(), stderr=subprocess.DEVNULL)
    with ended(tracer):
        traced = Path(f"/proc/{pid}/status")
        while "TracerPid:\t0" in traced.read_text():
            time.sleep(0.01)
        yield


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@needs_strace
def test_a_disk_that_hangs_gives_no_sign_of_life_though_the_loop_runs(stand_in: StandIn) -> None:
    """The writer's thread is in it."""
    with ended(stand_in.start(*serve(stand_in), watchdog=WATCHDOG)) as hub:
        stand_in.wait_for("READY")
        with hanging_disk(hub.pid):
            asyncio.run(pushed(stand_in.url))
            while stand_in.hear(0.0):
                pass
            last = stand_in.wait_for("STATUS")
            while "not answered" not in last.lines["STATUS"]:
                assert "WATCHDOG" not in last.lines or last.at < time.monotonic() + WATCHDOG
                last = stand_in.wait_for("STATUS")
            assert "WATCHDOG" not in last.lines
            asyncio.run(shaken(stand_in.url))
        stand_in.wait_for("WATCHDOG")
    assert "no sign of life" in (stand_in.folder / "hub.log").read_text()


@needs_strace
def test_a_loop_that_waits_for_a_disk_that_hangs_gives_no_sign_of_life(stand_in: StandIn) -> None:
    """So systemd starts it again, as it would with the writer's thread in it."""
    flags = *serve(stand_in), "--disk-wait", "loop"
    with ended(stand_in.start(*flags, watchdog=WATCHDOG)) as hub:
        stand_in.wait_for("READY")
        with hanging_disk(hub.pid), ThreadPoolExecutor(1) as aside:
            pushing = aside.submit(lambda: asyncio.run(pushed(stand_in.url)))
            said = iter(partial(stand_in.hear, WATCHDOG), None)
            before_silence = list(itertools.islice(said, MOST_SAID))
            assert len(before_silence) < MOST_SAID, (
                "it is never silent for as long as systemd waits"
            )
            pushing.result(SECONDS)
        stand_in.wait_for("WATCHDOG")


async def pushed(url: str) -> None:
    """A push, for whose ack nobody waits."""
    async with a_device(url, "phone") as phone:
        await phone.hear_until("ready")
        await phone.push(1, create("a"))
        await phone.say("ping")


async def shaken(url: str) -> None:
    """The loop runs: it opens a WebSocket."""
    async with asyncio.timeout(SECONDS), a_device(url, "tab"):
        pass


# A restart


async def come_again_and_again(once: Callable[[], Awaitable[None]], stop: asyncio.Event) -> int:
    count = 0
    while not stop.is_set():
        async with asyncio.timeout(SECONDS):
            await once()
        count += 1
    return count


comers = itertools.count()


async def a_device_comes(url: str, **options: Any) -> None:
    """It is served, or told that the hub stops; it is not refused, nor cut off."""
    with suppress_goodbyes():
        async with a_device(url, f"device-{next(comers) % MOST_COMERS}", **options) as device:
            first = await device.hear()
            assert first["type"] == "welcome" or first["code"] == "shutting_down"


@contextlib.contextmanager
def suppress_goodbyes() -> Iterator[None]:
    """A connection that the hub has closed because it stops; any other end is a fault."""
    try:
        yield
    except ConnectionClosed as closed:
        if closed.rcvd is None or closed.rcvd.code != closing.SHUTTING_DOWN.code:
            raise


async def a_poll_comes(http_url: str, **options: Any) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{http_url}/healthz", **options) as answered,
    ):
        assert answered.status == 200


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "by TLS"])
async def test_a_restart_refuses_no_connection(stand_in: StandIn, tls: bool) -> None:
    """Devices and requests come without a pause, each on a connection of its own."""
    stop = asyncio.Event()
    flags, secure, options = serve(stand_in), "", {}
    if tls:
        cert, key = stand_in.folder / "cert.pem", stand_in.folder / "key.pem"
        make_pair(cert, key)
        flags += ("--tls-cert-file", str(cert), "--tls-key-file", str(key))
        secure, options = "s", {"ssl": ssl.create_default_context(cafile=str(cert))}
    with contextlib.ExitStack() as hubs:
        hub = hubs.enter_context(ended(stand_in.start(*flags)))
        await asyncio.to_thread(stand_in.wait_for, "READY")
        async with asyncio.TaskGroup() as group:
            comers = [
                partial(a_device_comes, stand_in.url.replace("ws", f"ws{secure}", 1), **options),
                partial(
                    a_poll_comes, stand_in.http_url.replace("http", f"http{secure}"), **options
                ),
            ]
            coming = [group.create_task(come_again_and_again(once, stop)) for once in comers * 8]
            for _restart in range(3):
                await asyncio.sleep(0.5)
                hub.terminate()
                assert await asyncio.to_thread(hub.wait, SECONDS) == 0
                await asyncio.sleep(0.2)  # Nobody is there: what comes now waits in the kernel.
                hub = hubs.enter_context(ended(stand_in.start(*flags)))
                await asyncio.to_thread(stand_in.wait_for, "READY")
            stop.set()
    counts = [task.result() for task in coming]
    print(f"{sum(counts[::2])} devices and {sum(counts[1::2])} requests came; none was refused")
    assert min(counts) > 5
