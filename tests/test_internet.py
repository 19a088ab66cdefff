"""docs/internet.md as an operator follows it, on a machine that has nothing: every command is run.

And what README's installation takes from the index, this one takes from requirements.lock.
"""

import asyncio
import json
import re
import shlex
from pathlib import Path
from typing import Final

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from hub.cli import main
from tests.test_readme import ROOT, commands, run, running
from tests.test_supply import pins

PAGE: Final = (ROOT / "docs" / "internet.md").read_text()
PAGES: Final = (PAGE, (ROOT / "SECURITY.md").read_text())
QUIETLY: Final = {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def test_every_command_of_the_page_is_run_by_a_test() -> None:
    words = [shlex.split(line)[0:2] for line in commands(PAGE)]
    assert words == [
        ["python3", "-m"],
        ["venv/bin/pip", "install"],
        ["venv/bin/pip", "install"],
        ["(umask", "077;"],
        ["venv/bin/mobync-hub", "serve"],
        ["venv/bin/mobync-hub", "token"],
        ["venv/bin/mobync-hub", "backup"],
    ]


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_a_hub_is_installed_from_the_lock_file_serves_and_is_backed_up(tmp_path: Path) -> None:
    making, *installing, secret, serving, token, backup = commands(PAGE)
    run(making, tmp_path)
    for command in installing:
        here = re.sub(r" (\.|requirements\.lock)$", rf" {ROOT}/\1", command)
        run(here, tmp_path, **QUIETLY)
    found = json.loads(run("venv/bin/pip list --format json", tmp_path, **QUIETLY))
    versions = {each["name"].lower().replace("_", "-"): each["version"] for each in found}
    pinned = {name: each.version for name, each in pins("requirements.lock").items()}
    assert versions.items() - pinned.items() <= {
        (name, versions[name]) for name in ("pip", "setuptools", "mobync-hub") if name in versions
    }
    run(secret, tmp_path)
    assert (tmp_path / "token.secret").stat().st_mode & 0o777 == 0o600
    with running(serving, tmp_path) as ready:
        jwt = run(token, tmp_path).strip().splitlines()[-1]
        assert asyncio.run(user_of(ready.split()[1], jwt)) == "alice"
        run(backup, tmp_path)
    for name in ("hub.db", "backup.db"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


async def user_of(url: str, token: str) -> str:
    async with connect(url, subprotocols=[Subprotocol("mobync.v1")], proxy=None) as socket:
        hello = {"type": "hello", "token": token, "device": "phone", "logical_clock": 0}
        await socket.send(json.dumps(hello))
        return str(json.loads(await socket.recv())["user"])


def test_what_the_pages_call_by_name_is_there() -> None:
    options = [each.opts for verb in main.commands.values() for each in verb.params]
    flags = {flag for each in options for flag in each}
    for page in PAGES:
        shown = re.sub(r"<!--.*?-->", "", page, flags=re.DOTALL)
        for name in re.findall(r"`((?:scripts|tests|docs)/[\w/.]+)`", shown):
            assert (ROOT / name).exists(), name
        for name in re.findall(r"\]\(([^):]+)\)", shown):
            assert any((folder / name).exists() for folder in (ROOT, ROOT / "docs")), name
        for flag in re.findall(r"`(--[a-z-]+)", shown):
            assert flag in flags, flag
