"""What was said, stored and heard, and what must hold of it at every moment."""

from __future__ import annotations

import functools
import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, ParamSpec

from protocol.errors import HistoryGap
from tests.simulation.history import History
from tests.simulation.keeping import check_visit
from tests.simulation.line import Heard, Line

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from hub.store.interface import Incoming, Stored
    from hub.store.retention import Horizon, Looked
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
    """What one connection has told its device: where the device began, and where it is.

    `deletions`: behind this clock it has yet to hear of each. `was_reset`: all that it had is gone.
    `furthest` is where it has been, which is where it is again if it dies before that is stored.
    """

    def __init__(self, hello: dict[str, Any]) -> None:
        half = hello.get("half")
        self.clock: int = hello["logical_clock"]
        self.half = half is not None
        self.level = self.clock
        self.deletions = self.furthest = self.clock
        self.was_reset = self.was_ready = False
        if half is not None:
            self.level = half["from"]
            self.deletions = self.clock if half["from"] else half["head"]

    def hear(self, message: dict[str, Any], record: History) -> None:
        """Each clock is heard of once and in order, and says what the log says."""
        self._hear(message, message.get("logical_clock", 0), record)
        self.furthest = max(self.furthest, self.clock)
        if not self.half:
            self.level = max(self.level, self.clock)

    def _hear(self, message: dict[str, Any], clock: int, record: History) -> None:
        match message["type"]:
            case "welcome" if message["reset"]:
                assert self.deletions < record.announced, "a device was reset without need"
                self.clock, self.half, self.was_reset = 0, False, True
                record.happened["reset"] += 1
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
                    self.clock, self.half, self.was_ready = clock, False, True

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
        self.records: dict[str, History] = {}
        self.on_commit: Callable[[], None] | None = None
        self.on_push: dict[Place, Callable[[], None]] = {}
        self.handed_out: Counter[str] = Counter()
        self.levels: Counter[Place] = Counter()
        self._made: dict[str, int] = {}
        self._said: dict[Place, dict[int, list[Any]]] = defaultdict(dict)
        self._stamped: Counter[Place] = Counter()
        self._confused: set[Place] = set()
        self._asking: dict[Place, str] = {}
        self._taken: dict[str, Counter[str]] = defaultdict(Counter)
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

    def record(self, user: str) -> History:
        if user not in self.records:
            self.records[user] = History(MAX_OBJECT_BYTES, self.happened)
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
        if self.on_commit is not None:
            self.on_commit()
            self.on_commit = None

    @kept_in_mind
    def looked(self, looked: Looked, horizon: Horizon, connection: sqlite3.Connection) -> None:
        """The hub has found out what it may let go."""
        for visit in looked.visits:
            record = self.record(visit.name)
            record.announced = max(record.announced, visit.line)
            check_visit(visit, horizon, record.head, self._taken[visit.name], connection)

    @kept_in_mind
    def kept(self, connection: sqlite3.Connection) -> None:
        """The hub has let go, or begun with the file that a dead one left."""
        for user, line, dropped in connection.execute("SELECT name, line, dropped FROM users"):
            self._note(f"kept {user} {line} {dropped}")
            record = self.record(user)
            assert line <= record.announced, "a line was raised, and nobody told of it"
            record.kept(line, dropped)

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
        assert line.buffered <= line.most_buffered, "a slow device costs more than its buffer"
        if frame.startswith(b'{"type":"ack"'):
            self._check_ack(line, json.loads(frame))
        elif frame.startswith(b'{"type":"changes"'):
            self._hand_out(line, json.loads(frame)["logical_clock"])
        elif frame.startswith(b'{"type":"welcome"'):
            self._greeted[self._owners[line].place] = line
            self._check_line(line, json.loads(frame))
            self._check_standing(line, json.loads(frame))
        elif frame.startswith(b'{"type":"ready"'):
            self._check_standing(line, json.loads(frame))

    def _hand_out(self, line: Line, clock: int) -> None:
        user = self._owners[line].user
        self.handed_out[user] = max(self.handed_out[user], clock)

    def _check_line(self, line: Line, welcome: dict[str, Any]) -> None:
        """Who has not heard of deletions that the hub has forgotten begins again."""
        known = self._ears[line].deletions >= self.record(self._owners[line].user).line
        assert known or welcome["reset"], "a device will never hear of a deletion"

    def _check_standing(self, line: Line, message: dict[str, Any]) -> None:
        """Under the lock nothing is stored: head and push id are those of this moment."""
        user, device = self._owners[line].place
        model = self.record(user).model
        assert message["logical_clock"] == model.head, "not the head"
        if not message.get("more"):
            assert message["last_push_id"] == model.last_push_id(device), "not the last push"

    def _check_ack(self, line: Line, ack: dict[str, Any]) -> None:
        user, device = self._owners[line].place
        clock, push_id = ack["logical_clock"], ack["push_id"]
        log = self.record(user).model.log
        self._hand_out(line, clock)
        assert clock <= len(log), f"push {push_id} of {device} was acked and is not stored"
        logged = log[clock - 1]
        assert (logged["device"], logged["push_id"]) == (device, push_id), "acked another's push"
        self._acked[user][clock] = device, push_id

    def came(self, line: Line, frame: str) -> None:
        user, device = self._owners[line].place
        if frame.startswith('{"type":"push"'):
            self._pushed[line].add(json.loads(frame)["push_id"])
        elif frame.startswith('{"type":"received"'):
            clock = json.loads(frame)["logical_clock"]
            self._taken[user][device] = max(self._taken[user][device], clock)

    @kept_in_mind
    def said(self, line: Line, frame: bytes) -> None:
        self._note(f"{line.address} > {frame.decode()}")
        message = json.loads(frame)
        place = self._owners[line].place
        if message["type"] == "hello":
            self._check_hello(place, message)
            self.happened["half-way hello"] += message.get("half") is not None
            self._ears[line] = self._last[place] = Ear(message)
        if message["type"] in ("hello", "ping"):
            self._asking[place] = message.get("nonce", "")
        elif message["type"] == "received":
            self._check_received(place, line, message["logical_clock"])
        elif message["type"] == "push":
            self._check_push(place, message)
            self.on_push.pop(place, _nothing)()

    def _check_hello(self, place: Place, hello: dict[str, Any]) -> None:
        """What is heard anew begins behind what the device said to have, within what it heard."""
        last = self._last.get(place)
        if last is not None and last.was_reset:
            self._reported[place] = 0
        furthest = last.furthest if last is not None else 0
        assert self._reported[place] <= hello["logical_clock"] <= furthest

    def _check_received(self, place: Place, line: Line, clock: int) -> None:
        """Half-way, and before it was told all outcomes, a device has not received anything."""
        assert self._ears[line].was_ready, "received, and not yet ready"
        assert clock <= self.levels[place], f"received up to {clock}, and half-way"
        self._reported[place] = max(self._reported[place], clock)

    def _check_push(self, place: Place, push: dict[str, Any]) -> None:
        """A push cut is never changed; its edits know what the user saw, and come in order."""
        said, push_id, diffs = self._said[place], push["push_id"], push["diffs"]
        assert not push.get("again"), "no device was put back to an older copy"
        if push_id in said:
            assert said[push_id] == diffs, f"push {push_id} of {place} was changed"
            return
        said[push_id] = diffs
        for diff in diffs:
            level = self._made[diff["id"]]
            assert diff["logical_clock"] <= level, f"{diff} was made at {level}"
            self._check_time(place, diff["utc_timestamp"])

    def _check_time(self, place: Place, timestamp: int) -> None:
        if timestamp <= self._stamped[place]:
            assert place in self._confused, "a device's time went back"
            self._confused.discard(place)
        self._stamped[place] = timestamp

    # The devices

    def make(self, place: Place, diff_id: str) -> None:
        """A device makes an edit, and has been level at this clock."""
        self._made[diff_id] = self.levels[place]

    def confuse(self) -> None:
        """Days pass: who asks before and is answered after takes the hub's time for another.

        It finds that out with the next answer, and begins lower, once.
        """
        self._confused.update(self._asking)

    def gap(self, words: str) -> HistoryGap:
        """A device has heard of a clock twice, or of one too late. With a sound hub it does not."""
        self.failure = self.failure or AssertionError(f"a device heard {words}")
        return HistoryGap(words)

    @kept_in_mind
    def check_level(self, place: Place, clock: int, head: int) -> None:
        """A device that is level has all that was handed out when it asked."""
        assert clock >= head, f"{place} is told to be level at {clock}, and the hub was at {head}"

    @kept_in_mind
    def took(self, line: Line, frame: bytes) -> None:
        message = json.loads(frame)
        self.happened[message["type"]] += 1
        ear, place = self._ears[line], self._owners[line].place
        if message["type"] in ("welcome", "pong"):
            self._answered(place, message.get("nonce", ""))
        ear.hear(message, self.record(place[0]))
        self.levels[place] = max(self.levels[place], ear.level)

    def _answered(self, place: Place, nonce: str) -> None:
        if self._asking.get(place) == nonce:
            del self._asking[place]

    # In the end

    def check_acked(self, user: str, rows: Sequence[Stored]) -> None:
        """No acked push is missing from the log, and none is there twice."""
        log = {row.clock: (row.device, row.push_id) for row in rows}
        dropped = self.record(user).dropped
        assert [row.clock for row in rows] == list(range(dropped + 1, dropped + len(rows) + 1))
        pushes = [push for push in log.values() if push[1]]
        assert len(set(pushes)) == len(pushes), "a push is stored twice"
        for clock, push in self._acked[user].items():
            assert clock <= dropped or log.get(clock) == push, f"acked, and not in the log: {push}"


def _nothing() -> None:
    """Nobody waits for it."""
