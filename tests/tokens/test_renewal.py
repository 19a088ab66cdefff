"""Tokens run out all the while, and no edit is lost, stalls for good, or is stored twice.

An expired token that stalls a queue is the first complaint of every peer's users.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from structlog.testing import capture_logs

from tests.tokens.issuing import Editor, editors_of

DEVICES = ("phone", "tab", "pad", "desk")
_LOG = """
SELECT edit.value ->> 'id', log.stored_at - (edit.value ->> 'utc_timestamp')
FROM log, json_each(log.diffs) AS edit
"""


async def test_no_edit_is_lost_or_stored_twice_while_tokens_run_out(tmp_path: Path) -> None:
    """Tokens that live for some seconds at most; of ten, six are not had when asked for."""
    async with editors_of(tmp_path, DEVICES, life=(0.5, 3.0), most=8, bad=0.3) as editors:
        await edit_and_agree(editors)
    asked = sum((each.issuer.asked for each in editors), Counter[str]())
    print(f"{stored_once(tmp_path / 'hub.db')}; tokens: {dict(asked)}")
    assert min(asked["failed"], asked["old"]) >= 8


async def test_tokens_are_renewed_on_the_socket_and_no_push_waits_for_them(tmp_path: Path) -> None:
    """Four tokens for each device, edits all the while, and one connection from end to end."""
    with capture_logs() as logs:
        async with editors_of(tmp_path, DEVICES, life=(6.0, 8.0), most=4, bad=0.0) as editors:
            await edit_and_agree(editors)
    assert sorted(each["device"] for each in logs if each["event"] == "hello") == sorted(DEVICES)
    print(stored_once(tmp_path / "hub.db"))


async def edit_and_agree(editors: Sequence[Editor]) -> None:
    """Let all edit until each has had its tokens, and then be level."""
    made = await asyncio.gather(*(each.edit() for each in editors))
    for _ in range(2):  # in the second each hears what the others sent in the first
        await asyncio.gather(*(each.device.synchronize(60) for each in editors))
    await agree(editors, made)


async def agree(editors: Sequence[Editor], made: Sequence[int]) -> None:
    """Make sure that each device shows what all of them made, and that nothing waits or lost."""
    wanted = {
        (f"{each.device.name}-{number}", number)
        for each, count in zip(editors, made, strict=True)
        for number in range(count)
    }
    for each in editors:
        assert {(o["id"], o["n"]) for o in await each.device.read("tasks")} == wanted
        assert each.device.status.pending == 0
        assert not each.device.setbacks


def stored_once(data: Path) -> str:
    """Make sure that each edit is in the hub's log once; how many, and the longest way there."""
    with closing(sqlite3.connect(data)) as file:
        rows = file.execute(_LOG).fetchall()
    assert set(Counter(name for name, _wait in rows).values()) == {1}
    return f"{len(rows)} edits, each in the log once, at the latest {max(w for _, w in rows)} ms on"
