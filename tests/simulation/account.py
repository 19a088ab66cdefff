"""What was said, stored and heard, and what must hold of it at every moment."""

from __future__ import annotations

import functools
import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec

from protocol.errors import HistoryGap
from tests.simulation.keeping import check_visit
from tests.simulation.line import Heard, Line
from tests.simulation.strands import Asked, Place, Strands, named

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hub.store.interface import Incoming, Stored
    from hub.store.retention import Horizon, Looked
    from protocol.diffs import Diff
    from protocol.history import History as Named
    from protocol.records import Setback
    from tests.simulation.history import History
    from tests.simulation.person import Person

P = ParamSpec("P")


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
    `places` are those where it has been, level or half-way: in one of them it is again if it dies.
    `record` is the history of the hub that it speaks to; `is_in_line`: all that it has is of that.
    """

    def __init__(self, hello: dict[str, Any], record: History) -> None:
        half = hello.get("half")
        self.hello = hello
        self.record = record
        self.is_in_line = True
        self.clock: int = hello["logical_clock"]
        self.half = half is not None
        self.level = self.clock
        self.deletions = self.clock
        self.was_reset = self.was_ready = False
        if half is not None:
            self.level = half["from"]
            self.deletions = self.clock if half["from"] else half["head"]
        self.places = {(self.clock, self.half)}

    @property
    def seen(self) -> int:
        """The clock up to which the device had seen the history when it said hello."""
        clock: int = self.hello["logical_clock"]
        half = self.hello.get("half")
        return max(clock, half["head"], half.get("seen", 0)) if half is not None else clock

    def hear(self, message: dict[str, Any]) -> None:
        """Each clock is heard of once and in order, and says what the log says."""
        self._hear(message, message.get("logical_clock", 0))
        self.places.add((self.clock, self.half))
        if not self.half:
            self.level = max(self.level, self.clock)

    def _hear(self, message: dict[str, Any], clock: int) -> None:
        match message["type"]:
            case "welcome" if message["reset"]:
                is_late = self.deletions < self.record.announced
                assert is_late or not self.is_in_line, "a device was reset without need"
                self.clock, self.half, self.was_reset = 0, False, True
                self.record.happened["reset"] += 1
            case "changes" | "ack":
                assert clock == self.clock + 1, f"clock {clock} came after {self.clock}"
                self._compare(message, self.record.model.log[clock - 1])
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


class Made(NamedTuple):
    """An edit, of a device or a polling client, from the moment on in which it is begun."""

    user: str
    name: str
    kind: str
    fields: frozenset[str]


class Account(Heard):
    """The books of the world; `note` is told each event in words, for the trace."""

    def __init__(self, now: Callable[[], int], note: Callable[[str], None]) -> None:
        self.failure: AssertionError | None = None
        self.happened: Counter[str] = Counter()
        self.strands = Strands(self.happened)
        self.on_commit: Callable[[], None] | None = None
        self.on_fold: Callable[[], None] | None = None
        self.on_push: dict[Place, Callable[[], None]] = {}
        self.on_reset: dict[Place, Callable[[], None]] = {}
        self.edits: list[Made] = []
        self.unfit: set[tuple[str, str]] = set()
        self._made: dict[str, tuple[History, int]] = {}
        self._sent: dict[str, tuple[int, dict[str, Any]]] = {}
        self._said: dict[Place, dict[int, list[Any]]] = defaultdict(dict)
        self._stamped: Counter[Place] = Counter()
        self._confused: set[Place] = set()
        self._asking: dict[Place, str] = {}
        self._greeted: dict[Place, Line] = {}
        self._pushed: dict[Line, set[int]] = defaultdict(set)
        self._owners: dict[Line, Person] = {}
        self._has_edited: set[Line] = set()
        self._spoken_to: dict[Line, History] = {}
        self._ears: dict[Line, Ear] = {}
        self._last: dict[Place, Ear] = {}
        self._reported: dict[Place, int] = defaultdict(int)
        self._now = now
        self._note = note

    def record(self, user: str) -> History:
        return self.strands.record(user)

    def belongs(self, line: Line, person: Person) -> None:
        self._owners[line] = person
        self._spoken_to[line] = self.record(person.user)

    def edited(self, user: str, kind: str, fields: Mapping[str, Any]) -> None:
        self.edits.append(Made(user, fields["id"], kind, frozenset(fields) - {"id"}))

    def hub_died(self) -> None:
        self._greeted.clear()

    # The store

    @kept_in_mind
    def stored(
        self,
        group: Sequence[Incoming],
        stored: Sequence[Stored | None],
        now: int,
        histories: Mapping[str, Named],
    ) -> None:
        """The hub has decided a group, and committed it, at its own time `now`."""
        self.happened["group of several"] += len(group) > 1
        for incoming, what in zip(group, stored, strict=True):
            self._note(f"stored {incoming.user} {incoming.device} {incoming.push_id} {what}")
            self._check_fence(incoming, what)
            record = self.record(incoming.user)
            named(record, histories[incoming.user])
            record.observe(incoming, what, now)
            self._arrive(incoming, record)
            self._check_offers(incoming, what)
        if self.on_commit is not None:
            self.on_commit()
            self.on_commit = None

    def half_folded(self) -> None:
        """The hub has folded some users, and not yet others."""
        if self.on_fold is not None:
            self.on_fold()
            self.on_fold = None

    @kept_in_mind
    def looked(self, looked: Looked, horizon: Horizon, connection: sqlite3.Connection) -> None:
        """The hub has found out what it may let go."""
        for visit in looked.visits:
            record = self.record(visit.name)
            record.announced = max(record.announced, visit.line)
            check_visit(visit, horizon, record.head, record.taken, connection)

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

    def _check_offers(self, incoming: Incoming, what: Stored | None) -> None:
        """The hub takes each, or it has become too large with what was edited on top."""
        for refused in what.rejected if what is not None else ():
            diff = incoming.diffs[refused.index]
            if diff.get("was"):
                assert refused.code == "too_large", f"{diff} was refused: {refused.code}"
                self.unfit.add((incoming.user, diff["json_data"]["id"]))

    def _arrive(self, incoming: Incoming, record: History) -> None:
        for diff in incoming.diffs:
            if not diff.get("was"):
                record.arrived[incoming.device] |= texts_of(diff["type"], diff["json_data"])

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
            self._check_older(line, self._greeted.get(self._owners[line].place))
            self._greeted[self._owners[line].place] = line
            self._check_line(line, json.loads(frame))
            self._check_standing(line, json.loads(frame))
        elif frame.startswith(b'{"type":"ready"'):
            self._check_standing(line, json.loads(frame))

    def _hand_out(self, line: Line, clock: int) -> None:
        record = self._spoken_to[line]
        record.handed_out = max(record.handed_out, clock)

    def _check_older(self, line: Line, older: Line | None) -> None:
        """One socket for each device: the older one is closed before the newer one is welcome."""
        is_open = older is not None and older.closing is None and not older.up_broken
        assert older is line or not is_open, "two lines of one device are open"

    def _check_line(self, line: Line, welcome: dict[str, Any]) -> None:
        """Who has not heard of deletions that the hub has forgotten begins again.

        So does who has heard of what the hub's file has lost.
        """
        ear, user = self._ears[line], self._owners[line].user
        ear.record.log_ids.add(welcome["log_id"])
        known = ear.deletions >= ear.record.line
        assert known or welcome["reset"], "a device will never hear of a deletion"
        ear.is_in_line = self.strands.is_in_line(ear.hello, ear.seen, user)
        if ear.seen == 0 and ear.hello["log_id"] is not None:
            # It has nothing of any history. Whether the file knows that one's name is all the same.
            ear.is_in_line = not welcome["reset"]
        assert ear.is_in_line or welcome["reset"], "a device holds what the hub has not"
        self.strands.check_parting(ear.hello, welcome, user)

    def _check_standing(self, line: Line, message: dict[str, Any]) -> None:
        """Under the lock nothing is stored: head and push id are those of this moment."""
        user, device = self._owners[line].place
        model = self.record(user).model
        assert message["logical_clock"] == model.head, "not the head"
        if not message.get("more"):
            assert message["last_push_id"] == model.last_push_id(device), "not the last push"

    def _check_ack(self, line: Line, ack: dict[str, Any]) -> None:
        device, record = self._owners[line].name, self._spoken_to[line]
        clock, push_id = ack["logical_clock"], ack["push_id"]
        log = record.model.log
        self._hand_out(line, clock)
        assert clock <= len(log), f"push {push_id} of {device} was acked and is not stored"
        logged = log[clock - 1]
        assert (logged["device"], logged["push_id"]) == (device, push_id), "acked another's push"
        record.acked[clock] = device, push_id

    def came(self, line: Line, frame: str) -> None:
        device, taken = self._owners[line].name, self._spoken_to[line].taken
        if frame.startswith('{"type":"push"'):
            self._pushed[line].add(json.loads(frame)["push_id"])
        elif frame.startswith('{"type":"received"'):
            clock = json.loads(frame)["logical_clock"]
            taken[device] = max(taken[device], clock)

    @kept_in_mind
    def said(self, line: Line, frame: bytes) -> None:
        self._note(f"{line.address} > {frame.decode()}")
        message = json.loads(frame)
        place = self._owners[line].place
        if message["type"] == "hello":
            self._check_hello(place, message)
            self.happened["half-way hello"] += message.get("half") is not None
            self._ears[line] = self._last[place] = Ear(message, self._spoken_to[line])
        if message["type"] in ("hello", "ping"):
            self._asking[place] = message.get("nonce", "")
        elif message["type"] == "received":
            self._check_received(place, line, message["logical_clock"])
        elif message["type"] == "push":
            self._check_push(line, message)
            self.on_push.pop(place, _nothing)()

    def _check_hello(self, place: Place, hello: dict[str, Any]) -> None:
        """A device is where it has been, and not before what it said to be safe."""
        last = self._last.get(place)
        if last is not None and last.was_reset:
            self._reported[place] = 0
        clock, is_half = hello["logical_clock"], hello.get("half") is not None
        assert self._reported[place] <= clock, f"{place} has lost what it said to be safe"
        been = last.places if last is not None else {(0, False)}
        assert (clock, is_half) in been, f"{place} was never at {clock}, half-way: {is_half}"

    def _check_received(self, place: Place, line: Line, clock: int) -> None:
        """Half-way, and before it was told all outcomes, a device has not received anything."""
        assert self._ears[line].was_ready, "received, and not yet ready"
        level = self._spoken_to[line].levels[place[1]]
        assert clock <= level, f"received up to {clock}, and half-way"
        self._reported[place] = max(self._reported[place], clock)

    def _check_push(self, line: Line, push: dict[str, Any]) -> None:
        """A push cut is never changed; its edits know what the user saw, and come in order."""
        place, push_id = self._owners[line].place, push["push_id"]
        said, diffs = self._said[place], push["diffs"]
        assert not push.get("again"), "no device was put back to an older copy"
        before = said.setdefault(push_id, diffs)
        assert self._are_the_same(before, diffs), f"push {push_id} of {place} was changed"
        is_offered = diffs[0].get("was") is not None
        assert not (is_offered and line in self._has_edited), "an offer comes behind an edit"
        if not is_offered:
            self._has_edited.add(line)
        for diff in diffs:
            if diff.get("was"):
                self.strands.check_offer(diff, place)
            else:
                self._check_base(diff, self._spoken_to[line])
                self._check_edit(place, push_id, diff)

    def _check_base(self, diff: dict[str, Any], record: History) -> None:
        """What the user had seen; of that, where the hub was restored, what it still has."""
        assert diff["id"] in self._made, f"{diff} is nobody's edit"
        seen_in, level = self._made[diff["id"]]
        if seen_in is not record:
            level = min(level, record.shared_with(seen_in))
        assert diff["logical_clock"] <= level, f"{diff} was made at {level}"

    def _check_edit(self, place: Place, push_id: int, diff: dict[str, Any]) -> None:
        """It is sent in one push, and as it is, unless that was taken back at a restore."""
        name = diff["id"]
        if name not in self._sent:
            self._check_time(place, diff["utc_timestamp"])
        elif self._sent[name][0] != push_id:
            assert self.strands.was_restored, f"{diff} is sent in another push"
            self._check_anew(place, self._sent[name][1], diff)
        self._sent[name] = push_id, diff

    def _check_anew(self, place: Place, before: dict[str, Any], after: dict[str, Any]) -> None:
        """It waited again: a time that was far ahead of the hub's may have been corrected."""
        assert _essence(before) == _essence(after), f"{before} has become {after}"
        if after["utc_timestamp"] < before["utc_timestamp"]:
            self._stamped[place] = after["utc_timestamp"]
        else:
            assert after["utc_timestamp"] == before["utc_timestamp"], "an old edit looks newer"

    def _are_the_same(self, before: list[Any], after: list[Any]) -> bool:
        """Where the hub was restored, what a device says of histories may have changed."""
        if not self.strands.was_restored:
            return before == after
        return [*map(_unmoved, before)] == [*map(_unmoved, after)]

    def _check_time(self, place: Place, timestamp: int) -> None:
        if timestamp <= self._stamped[place]:
            assert place in self._confused, "a device's time went back"
            self._confused.discard(place)
        self._stamped[place] = timestamp

    # The devices

    def make(self, person: Person, diff_id: str) -> None:
        """A device makes an edit, and has been level at a clock of this history."""
        record = self.strands.in_epoch(person.epoch, person.user)
        self._made[diff_id] = record, record.levels[person.name]

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
    def check_level(self, place: Place, clock: int, asked: Asked) -> None:
        """A device that is level has all that was handed out when it asked."""
        if self.strands.is_asked_here(asked):
            assert clock >= asked.head, f"{place} is level at {clock}, the hub was at {asked.head}"

    @kept_in_mind
    def took(self, line: Line, frame: bytes) -> None:
        message = json.loads(frame)
        self.happened[message["type"]] += 1
        ear, person = self._ears[line], self._owners[line]
        if message["type"] in ("welcome", "pong"):
            self._answered(person.place, message.get("nonce", ""))
        if message["type"] == "welcome":
            ear.record.meet(person.name, _texts_of_all(person.unsettled()))
            if message["reset"] and not message.get("continues"):
                self.strands.forgive(person.place)
            if message["reset"]:
                self.on_reset.pop(person.place, _nothing)()
        ear.hear(message)
        levels = ear.record.levels
        levels[person.name] = max(levels[person.name], ear.level)

    def _answered(self, place: Place, nonce: str) -> None:
        if self._asking.get(place) == nonce:
            del self._asking[place]

    # In the end

    def own_setbacks(self, person: Person, setbacks: Iterable[Setback]) -> list[Setback]:
        """What a device was told of the history that the hub has now, and not of a lost one."""
        record, name = self.record(person.user), person.name
        return [
            setback
            for setback in setbacks
            if record.has_decided(name, setback.push_id)
            or not any(lost.has_decided(name, setback.push_id) for lost in record.lost_ones())
        ]

    def check_acked(self, user: str, rows: Sequence[Stored]) -> None:
        """No acked push is missing from the log, and none is there twice."""
        log = {row.clock: (row.device, row.push_id) for row in rows}
        dropped = self.record(user).dropped
        assert [row.clock for row in rows] == list(range(dropped + 1, dropped + len(rows) + 1))
        pushes = [push for push in log.values() if push[1]]
        assert len(set(pushes)) == len(pushes), "a push is stored twice"
        for clock, push in self.record(user).acked.items():
            assert clock <= dropped or log.get(clock) == push, f"acked, and not in the log: {push}"


def texts_of(kind: str, fields: Mapping[str, Any]) -> set[str]:
    """An edit as people claim it: a text for each value, or for the deletion."""
    name = fields["id"]
    deleted = {f"{name} deleted"} if kind == "delete" else set()
    return deleted | {f"{name} {json.dumps(value)}" for value in fields.values()}


def _texts_of_all(diffs: Iterable[Diff]) -> set[str]:
    return set().union(*(texts_of(diff.type, diff.json_data) for diff in diffs))


def _unmoved(diff: dict[str, Any]) -> dict[str, Any]:
    """Less what changes of a diff where its device goes over to another history."""
    return {name: diff[name] for name in diff if name not in ("logical_clock", "seen")}


def _essence(diff: dict[str, Any]) -> dict[str, Any]:
    return {name: _unmoved(diff)[name] for name in _unmoved(diff) if name != "utc_timestamp"}


def _nothing() -> None:
    """Nobody waits for it."""
