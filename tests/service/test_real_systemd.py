"""The installed units under a systemd that runs, in namespaces of its own, where that can be."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.test_readme import ROOT, commands, run

PAGE = (ROOT / "docs" / "operating.md").read_text()
PROGRAM = ROOT / "tests" / "service" / "beside_systemd.py"


def why_not() -> str:
    """Why no systemd can be booted here; empty: it can."""
    groups = Path("/sys/fs/cgroup/systemd")
    groups = groups if groups.is_dir() else groups.parent
    if os.geteuid() != 0:
        return "to boot a systemd needs root"
    if not Path("/lib/systemd/systemd").exists() or shutil.which("nsenter") is None:
        return "systemd, or nsenter, is not installed"
    if not os.access(groups, os.W_OK):
        return f"{groups} cannot be written"
    trying = "unshare --mount --uts --ipc --net --cgroup --pid --fork true"
    done = subprocess.run(trying.split(), capture_output=True, timeout=30, check=False)
    return "" if done.returncode == 0 else "the kernel gives no namespaces"


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What the program beside it saw, from one trial for all tests."""
    if reason := why_not():
        pytest.skip(reason)
    (shown,) = [line for line in commands(PAGE) if "systemd/trial" in line]
    trial = shown.removeprefix("sudo ").partition(" ")[0]
    out = run(f'{trial} /opt/mobync-hub/venv/bin/python -c "$(cat {PROGRAM})"')
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    print({name: value for name, value in found.items() if name != "journal"})
    return found


pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]


def test_it_runs_as_its_own_user_and_only_it_reads_the_data(told: dict[str, Any]) -> None:
    assert told["user"] == ["mobync-hub", "555", "mobync-hub", "600"]
    assert told["secret"] == ["root", "600"]
    assert told["welcome"] == 1000, "tokens are proved by the credential"


def test_systemd_shows_its_connections(told: dict[str, Any]) -> None:
    assert told["status"] == "Serving 1 connection"


def test_a_reload_changes_limits_in_the_process_that_runs(told: dict[str, Any]) -> None:
    assert told["reloaded"] == ["active", True]
    assert told["welcome after a reload"] == 7


def test_restarts_refuse_nobody_and_say_goodbye(told: dict[str, Any]) -> None:
    print(f"{len(told['polls'])} requests during two restarts")
    assert len(told["polls"]) > 10
    assert set(told["polls"]) == {200}
    assert told["goodbye"] == 1012


def test_a_command_of_the_hubs_user_reaches_it(told: dict[str, Any]) -> None:
    assert "user bob is revoked" in told["revoked"]


def test_a_stuck_hub_is_started_again_and_says_where_it_was(told: dict[str, Any]) -> None:
    assert told["restarts while it moves"] == "0"
    assert told["restarts of a stuck hub"] == "1"
    assert told["state after that"] == "active"
    assert "Failed with result 'watchdog'" in told["journal"]
    assert "Fatal Python error: Aborted" in told["journal"]
