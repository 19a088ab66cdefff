"""Polling clients and a live device agree with the hub, whatever they edit and whatever is lost."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.auth import Grant
from hub.http.polling import poll
from hub.store.interface import Cursor
from protocol.messages import decode_fields
from tests.hub.fakes import START, FakeLink, Site, VirtualLoop, a_hub, diff
from tests.hub.http.client import Json, PollingClient, by_clock, by_timestamp

POLLERS = 3
TOO_LARGE = 2**60
"""An integer that JavaScript does not hold, so that the edit is refused."""

Rows = dict[tuple[str, str], Json]


class Edit(NamedTuple):
    """Somebody edits an object; `who` may be a polling client or, behind them, the live device."""

    who: int
    kind: str
    name: str
    fields: Json
    at: int


class Sync(NamedTuple):
    """Polling clients synchronize, at the same time if there are several."""

    who: frozenset[int]
    is_lost: bool = False


class ForgetLog(NamedTuple):
    """The hub drops the log behind the objects that it made."""


class OneFamily:
    """Every token is of one user; one that ends so may only read."""

    def check(self, token: object) -> Grant:
        return Grant("ada", read_only=str(token).endswith("reads"))


values = st.one_of(st.integers(0, 9), st.sampled_from([None, TOO_LARGE]))
edits = st.builds(
    Edit,
    st.integers(0, POLLERS),
    st.sampled_from(["create", "update", "update", "update", "delete"]),
    st.sampled_from("xxxy"),
    st.dictionaries(st.sampled_from("abc"), values, min_size=1, max_size=2),
    st.integers(START - 3, START + 3),
)
syncs = st.builds(
    Sync, st.frozensets(st.integers(0, POLLERS - 1), min_size=1, max_size=2), st.booleans()
)
actions = st.lists(
    st.one_of(edits, edits, edits, syncs, syncs, st.just(ForgetLog())), min_size=15, max_size=40
)


class World:
    """A hub, its polling clients (the last of which may only read), and a live device."""

    def __init__(self, site: Site, link: FakeLink, order: Callable[[Json], Any]) -> None:
        self.site = site
        self.link = link
        names = [*(f"p{number}" for number in range(POLLERS - 1)), "reads"]
        self.pollers = [PollingClient(self.post, name, name, order) for name in names]
        self.live: Rows = {}
        self.heard = 0
        self.pushes = 0

    async def post(self, request: Json) -> Json:
        done = await poll(self.site.hub, json.dumps(request).encode())
        answer: Json = json.loads(done.body)
        return answer

    async def do(self, action: Edit | Sync | ForgetLog) -> None:
        match action:
            case Edit(who=who) if who < POLLERS:
                fields = {"id": action.name, **action.fields}
                fields = {"id": action.name} if action.kind == "delete" else fields
                self.pollers[who].edit(action.kind, "tasks", fields, action.at)
            case Edit():
                await self.push(action)
            case Sync():
                await self.synchronize(action)
            case ForgetLog():
                await forget_log(self.site)

    async def push(self, edit: Edit) -> None:
        self.pushes += 1
        pushed = diff(edit.kind, edit.name, self.heard, edit.at, **edit.fields)
        self.link.push(self.pushes, pushed)
        await self.listen([pushed])

    async def synchronize(self, sync: Sync) -> None:
        clients = [self.pollers[who] for who in sorted(sync.who)]
        await asyncio.gather(*(c.synchronize(answer_is_lost=sync.is_lost) for c in clients))
        if len(clients) == 1 and not sync.is_lost:
            assert clients[0].rows == await held_by(self.site)

    async def listen(self, pushed: Sequence[Json] = ()) -> None:
        """The live device takes what it has heard by now."""
        for frame in await self.link.heard_by_now():
            assert frame["logical_clock"] == self.heard + 1
            self.heard += 1
            for each in frame.get("diffs", pushed):
                apply(self.live, each)


def apply(rows: Rows, edit: Json) -> None:
    fields = edit["json_data"]
    key = edit["model"], fields["id"]
    if edit["type"] == "delete":
        rows.pop(key, None)
    else:
        rows[key] = {**(rows.get(key, {}) if edit["type"] == "update" else {}), **fields}


async def held_by(site: Site) -> Rows:
    await site.store._fold()
    page = await site.store.page("ada", Cursor(0), 2**53, 2**30)
    found = [(entry.model, decode_fields(entry.json_data)) for entry in page.objects]  # type: ignore[arg-type]
    return {(model, fields["id"]): fields for model, fields in found}


async def forget_log(site: Site) -> None:
    await site.store._fold()
    await site.store._writer.run(
        lambda connection: connection.executescript("DELETE FROM log_clocks; DELETE FROM log;")
    )


async def live_through(
    path: Path, story: Sequence[Edit | Sync | ForgetLog], order: Callable[[Json], Any]
) -> None:
    async with a_hub(path, authority=OneFamily()) as site:
        world = World(site, await site.live("phone"), order)
        for action in story:
            await world.do(action)
            await world.listen()
        for _round in range(2):
            for who in range(POLLERS):
                await world.do(Sync(frozenset({who})))
        await world.listen()
        held = await held_by(site)
        assert [client.rows for client in world.pollers] == [held] * POLLERS
        assert world.live == held
        assert [client.failures for client in world.pollers] == [[]] * POLLERS
        assert [client.waiting() for client in world.pollers] == [[]] * POLLERS


def run_story(
    story: Sequence[Edit | Sync | ForgetLog], order: Callable[[Json], Any] = by_clock
) -> None:
    with TemporaryDirectory() as folder, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(live_through(Path(folder) / "hub.db", story, order))


@pytest.mark.parametrize("order", [by_clock, by_timestamp])
@settings(max_examples=60, deadline=None)
@given(story=actions)
def test_all_agree_after_any_story(
    order: Callable[[Json], Any], story: list[Edit | Sync | ForgetLog]
) -> None:
    run_story(story, order)
