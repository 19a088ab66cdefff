"""The units of scripts/systemd: what they allow a hub, and that it needs no more than that."""

import asyncio
import functools
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from hub.loading import load
from hub.process import SPARE_FILES
from hub.service.sockets import ORDER
from hub.settings import Settings
from scripts.drilling.standin import MOBYNC_HUB, SECONDS, ended, standing_in
from tests.crash.processes import a_device
from tests.hub.fakes import create
from tests.test_readme import ROOT, run

UNITS = ROOT / "scripts" / "systemd"
SERVICE = UNITS / "mobync-hub.service"
SOCKETS = {"devices": UNITS / "mobync-hub.socket", "http": UNITS / "mobync-hub-http.socket"}
MOST_EXPOSED = 15
"""Tenths, on systemd's scale from 0 to 100: an exposure of 1.5."""

AS_ROOT = {"fchown"} if os.geteuid() == 0 else set()
"""Root's SQLite gives files to the owner of the data; the unit's user never does."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def unit(path: Path) -> dict[str, list[str]]:
    """All that a unit says, by key; its sections have no key in common."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def faults_of_units(folder: Path, drop_in: str = "") -> str:
    """What systemd finds wrong with the units, of which the devices' socket has a drop-in.

    With a command that is there: the hub's own is there once it is installed.
    """
    for each in (SERVICE, *SOCKETS.values()):
        text = each.read_text().replace("/opt/mobync-hub/venv/bin/mobync-hub", "/bin/true")
        (folder / each.name).write_text(text)
    more = folder / f"{SOCKETS['devices'].name}.d"
    more.mkdir()
    (more / "override.conf").write_text(drop_in)
    units = [str(folder / each.name) for each in (SERVICE, *SOCKETS.values())]
    done = subprocess.run(
        ["systemd-analyze", "verify", *units],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    return done.stderr or f"{done.returncode or ''}"


@needs_systemd
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    assert faults_of_units(tmp_path) == ""


@needs_systemd
@pytest.mark.parametrize("spoiled", [False, True])
def test_systemd_understands_where_the_page_has_it_listen(tmp_path: Path, *, spoiled: bool) -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    shown = page.partition("```ini\n")[2].partition("```")[0]
    assert "0.0.0.0:8765" in shown
    found = faults_of_units(tmp_path, shown.replace(":8765", ":eight") if spoiled else shown)
    assert ("Failed to parse address" in found) is spoiled, found


@needs_systemd
def test_the_service_is_hardly_exposed() -> None:
    out = run(f"systemd-analyze security --offline=true --threshold={MOST_EXPOSED} {SERVICE}")
    (exposure,) = re.findall(r"Overall exposure level for mobync-hub.service: ([\d.]+)", out)
    print(f"exposure {exposure}")
    assert float(exposure) <= MOST_EXPOSED / 10


def test_the_units_fit_the_hubs_own_settings() -> None:
    service, settings = unit(SERVICE), Settings(dev=True)
    assert service["Type"] == ["notify"]
    assert int(service["LimitNOFILE"][0]) >= settings.limits.max_connections + SPARE_FILES
    assert float(service["TimeoutStopSec"][0]) > settings.limits.stop_seconds
    for name, address in zip(ORDER, (settings.address, settings.http_address), strict=True):
        socket = unit(SOCKETS[name])
        assert socket["FileDescriptorName"] == [name]
        assert socket["ListenStream"] == ["{}:{}".format(*address)]
        assert SOCKETS[name].name in service["Requires"][0]


def test_the_settings_that_are_installed_can_be_read_and_name_what_the_unit_gives() -> None:
    settings = load({"config": str(UNITS / "hub.toml")}, {}).settings
    (credential,) = unit(SERVICE)["LoadCredential"]
    assert settings.token_secret_file == (
        Path("/run/credentials/mobync-hub.service") / credential.partition(":")[0]
    )
    assert settings.data.parent == Path("/var/lib") / unit(SERVICE)["StateDirectory"][0]


@functools.cache
def calls_of(group: str) -> frozenset[str]:
    """All system calls of one of systemd's groups."""
    out = run(f"systemd-analyze syscall-filter {group}")
    found: set[str] = set()
    for line in out.splitlines()[1:]:
        name = line.strip()
        if name.startswith("@"):
            found |= calls_of(name)
        elif name and not name.startswith("#"):
            found.add(name)
    return frozenset(found)


def allowed_calls() -> frozenset[str]:
    """What the unit's filters leave."""
    (given, taken, *again) = unit(SERVICE)["SystemCallFilter"]
    assert taken.startswith("~")
    none: frozenset[str] = frozenset()
    more = none.union(*map(calls_of, given.split())) | calls_of("@default")
    return more - none.union(*map(calls_of, taken[1:].split())) | frozenset(again)


@needs_systemd
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_hub_needs_no_system_call_that_the_unit_forbids(tmp_path: Path) -> None:
    """Nor memory to write programs into: it serves, is told to, is asked, reloads and stops."""
    traced, trace = tmp_path / "traced", tmp_path / "trace"
    traced.write_text(f'#!/bin/sh\nexec strace -D -f -qq -o {trace} {MOBYNC_HUB} "$@"\n')
    traced.chmod(0o755)
    data = str(tmp_path / "hub.db")
    with (
        standing_in(tmp_path) as stand_in,
        ended(stand_in.start("--dev", "--data", data, watchdog=2, program=traced)) as hub,
    ):
        stand_in.wait_for("READY")
        asyncio.run(used(stand_in.url))
        run(f"{MOBYNC_HUB} revoke user bob --data {data}")
        run(f"python3 -c \"import urllib.request as u; u.urlopen('{stand_in.http_url}/readyz')\"")
        hub.send_signal(signal.SIGHUP)
        stand_in.wait_for("RELOADING")
        stand_in.wait_for("WATCHDOG")
        hub.terminate()
        assert hub.wait(SECONDS) == 0
    lines = trace.read_text().splitlines()
    calls = {found[1] for line in lines if (found := re.match(r"\d+ +(\w+)\(", line))}
    assert {"fdatasync", "accept4", "execve", "sendto"} <= calls, "it was seen at work"
    assert calls - allowed_calls() <= AS_ROOT
    writable = re.compile(r"(mmap|mprotect)\(.*PROT_WRITE\|PROT_EXEC|mprotect\(.*PROT_EXEC")
    assert not [line for line in lines if writable.search(line)]


async def used(url: str) -> None:
    async with a_device(url, "phone") as phone, a_device(url, "tab") as tab:
        await phone.hear_until("ready")
        for push_id in range(1, 20):
            await phone.push(push_id, create(f"o{push_id}", text="x" * 20_000))
            await phone.hear_until("ack")
        await tab.hear_until("changes")


# The installation


def installed(root: Path) -> set[str]:
    """All files beside the program's own."""
    files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {str(path) for path in files if path.parts[0] != "opt" and path.name != ".pwd.lock"}


UNIT_FILES = {
    "etc/systemd/system/mobync-hub.service",
    "etc/systemd/system/mobync-hub.socket",
    "etc/systemd/system/mobync-hub-http.socket",
}
KEPT = {"etc/mobync-hub/hub.toml", "etc/mobync-hub/token.secret"}
USERS = {"etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"}


@needs_systemd
def test_a_dry_run_says_what_it_would_do_and_does_nothing(tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path("/etc").iterdir()}
    out = run(f"{UNITS}/install --dry-run --root {tmp_path}")
    assert not list(tmp_path.iterdir())
    assert {path: path.stat().st_mtime_ns for path in Path("/etc").iterdir()} == before
    for words in ("user", "program", "settings", "secret", *UNIT_FILES):
        assert re.search(rf"would: .*{re.escape(words)}", out), words


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_word_that_means_nothing_is_refused_and_the_help_says_what_does(command: str) -> None:
    done = subprocess.run(
        [UNITS / command, "--rot", "/"], capture_output=True, text=True, timeout=SECONDS,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "--rot is nothing that this knows" in done.stderr
    assert "--dry-run" in run(f"{UNITS / command} --help")


def test_an_uninstall_says_it_took_away_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    """Run again, or with --root misspelled, it said of everything that it was gone now."""
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    unit = tmp_path / "etc/systemd/system/mobync-hub.service"
    unit.touch()
    dry = run(f"{UNITS}/uninstall --dry-run --root {tmp_path}")
    assert "would: unit: /etc/systemd/system/mobync-hub.service is gone\n" in dry
    first, again = (run(f"{UNITS}/uninstall --root {tmp_path}") for _ in range(2))
    assert not unit.exists()
    assert "\nunit: /etc/systemd/system/mobync-hub.service is gone\n" in f"\n{first}"
    for out, most in ((first, 4), (again, 5)):
        assert out.count(" gone already\n") == most, out


@needs_systemd
@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_an_installation_is_whole_can_be_repeated_and_leaves_the_data_when_it_goes(
    tmp_path: Path,
) -> None:
    out = run(f"{UNITS}/install --root {tmp_path}")
    assert installed(tmp_path) == {
        *UNIT_FILES, *KEPT, *USERS, "usr/lib/sysusers.d/mobync-hub.conf",
    }  # fmt: skip
    link = tmp_path / "usr/local/bin/mobync-hub"
    assert link.readlink() == Path("/opt/mobync-hub/venv/bin/mobync-hub")
    assert "mobync-hub:" in (tmp_path / "etc" / "passwd").read_text()
    secret = tmp_path / "etc/mobync-hub/token.secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert len(secret.read_text()) == 64
    assert secret.read_text() not in out
    (program,) = (tmp_path / "opt/mobync-hub").glob("venv-*")
    assert (
        (program / "bin/mobync-hub")
        .read_text()
        .startswith(f"#!/opt/mobync-hub/{program.name}/bin/python")
    )
    version = run(f"{program}/bin/python {program}/bin/mobync-hub --version")
    assert version.startswith("mobync-hub")

    secret.write_text("mine")
    (tmp_path / "etc/mobync-hub/hub.toml").write_text("# mine")
    (tmp_path / "var/lib/mobync-hub").mkdir(parents=True)
    (tmp_path / "var/lib/mobync-hub/hub.db").write_text("everybody's")
    again = run(f"{UNITS}/install --root {tmp_path}")
    assert "is there already" in again
    assert secret.read_text() == "mine"

    out = run(f"{UNITS}/uninstall --root {tmp_path}")
    assert "data: /var/lib/mobync-hub stays" in out
    assert installed(tmp_path) == {*KEPT, *USERS, "var/lib/mobync-hub/hub.db"}
    assert secret.read_text() == "mine"
    assert not (tmp_path / "opt/mobync-hub").exists()
