"""`scripts/fair`: what quiet users feel of a busy one."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from scripts.loading.faults import LoadError
from scripts.sharing import pairs
from scripts.sharing.pairs import busy_user
from tests.crash.lives import program

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fair"


@pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="scripts/fair keeps one core for the hub"
)
async def test_it_measures_pairs_and_says_what_the_busy_user_got_done() -> None:
    code, out, errors = await program(
        SCRIPT, "--rounds", "2", "--seconds", "0.5", "--users", "4", "--rate", "20", "--json"
    )
    assert code == 0, errors
    found = json.loads(out)
    assert len(found["rounds"]) == 2
    for pair in found["rounds"]:
        assert pair["errors"] == 0
        assert pair["busy_edits_per_second"] > 0
        assert 0 < pair["alone"]["p50"] <= pair["alone"]["p99"]
        assert 0 < pair["beside"]["p50"] <= pair["beside"]["p99"]
    assert found["p99_ratio"] > 0


async def test_a_busy_user_that_cannot_connect_is_a_fault_and_leaves_no_process() -> None:
    with pytest.raises(LoadError, match="could not connect"):
        async with busy_user("ws://127.0.0.1:9/sync"):
            pytest.fail("nobody is there")


async def test_the_busy_user_ends_with_the_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_command", lambda _url: ("sh", "-c", "echo pushing; exec sleep 60"))
    begun = asyncio.get_running_loop().time()
    async with busy_user("ws://127.0.0.1:9/sync") as crowd:
        pass
    assert crowd.edits_per_second == 0
    assert asyncio.get_running_loop().time() - begun < 30
