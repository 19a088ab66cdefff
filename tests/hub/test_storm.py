"""Devices in every kind of trouble at once: real replicas, a real store, and a hub between them."""

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from hub import catchup, session
from hub.limits import Limits
from hub.states import TRANSITIONS, Event, State
from protocol.diffs import Fields, Key, Object
from protocol.errors import HistoryGap
from protocol.messages import decode_from_hub, encode
from protocol.records import Position, Saved
from protocol.replica import Replica
from tests.hub.fakes import START, FakeLink, Site, a_hub, in_virtual_time, settled

IDS = tuple("abcdefghijkl")
FIELDS = ("n", "m", "text")
LIMITS = Limits(
    max_log_pushes=4, send_buffer_bytes=250, max_pushes_under_way=3, max_devices_per_user=5
)


class Device:
    """A replica on a fake link: it edits, comes and goes, stalls, and takes what it is told."""

    def __init__(self, name: str, site: Site, chance: random.Random) -> None:
        self.name = name
        self.replica = Replica(Saved())
        self.link: FakeLink | None = None
        self.sent: dict[int, list[str]] = {}
        """The ids of the diffs of each push that went out."""
        self._site = site
        self._chance = chance
        self._numbers = itertools.count(1)
        self.reading: list[asyncio.Task[None]] = []

    def connect(self) -> None:
        """Come, or come back, with or without the older socket being gone."""
        self.link = self._site.connect()
        if self.name != "desk" and self._chance.random() < 0.6:
            self.link.stall()
        self.link.say_raw(encode(self.replica.hello("ada", self.name)).decode())
        self.reading.append(asyncio.create_task(self._read(self.link)))

    def vanish(self) -> None:
        if self.link is not None:
            self.link.vanish()
            self.link = None

    def begin_anew(self) -> None:
        """Forget everything but the counters, as an application that clears its cache does."""
        if not self.replica.pending:
            self.vanish()
            kept = self.replica.position
            position = Position(counter=kept.counter, settled=kept.settled, setbacks=kept.setbacks)
            self.replica = Replica(Saved(position, setbacks=self.replica.setbacks))

    def edit(self) -> None:
        kind = self._chance.choice(("create", "update", "update", "update", "delete"))
        fields = {"id": self._chance.choice(IDS)}
        if kind != "delete":
            chosen = self._chance.sample(FIELDS, self._chance.randint(1, 3))
            fields |= {name: "x" * self._chance.randint(1, 60) for name in chosen}
        now = START + self._chance.randint(-50, 50)
        diff_id = f"{self.name}-{next(self._numbers)}"
        self.replica.edit(kind, "m", fields, diff_id=diff_id, now=now)  # type: ignore[arg-type]
        self.push()

    def push(self) -> None:
        while self.link is not None and (push := self.replica.next_push()) is not None:
            self.sent[push.push_id] = [diff.id for diff in push.diffs]
            self.link.say_raw(encode(push).decode())

    def shown(self) -> Mapping[str, Fields]:
        return {str(fields["id"]): fields for fields in self.replica.shown("m")}

    def setbacks(self) -> set[int]:
        """The pushes of which this device knows that something was lost or rejected."""
        return {setback.push_id for setback in self.replica.setbacks.values()}

    async def _read(self, link: FakeLink) -> None:
        async for frame in link.frames():
            if link is not self.link:
                return
            if frame["type"] == "changes" and frame["device"] == self.name:
                raise GapError(f"{self.name}: its own push came as another's: {frame}")
            try:
                self.replica.take(decode_from_hub(json.dumps(frame)), START)
            except HistoryGap as gap:
                raise GapError(f"{self.name}: {gap} in {frame}") from gap
            self.push()


class GapError(Exception):
    """A device heard of a clock twice, or out of order, or never."""


def actions(device: Device, chance: random.Random) -> Iterator[Callable[[], object]]:
    """What may happen to a device now, the likely more than once."""
    yield from (device.edit,) * 5
    link = device.link
    if link is None:
        yield device.connect
        yield device.begin_anew
        return
    yield from (device.vanish,) * (20 if device.replica.position.half else 1)
    yield device.connect
    yield from (link.stall,) * 2
    yield from (lambda: link.take(chance.randint(1, 2)),) * 4
    yield link.take
    yield lambda: link.say("received", logical_clock=device.replica.position.clock)
    yield lambda: link.say("ping")


async def storm(site: Site, chance: random.Random, steps: int) -> list[Device]:
    """One device is nearly always there and edits; the others come, go, stall and edit."""
    devices = [Device(name, site, chance) for name in ("desk", "phone", "laptop", "tab")]
    desk, *others = devices
    for _step in range(steps):
        if desk.link is None or chance.random() < 0.01:
            desk.connect()
        for _edit in range(chance.choice((0, 0, 0, 1, 1, 3))):
            desk.edit()
        device = chance.choice(others)
        chance.choice(list(actions(device, chance)))()
        trouble(site, chance)
        await asyncio.sleep(chance.choice((0, 0, 0, 0, 0.1, 0.3, 2)))
        for _turn in range(chance.choice((0, 1, 2, 5, 10, 50))):
            await asyncio.sleep(0)
    return devices


def trouble(site: Site, chance: random.Random) -> None:
    """The disk is slow, or full; somebody talks nonsense."""
    if chance.random() < 0.1:
        site.store.hold()
    else:
        site.store.let_go()
    if chance.random() < 0.02:
        site.store.failures += 1
    if chance.random() < 0.05:
        site.connect().say_raw("no JSON")


async def calm(site: Site, devices: list[Device]) -> None:
    """Everybody comes back, reads, and has told the hub everything."""
    site.store.failures = 0
    site.store.let_go()
    for device in devices:
        device.vanish()
    await settled()
    for device in devices:
        device.connect()
        assert device.link is not None
        device.link.take()
    async with asyncio.timeout(60):
        while any(d.replica.pending or not d.replica.ready for d in devices):
            await asyncio.sleep(0.1)
        head = site.hub.users._users["ada"].head
        while any(d.replica.position.clock < head for d in devices):
            await asyncio.sleep(0.1)


def watched(monkeypatch: pytest.MonkeyPatch, seen: set[tuple[State, Event]]) -> None:
    """Write down which rows of the table of states are used."""

    class Row(dict[Event, State]):
        def __init__(self, state: State) -> None:
            super().__init__(TRANSITIONS[state])
            self._state = state

        def __getitem__(self, event: Event) -> State:
            seen.add((self._state, event))
            return super().__getitem__(event)

    monkeypatch.setattr(session, "TRANSITIONS", {state: Row(state) for state in State})


@pytest.mark.parametrize("seed", range(20))
@in_virtual_time
async def test_all_devices_agree_after_a_storm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Each device hears of each clock once and in order, or its replica says that there is a gap.

    Each row of the table of states is used; what it does not have would end the test.
    """
    seen: set[tuple[State, Event]] = set()
    watched(monkeypatch, seen)
    monkeypatch.setattr(catchup, "PAGE_BYTES", 150)
    monkeypatch.setattr(catchup, "LAST_STEP", 2)
    chance = random.Random(seed)
    async with a_hub(tmp_path / "hub.db", limits=LIMITS) as site:
        devices = await storm(site, chance, steps=250)
        await calm(site, devices)
        keys: list[Key] = [("m", name) for name in IDS]
        held = await site.store.objects("ada", keys)
        objects = {key[1]: dict(o.fields) for key, o in held.items() if isinstance(o, Object)}
        for device in devices:
            assert device.shown() == objects, device.name
        log = await site.store.log("ada", 0, 10**9)
        assert [stored.clock for stored in log] == list(range(1, len(log) + 1))
        pushes = sorted((stored.device, stored.push_id) for stored in log)
        assert pushes == sorted((d.name, push_id) for d in devices for push_id in d.sent)
        for device in devices:
            losses = {s.push_id for s in log if s.device == device.name and (s.lost or s.rejected)}
            assert device.setbacks() == losses, device.name
        for device in devices:
            device.vanish()
            await asyncio.gather(*device.reading)
    assert seen == {(before, event) for before, row in TRANSITIONS.items() for event in row}
