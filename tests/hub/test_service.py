"""What the hub and who runs it say to each other, piece by piece; as a process: tests/service."""

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.errors import SettingsError
from hub.service.notifier import Notifier, notifier_from
from hub.service.sockets import NO_SOCKETS, _named, sockets_from
from hub.service.starting import Work, asking_for_time, work_done
from hub.service.watchdog import Watchdog, patience_from
from hub.store.errors import StoreFailed
from hub.store.interface import DeviceStanding
from tests.hub.fakes import a_hub, in_virtual_time


class Ear:
    """Where a hub is heard."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.setblocking(False)

    def heard(self) -> list[dict[str, str]]:
        """All that was said by now; the kernel holds ten datagrams."""
        found: list[dict[str, str]] = []
        while True:
            try:
                text = self._socket.recv(4096).decode()
            except BlockingIOError:
                return found
            found.append(dict(line.split("=", 1) for line in text.splitlines()))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    listening = Ear(tmp_path / "ear")
    yield listening
    listening.close()


def test_all_that_is_said_is_what_systemd_reads(ear: Ear) -> None:
    notifier = Notifier(ear.address)
    notifier.reloading()
    notifier.ready("Serving 1 connection")
    notifier.alive("Serving 2 connections")
    notifier.wants_time(1.5, "Starting")
    notifier.say("x" * 1000)
    notifier.stopping()
    reloading, ready, alive, more, said, stopping = ear.heard()
    assert reloading["RELOADING"] == "1"
    assert int(reloading["MONOTONIC_USEC"]) > 0
    assert ready == {"READY": "1", "STATUS": "Serving 1 connection"}
    assert alive == {"WATCHDOG": "1", "STATUS": "Serving 2 connections"}
    assert more["EXTEND_TIMEOUT_USEC"] == "1500000"
    assert said == {"STATUS": "x" * 500}
    assert stopping["STOPPING"] == "1"


def test_what_is_spoken_of_in_the_environment_is_taken_out_of_it(ear: Ear) -> None:
    env = {
        "NOTIFY_SOCKET": ear.address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid()),
        "LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "devices", "HOME": "/",
    }  # fmt: skip
    assert notifier_from(env).is_wanted
    assert patience_from(env) == 3.0
    assert sockets_from(env) == NO_SOCKETS
    assert env == {"HOME": "/"}


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
    ],
)
def test_without_a_time_for_this_process_no_sign_of_life_is_wanted(env: dict[str, str]) -> None:
    assert patience_from(env) is None


def test_nobody_is_told_where_nobody_asked(capsys: pytest.CaptureFixture[str]) -> None:
    for address in ("", "vsock:2:1"):
        notifier = notifier_from({"NOTIFY_SOCKET": address})
        notifier.ready("Serving")
        assert not notifier.is_wanted
    assert "no local socket" in capsys.readouterr().out


def test_who_no_longer_listens_stops_no_hub_and_is_complained_of_once(
    ear: Ear, capsys: pytest.CaptureFixture[str]
) -> None:
    notifier = Notifier(ear.address)
    ear.close()
    for _ in range(3):
        notifier.alive("Serving")
    assert capsys.readouterr().out.count("does not hear") == 1


# Sockets


@pytest.mark.parametrize(
    ("names", "count", "wanted"),
    [
        (["http", "devices"], 2, ["http", "devices"]),
        (["http"], 1, ["http"]),
        ([""], 1, ["devices"]),
        (["unit", "unit"], 2, ["devices", "http"]),
        ([""], 0, []),
    ],
)
def test_a_name_counts_before_the_order(names: list[str], count: int, wanted: list[str]) -> None:
    assert _named(names, count) == wanted


@pytest.mark.parametrize(
    ("names", "count"),
    [(["devices", "metrics"], 2), (["devices", "devices"], 2), ([""], 3), (["http"], 2)],
)
def test_sockets_too_many_or_for_nothing_are_refused(names: list[str], count: int) -> None:
    with pytest.raises(SettingsError, match="FileDescriptorName=devices"):
        _named(names, count)


def handed_down(given: socket.socket, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a process that was given this as its first socket."""
    monkeypatch.setattr("hub.service.sockets.FIRST", given.fileno())
    return {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "devices"}


def test_a_socket_that_is_given_is_no_childs(monkeypatch: pytest.MonkeyPatch) -> None:
    given = socket.create_server(("127.0.0.1", 0))
    os.set_inheritable(given.fileno(), True)
    taken = sockets_from(handed_down(given, monkeypatch)).devices
    assert taken is not None
    assert taken.getsockname() == given.getsockname()
    assert not taken.get_inheritable()
    taken.detach()
    given.close()


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_socket_that_does_not_listen_is_refused(
    kind: socket.SocketKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = socket.socket(socket.AF_INET, kind)
    with pytest.raises(SettingsError, match="does not listen for TCP"):
        sockets_from(handed_down(given, monkeypatch))
    given.detach()


# Signs of life


class Store:
    """A store whose writer a test holds in its hand."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()
        self.fails = False
        self.asked = 0

    async def device(self, _user: str, _name: str) -> DeviceStanding:
        self.asked += 1
        await self.free.wait()
        if self.fails:
            raise StoreFailed("the disk is failing")
        return DeviceStanding(0, 0, ())


async def signs(ear: Ear, seconds: float) -> tuple[int, list[str]]:
    """How many signs of life came in so many seconds, and each status."""
    await asyncio.sleep(seconds)
    said = ear.heard()
    return sum("WATCHDOG" in each for each in said), [each["STATUS"] for each in said]


@in_virtual_time
async def test_a_writer_that_does_not_answer_or_fails_gives_no_sign_of_life(
    tmp_path: Path, ear: Ear, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        store = Store()
        site.hub.store = store  # type: ignore[assignment]
        async with Watchdog(site.hub, Notifier(ear.address), 6).watching():
            assert await signs(ear, 17) == (9, ["Serving 0 connections"] * 9)
            store.free.clear()
            assert await signs(ear, 4) == (
                0, ["Serving 0 connections; the store has not answered for 2 s"]
            )  # fmt: skip
            asked = store.asked
            count, status = await signs(ear, 20)
            assert count == 0
            assert status[-1] == "Serving 0 connections; the store has not answered for 22 s"
            assert store.asked == asked, "one question at a time"
            store.free.set()
            assert (await signs(ear, 4))[0] > 0
            store.fails = True
            assert await signs(ear, 4) == (0, ["Serving 0 connections; the store fails"] * 2)
            store.fails = False
            assert await signs(ear, 4) == (2, ["Serving 0 connections"] * 2)
    assert capsys.readouterr().out.count("no sign of life") == 2


@in_virtual_time
async def test_who_wants_no_signs_of_life_is_told_the_status_alone(
    tmp_path: Path, ear: Ear
) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        await site.live("phone")
        async with Watchdog(site.hub, Notifier(ear.address), None).watching():
            assert await signs(ear, 25) == (0, ["Serving 1 connection"] * 3)
        async with Watchdog(site.hub, Notifier(), 6).watching():
            assert await signs(ear, 25) == (0, [])


# A long start


@in_virtual_time
async def test_time_is_asked_for_while_something_is_done_and_not_otherwise(
    ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = [Work(0, 0)]
    monkeypatch.setattr("hub.service.starting.work_done", lambda: done[-1])
    async with asking_for_time(Notifier(ear.address)):
        await asyncio.sleep(61)
        assert ear.heard() == []
        for more in (Work(0, 1), Work(1, 1)):
            done.append(more)
            await asyncio.sleep(60)
            (asked,) = ear.heard()
            assert asked["EXTEND_TIMEOUT_USEC"] == "60000000"
    async with asking_for_time(Notifier()):
        await asyncio.sleep(61)
        assert ear.heard() == []


def test_the_work_of_this_process_is_counted() -> None:
    before = work_done()
    while resource.getrusage(resource.RUSAGE_SELF).ru_utime < before.seconds + 0.1:
        sum(range(1000))
    assert work_done().is_more_than(before, 1)
    assert not before.is_more_than(before, 1)
