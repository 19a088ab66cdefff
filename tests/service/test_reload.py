"""SIGHUP has a hub read its settings again: what can change does, and nobody is dropped."""

import asyncio
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.auth import Grant, Secret, make_token
from scripts.drilling.standin import SECONDS, StandIn, ended, standing_in
from tests.crash.processes import PlainDevice, a_device
from tests.hub.fakes import create

OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    with standing_in(tmp_path) as one:
        yield one


class Operator:
    """Who writes the settings, and has the hub read them."""

    def __init__(self, stand_in: StandIn) -> None:
        self.folder = stand_in.folder
        self._stand_in = stand_in
        self.write()
        self.keep_secret(OLD)

    def write(self, more: str = "", limits: str = "") -> None:
        (self.folder / "hub.toml").write_text(
            f'data = "hub.db"\ntoken_secret_file = "secret"\n{more}\n[limits]\n{limits}\n'
        )

    def keep_secret(self, secret: bytes) -> None:
        (self.folder / "secret").write_bytes(secret)
        (self.folder / "secret").chmod(0o600)

    def start(self) -> subprocess.Popen[bytes]:
        hub = self._stand_in.start("--config", str(self.folder / "hub.toml"))
        self._stand_in.wait_for("READY")
        return hub

    def reload(self, hub: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
        """Have it read them, and wait until it has; what it said of that in its log."""
        begins = (self.folder / "hub.log").stat().st_size
        hub.send_signal(signal.SIGHUP)
        reloading = self._stand_in.wait_for("RELOADING", "1")
        assert int(reloading.lines["MONOTONIC_USEC"]) > 0
        self._stand_in.wait_for("READY", "1")
        text = (self.folder / "hub.log").read_bytes()[begins:].decode()
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def operator(stand_in: StandIn) -> Operator:
    return Operator(stand_in)


def token(secret: bytes, user: str = "ada") -> str:
    return make_token(Secret("HS256", secret), Grant(user))


@asynccontextmanager
async def a_guest(url: str, secret: bytes, device: str = "phone") -> Any:
    async with a_device(url, device, token(secret)) as guest:
        yield guest, await guest.hear()


async def is_served(guest: PlainDevice) -> None:
    await guest.say("ping")
    await guest.hear_until("pong")


def test_limits_and_keys_change_and_nobody_is_dropped(
    stand_in: StandIn, operator: Operator
) -> None:
    async def follow(hub: subprocess.Popen[bytes]) -> None:
        async with a_guest(stand_in.url, OLD) as (phone, welcome):
            assert welcome["limits"]["max_diffs"] == 1000
            operator.write(limits="max_diffs = 5\nmax_object_bytes = 200")
            operator.keep_secret(NEW)
            said = await asyncio.to_thread(operator.reload, hub)
            (done,) = [each for each in said if each["event"] == "settings read again"]
            assert done["changed"] == ["max_diffs", "max_object_bytes"]
            async with a_guest(stand_in.url, NEW, "tab") as (_tab, later):
                assert later["limits"]["max_diffs"] == 5
                assert later["limits"]["max_object_bytes"] == 200
            async with a_guest(stand_in.url, OLD, "pad") as (_pad, refused):
                assert refused["code"] == "unauthorized"
            await phone.hear_until("ready")
            await phone.push(1, *(create(f"o{n}") for n in range(6)), create("x", text="x" * 300))
            ack = (await phone.hear_until("ack"))[-1]
            assert [each["code"] for each in ack["rejected"]] == ["too_large"]
            await phone.say("auth", token=token(OLD))
            assert (await phone.hear())["code"] == "unauthorized"

    with ended(operator.start()) as hub:
        asyncio.run(follow(hub))


def test_the_level_of_the_log_changes(stand_in: StandIn, operator: Operator) -> None:
    with ended(operator.start()) as hub:
        operator.write('log_level = "warning"')
        assert operator.reload(hub) == []
        operator.write('log_level = "debug"')
        assert [each["event"] for each in operator.reload(hub)] == ["settings read again"]
        operator.write('log_level = "error"')
        operator.reload(hub)
        hub.terminate()
        assert hub.wait(SECONDS) == 0
    assert '"stopped"' not in (stand_in.folder / "hub.log").read_text()


def test_what_cannot_change_is_named_and_stays(stand_in: StandIn, operator: Operator) -> None:
    with ended(operator.start()) as hub:
        operator.write("compression = true", "hello_seconds = 3\nmax_diffs = 7")
        said = operator.reload(hub)
        assert [each["changed"] for each in said if "changed" in each] == [["max_diffs"]]
        (waiting,) = [each for each in said if each["event"] == "settings that wait for a restart"]
        assert waiting["names"] == ["compression", "hello_seconds"]
        assert waiting["remedy"] == "restart the hub"
        said = operator.reload(hub)
        assert [each["changed"] for each in said if "changed" in each] == [[]]


@pytest.mark.parametrize(
    ("more", "limits", "secret", "why"),
    [
        ("= no TOML", "max_diffs = 7", NEW, "is not TOML"),
        ("", "max_diffs = 0", NEW, "max_diffs is 0"),
        ("", "max_difs = 7", NEW, "which is no setting"),
        ("", "max_diffs = 7\nmax_frame_bytes = 10", NEW, "above max_frame_bytes"),
        ("", "max_diffs = 7", b"a-secret-too-short", "could be guessed"),
        ('token_key_file = "secret"', "max_diffs = 7", NEW, "say two things"),
    ],
)
def test_settings_that_are_wrong_change_nothing(
    stand_in: StandIn, operator: Operator, more: str, limits: str, secret: bytes, why: str
) -> None:
    async def nothing_has_changed() -> None:
        async with a_guest(stand_in.url, OLD) as (_phone, welcome):
            assert welcome["limits"]["max_diffs"] == 1000

    with ended(operator.start()) as hub:
        operator.write(more, limits)
        operator.keep_secret(secret)
        (said,) = operator.reload(hub)
        assert said["event"] == "the old settings still count"
        assert why in said["why"]
        assert said["remedy"]
        assert secret.decode() not in json.dumps(said)
        asyncio.run(nothing_has_changed())
