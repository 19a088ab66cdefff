"""What was said, stored and heard, and what must hold of it at every moment."""

from __future__ import annotations

import functools
import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, ParamSpec

from tests.machine.record import Record
from tests.simulation.line import Heard, Line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hub.store.interface import Incoming, Stored
    from tests.simulation.person import Person

P = ParamSpec("P")
MAX_OBJECT_BYTES = 400
Place = tuple[str, str]
"""A user and the name of one of its devices."""


def kept_in_mind(check: Callable[P, None]) -> Callable[P, None]:
    """Keep the first failure: the program in whose task it is raised may swallow it."""

    @functools.wraps(check)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            check(*args, **kwargs)
        except AssertionError as error:
            account: Any = args[0]
            account.failure = account.failure or error
            raise

    return run


class Ear:
    """What one connection has told its device: where the device began, and where it is."""

    def __init__(self, hello: dict[str, Any]) -> None:
        self.clock: int = hello["logical_clock"]
        self.half = hello.get("half") is not None

    def hear(self, message: dict[str, Any], record: Record) -> None:
        """Each clock is heard of once and in order, and says what the log says."""
        clock = message.get("logical_clock", 0)
        match message["type"]:
            case "welcome":
                assert not message["reset"], "a device was reset, and no history was lost"
            case "changes" | "ack":
                assert clock == self.clock + 1, f"clock {clock} came after {self.clock}"
                self._compare(message, record.model.log[clock - 1])
                self.clock = clock
            case "snapshot":
                assert clock >= self.clock, f"a page up to {clock} at {self.clock}"
                self.clock, self.half = clock, True
            case "ready":
                assert self.half or clock == self.clock, f"ready at {clock} after {self.clock}"
                if not message.get("more"):
                    self.clock, self.half = clock, False

    def _compare(self, message: dict[str, Any], logged: dict[str, Any]) -> None:
        if message["type"] == "changes":
            assert message["device"] == logged["device"]
        else:
            assert message["push_id"] == logged["push_id"]
        if "diffs" in message:
            assert message["diffs"] == logged["diffs"]


class Account(Heard):
    """The books of the world; `note` is told each event in words, for the trace."""

    def __init__(self, now: Callable[[], int], note: Callable[[str], None]) -> None:
        self.failure: AssertionError | None = None
        self.happened: Counter[str] = Counter()
        self.records: dict[str, Record] = {}
        self.arrived: dict[Place, set[str]] = defaultdict(set)
        self._acked: dict[str, dict[int, tuple[str, int]]] = defaultdict(dict)
        self._greeted: dict[Place, Line] = {}
        self._pushed: dict[Line, set[int]] = defaultdict(set)
        self._owners: dict[Line, Person] = {}
        self._ears: dict[Line, Ear] = {}
        self._last: dict[Place, Ear] = {}
        self._reported: dict[Place, int] = defaultdict(int)
        self._now = now
        self._note = note

    def record(self, user: str) -> Record:
        if user not in self.records:
            self.records[user] = Record(MAX_OBJECT_BYTES, self.happened)
        return self.records[user]

    def belongs(self, line: Line, person: Person) -> None:
        self._owners[line] = person

    def hub_died(self) -> None:
        self._greeted.clear()

    # The store

    @kept_in_mind
    def stored(self, group: Sequence[Incoming], stored: Sequence[Stored | None], now: int) -> None:
        """The hub has decided a group, and committed it, at its own time `now`."""
        self.happened["group of several"] += len(group) > 1
        for incoming, what in zip(group, stored, strict=True):
            self._note(f"stored {incoming.user} {incoming.device} {incoming.push_id} {what}")
            self._check_fence(incoming, what)
            self.record(incoming.user).observe(incoming, what, now)
            self._arrive(incoming)

    def _check_fence(self, incoming: Incoming, what: Stored | None) -> None:
        """Nothing that an older socket had under way is stored after a newer one's welcome."""
        line = self._greeted.get((incoming.user, incoming.device))
        if line is not None and what is not None:
            assert incoming.push_id in self._pushed[line], "an older socket's push was stored"

    def _arrive(self, incoming: Incoming) -> None:
        arrived = self.arrived[incoming.user, incoming.device]
        for diff in incoming.diffs:
            name = diff["json_data"]["id"]
            if diff["type"] == "delete":
                arrived.add(f"{name} deleted")
            arrived.update(f"{name} {json.dumps(v)}" for v in diff["json_data"].values())

    # The lines

    @kept_in_mind
    def sent(self, line: Line, frame: bytes) -> None:
        self._note(f"{line.address} < {frame.decode()}")
        if frame.startswith(b'{"type":"ack"'):
            self._check_ack(line, json.loads(frame))
        elif frame.startswith(b'{"type":"welcome"'):
            self._greeted[self._owners[line].place] = line

    def _check_ack(self, line: Line, ack: dict[str, Any]) -> None:
        user, device = self._owners[line].place
        clock, push_id = ack["logical_clock"], ack["push_id"]
        log = self.record(user).model.log
        assert clock <= len(log), f"push {push_id} of {device} was acked and is not stored"
        logged = log[clock - 1]
        assert (logged["device"], logged["push_id"]) == (device, push_id), "acked another's push"
        self._acked[user][clock] = device, push_id

    def came(self, line: Line, frame: str) -> None:
        if frame.startswith('{"type":"push"'):
            self._pushed[line].add(json.loads(frame)["push_id"])

    @kept_in_mind
    def said(self, line: Line, frame: bytes) -> None:
        self._note(f"{line.address} > {frame.decode()}")
        message = json.loads(frame)
        place = self._owners[line].place
        if message["type"] == "hello":
            self._check_hello(place, message)
            self._ears[line] = self._last[place] = Ear(message)
        elif message["type"] == "received":
            self._reported[place] = max(self._reported[place], message["logical_clock"])

    def _check_hello(self, place: Place, hello: dict[str, Any]) -> None:
        """What is heard anew begins behind what the device said to have, within what it heard."""
        heard = self._last[place].clock if place in self._last else 0
        assert self._reported[place] <= hello["logical_clock"] <= heard

    @kept_in_mind
    def took(self, line: Line, frame: bytes) -> None:
        message = json.loads(frame)
        self.happened[message["type"]] += 1
        self._ears[line].hear(message, self.record(self._owners[line].user))

    # In the end

    def check_acked(self, user: str, rows: Sequence[Stored]) -> None:
        """No acked push is missing from the log, and none is there twice."""
        log = {row.clock: (row.device, row.push_id) for row in rows}
        assert len(set(log.values())) == len(log) == len(rows)
        assert [row.clock for row in rows] == list(range(1, len(rows) + 1))
        for clock, push in self._acked[user].items():
            assert log.get(clock) == push, f"acked, and not in the log: {push}"
