"""A restart under load, in its short form (scripts/upgrade-drill), and that it would see a loss."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from subprocess import Popen

import pytest

from scripts.drilling import drill as drilling
from scripts.drilling.drill import Plan, drill

SHORT = Plan(users=20, listeners=1, rate=100, seconds=0.5, size=200)


def told(words: str) -> None:
    print(words)


async def test_a_restart_under_load_loses_nothing_and_refuses_nobody(tmp_path: Path) -> None:
    found = await drill(SHORT, tmp_path, told)
    print(found)
    assert found.is_good, found.told
    assert found.devices == 40
    assert found.pushed > 100
    assert 0 < found.down_seconds <= found.half_level_seconds <= found.level_seconds


async def test_a_hub_that_forgets_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push is taken out of the log before it is counted."""

    def forgetting(data: Path) -> dict[str, int]:
        with closing(sqlite3.connect(data)) as hub:
            hub.execute("DELETE FROM log WHERE seq = (SELECT max(seq) FROM log)")
            hub.commit()
        return stored(data)

    stored = drilling._stored
    monkeypatch.setattr(drilling, "_stored", forgetting)
    found = await drill(SHORT, tmp_path, told)
    assert found.lost == 1
    assert not found.is_good


async def test_a_hub_that_cuts_its_devices_off_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed and not stopped: nobody is told, and yet nothing is lost."""

    async def killed(hub: Popen[bytes]) -> None:
        hub.kill()
        await asyncio.to_thread(hub.wait)

    monkeypatch.setattr(drilling, "_stopped", killed)
    found = await drill(SHORT, tmp_path, told)
    assert (found.lost, found.refused) == (0, 0)
    assert found.faults >= found.devices
    assert "lost its connection" in found.told[0]
