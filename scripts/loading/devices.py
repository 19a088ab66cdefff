"""The devices of the load: of each user one that writes, the others listen.

A device is greeted, then rehearses: it makes the objects and updates each once, one push at a
time, and every frame of the server is parsed and compared with what it must be. From `begin` on it
is under measure: frames are only searched (`scripts.loading.pushes`), and what is still checked is
that each clock comes once and in order.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

import orjson

from scripts.loading.faults import LoadError
from scripts.loading.link import DEADLINE, Link
from scripts.loading.pushes import Templates, read_ack, read_changes

_REHEARSED: Final = 8
"""Frames that may wait to be checked; a rehearsal has one push under way, so it needs no more."""


class Device:
    """What a writer and a listener have in common."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.user = link.user
        self.clock = 0
        self.latencies: list[int] = []  # ns, one for each push acked or heard under measure
        self._inbox: asyncio.Queue[bytes] = asyncio.Queue(_REHEARSED)
        link.take = self._keep

    async def greet(self) -> None:
        """Say hello as a new device of a new user, and wait until it is live."""
        hello = {"type": "hello", "token": self.user, "device": self.link.name}
        self.link.send(orjson.dumps(hello | {"logical_clock": 0, "log_id": None, "half": None}))
        welcome = {"type": "welcome", "user": self.user, "device": self.link.name, "reset": False}
        await self.expect(welcome | {"logical_clock": 0, "last_push_id": 0})
        await self.expect({"type": "ready", "logical_clock": 0, "last_push_id": 0})

    async def expect(self, wanted: dict[str, Any]) -> None:
        """Wait for the next frame; it must hold these fields, and no refused or lost parts."""
        try:
            async with asyncio.timeout(DEADLINE):
                payload = await self._inbox.get()
        except TimeoutError:
            raise LoadError(f"{self.user}/{self.link.name} waited in vain for {wanted}") from None
        got = orjson.loads(payload)
        outcome = (got.keys() - wanted.keys()) & {"diffs", "lost", "rejected"}
        if {name: got.get(name) for name in wanted} != wanted or outcome:
            raise LoadError(f"{self.user}/{self.link.name} got {payload!r} instead of {wanted}")

    def _keep(self, payload: bytes) -> None:
        if self._inbox.full():
            self.link.fault(f"unasked for: {payload[:200]!r}")
        else:
            self._inbox.put_nowait(payload)


class Listener(Device):
    """A device that only hears of the pushes of its user's writer."""

    def begin(self) -> None:
        """From now on under measure."""
        self.link.take = self._take

    def _take(self, payload: bytes) -> None:
        now = time.perf_counter_ns()
        heard = read_changes(payload)
        if heard is None or heard.clock != self.clock + 1:
            self.link.fault(f"after clock {self.clock} came {payload[:200]!r}")
        if heard is not None:
            self.clock = heard.clock
            self.latencies.append(now - heard.sent)


class Writer(Device):
    """A device that pushes: by itself, as its acks come, or when it is told to."""

    def __init__(self, link: Link, frames: Templates) -> None:
        super().__init__(link)
        self.frames = frames
        self.under_way: dict[int, int] = {}  # push id -> when it was due (ns)
        self._push_id = 0
        self._timestamp = 0
        self._until = 0

    def begin(self, until: int) -> None:
        """From now on under measure; up to `until` (ns), if not 0, a push follows each ack."""
        self.link.take = self._take
        self._until = until
        if until:
            self.push(time.perf_counter_ns())

    def push(self, due: int) -> None:
        """Push an update of the next object, which was due at `due` (ns)."""
        updates = self.frames.updates
        self.link.send(self.fill(updates[self._push_id % len(updates)], due))

    def fill(self, template: bytes, due: int) -> bytes:
        """Make a push of a template, and note that it is under way."""
        self._push_id = push_id = self._push_id + 1
        self._timestamp = max(self._timestamp + 1, time.time_ns() // 1_000_000)
        self.under_way[push_id] = due
        return template % (push_id, push_id, self.clock, self._timestamp, due)

    def _take(self, payload: bytes) -> None:
        now = time.perf_counter_ns()
        ack = read_ack(payload)
        due = self.under_way.pop(ack.push_id, None) if ack else None
        if ack is None or due is None or ack.clock != self.clock + 1:
            self.link.fault(f"after clock {self.clock} came {payload[:200]!r}")
        if ack is not None and due is not None:
            self.clock = ack.clock
            self.latencies.append(now - due)
            if now < self._until:
                self.push(now)


class User:
    """One user's devices."""

    def __init__(self, writer: Writer, listeners: Sequence[Listener]) -> None:
        self.writer = writer
        self.listeners = listeners

    def begin(self, until: int) -> None:
        """From now on under measure; the writer pushes by itself up to `until` (ns), if not 0."""
        for listener in self.listeners:
            listener.begin()
        self.writer.begin(until)

    async def rehearse(self) -> None:
        """Greet, make the objects and update each once, comparing every frame in full."""
        for device in (self.writer, *self.listeners):
            await device.greet()
        for template in (*self.writer.frames.creates, *self.writer.frames.updates):
            await self._exchange(self.writer.fill(template, time.perf_counter_ns()))

    async def _exchange(self, frame: bytes) -> None:
        push = orjson.loads(frame)
        clock = self.writer.clock + 1
        self.writer.link.send(frame)
        await self.writer.expect(
            {"type": "ack", "push_id": push["push_id"], "logical_clock": clock}
        )
        changes = {"type": "changes", "logical_clock": clock, "device": self.writer.link.name}
        for listener in self.listeners:
            await listener.expect(changes | {"diffs": [_outgoing(diff) for diff in push["diffs"]]})
            listener.clock = clock
        self.writer.clock = clock
        del self.writer.under_way[push["push_id"]]

    def at_rest(self) -> bool:
        """Whether nothing more can come: all is acked and heard, or somebody is gone."""
        links = [self.writer.link, *(listener.link for listener in self.listeners)]
        level = not self._missing_acks() and not self._missing_deliveries()
        return level or any(link.lost.is_set() for link in links)

    def settle(self) -> None:
        """Count as faults the acks and deliveries that never came."""
        for missing, what in (
            (self._missing_acks(), "acks"),
            (self._missing_deliveries(), "deliveries"),
        ):
            if missing:
                self.writer.link.faults.add(
                    f"{self.writer.user}: {missing} {what} missing", missing
                )

    def _missing_acks(self) -> int:
        return len(self.writer.under_way)

    def _missing_deliveries(self) -> int:
        heard = [listener.clock for listener in self.listeners]
        return sum(max(0, self.writer.clock - clock) for clock in heard)


def _outgoing(diff: dict[str, Any]) -> dict[str, Any]:
    """Return a diff as it goes out: the base is left out (docs/protocol.md, section 3)."""
    return {name: value for name, value in diff.items() if name != "logical_clock"}
