"""Tokens run out all the while, and no edit is lost, stalls for good, or is stored twice.

An expired token that stalls a queue is the first complaint of every peer's users.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path
from random import Random

from client import Device
from tests.tokens.issuing import BadIssuer, Editor, a_hub

DEVICES = ("phone", "tab", "pad", "desk")
RENEWALS = 8
"""Fresh tokens that each device is given."""
LIFE = (0.5, 3.0)
"""Seconds for which a token counts."""
_LOG = """
SELECT edit.value ->> 'id', log.stored_at - (edit.value ->> 'utc_timestamp')
FROM log, json_each(log.diffs) AS edit
"""


def log_of(data: Path) -> tuple[Counter[str], int]:
    """How often each edit is in the hub's log, by its id, and the longest way there in ms."""
    with closing(sqlite3.connect(data)) as file:
        rows = file.execute(_LOG).fetchall()
    return Counter(name for name, _wait in rows), max(wait for _name, wait in rows)


async def test_no_edit_is_lost_or_stored_twice_while_tokens_run_out(tmp_path: Path) -> None:
    """Four devices, whose tokens live for some seconds; six in ten are not had at once."""
    chance = Random(6)
    async with a_hub(tmp_path) as (url, secret), AsyncExitStack() as devices:
        editors = []
        for name in DEVICES:
            issuer = BadIssuer(secret, "ada", chance, LIFE, RENEWALS)
            device = Device(url, token=issuer, path=tmp_path / f"{name}.db", name=name)
            editors.append(Editor(await devices.enter_async_context(device), issuer))
        made = await asyncio.gather(*(each.edit() for each in editors))
        for _ in range(2):  # in the second each hears what the others sent in the first
            await asyncio.gather(*(each.device.synchronize(60) for each in editors))
        await agree(editors, made)
    stored, longest = log_of(tmp_path / "hub.db")
    asked = sum((each.issuer.asked for each in editors), Counter[str]())
    print(f"{len(stored)} edits, the last after {longest} ms in the log; tokens: {dict(asked)}")
    assert set(stored.values()) == {1}
    assert min(asked["failed"], asked["old"]) >= RENEWALS


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
