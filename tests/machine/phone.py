"""One device: the real replica, a place where it keeps things, and an account of every edit."""

from __future__ import annotations

import copy
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from protocol import closing
from protocol.messages import (
    Ack,
    Changes,
    Error,
    FromHub,
    Push,
    Ready,
    Snapshot,
    Welcome,
    decode_from_hub,
    encode,
)
from protocol.records import CutPush, Edit, Known, Position, Saved, Setback, Writes
from protocol.replica import Replica

if TYPE_CHECKING:
    from protocol.diffs import DiffType, Key
    from tests.machine.line import Line
    from tests.machine.record import Record

EXPECTED_CLOSINGS = {
    None,
    closing.SHUTTING_DOWN.code,
    closing.SERVER_BUSY.code,
    closing.TIMEOUT.code,
    closing.REPLACED.code,
}


COPIES = 4


Pushes = list[tuple[str, int, str]]


class Claim(NamedTuple):
    """What must have become of an edit once the device has nothing pending."""

    kind: str
    fields: frozenset[str]


class Sketch(NamedTuple):
    """An edit that a user is about to make."""

    kind: DiffType
    key: Key
    fields: dict[str, Any]


@dataclass
class Kept:
    """What survives the device's process.

    `level`, `line_seen` and `claims` are the test's own: the clock at which the device was last
    level, the pushes up to there, and what is to be accounted for of each edit that was made and
    not folded away; `strange` names setbacks out of a history that is no more.
    """

    position: Position = field(default_factory=Position)
    objects: dict[Key, Known] = field(default_factory=dict)
    edits: dict[int, Edit] = field(default_factory=dict)
    pushes: dict[int, CutPush] = field(default_factory=dict)
    setbacks: dict[int, Setback] = field(default_factory=dict)
    level: int = 0
    line_seen: Pushes = field(default_factory=list)
    claims: dict[str, Claim] = field(default_factory=dict)
    strange: set[int] = field(default_factory=set)

    def take(self, writes: Writes) -> None:
        """One transaction."""
        self.position = writes.position
        if writes.forget:
            self.objects.clear()
        self.objects.update(writes.objects)
        for held, changes in (
            (self.edits, writes.edits),
            (self.pushes, writes.pushes),
            (self.setbacks, writes.setbacks),
        ):
            _apply(held, changes)

    def copy(self) -> Kept:
        """The records are frozen, so that they may be shared."""
        shallow = {name: copy.copy(value) for name, value in vars(self).items()}
        return Kept(**shallow)

    def read_back(self) -> Saved:
        return Saved(
            position=self.position,
            objects=dict(self.objects),
            edits=[edit for _, edit in sorted(self.edits.items())],
            pushes=[push for _, push in sorted(self.pushes.items())],
            setbacks=dict(sorted(self.setbacks.items())),
        )


def _apply(held: dict[int, Any], changes: dict[int, Any]) -> None:
    for number, record in changes.items():
        if record is None:
            held.pop(number, None)
        else:
            held[number] = record


class Phone:
    """A device of a user. Its clock runs `ahead` ms of the hub's.

    `reported` is the highest clock that any copy of it ever said it had `received`; of outcomes up
    to `exempt` the hub owes it nothing, for it was put back since it said that it knew them. Nor is
    it owed a field that a life of its own took out of an edit before that was sent, `folded` by the
    edit's id: put back to before, it sends the edit whole, and the hub has it (docs/design.md,
    "What the protocol does not hold").
    """

    def __init__(self, user: str, name: str, happened: Counter[str]) -> None:
        self.user = user
        self.name = name
        self.ahead = 0
        self.happened = happened
        self.kept = Kept()
        self.copies: deque[Kept] = deque(maxlen=COPIES)
        self.line: Line | None = None
        self.reported = 0
        self.exempt = 0
        self.replica = Replica(Saved())
        self.level = 0
        self.line_seen: Pushes = []
        self.made_seeing: dict[str, Pushes] = {}
        self.folded: dict[str, frozenset[str]] = {}

    # Its process and its store

    def save(self) -> None:
        self.kept.take(self.replica.take_writes())
        self.kept.level, self.kept.line_seen = self.level, self.line_seen
        self._check_kept()

    def _check_kept(self) -> None:
        """What is stored is what is held, so that it may as well have crashed."""
        objects = {
            (model, name): known
            for model, names in self.replica._objects.items()
            for name, known in names.items()
        }
        assert self.kept.objects == objects
        assert self.kept.edits == self.replica._pending.waiting
        assert self.kept.pushes == self.replica._pending.pushes
        assert self.kept.setbacks == self.replica.setbacks

    def crash(self) -> None:
        """Come back with what was stored."""
        self.line = None
        self.replica = Replica(self.kept.read_back())
        self.level, self.line_seen = self.kept.level, self.kept.line_seen

    def put_back(self, older: Kept) -> None:
        """Go on with an older copy of the store.

        The copies made since are of a life that ends here, and are not put back later: a device is
        known for an older copy by its counter alone, which the new life may bring to the same value
        with other edits (docs/design.md, "What the protocol does not hold").
        """
        earlier = [
            copied for copied in self.copies if copied.position.edits <= older.position.edits
        ]
        self.copies = deque(earlier, maxlen=COPIES)
        self.exempt = self.reported
        self.kept = older.copy()
        self.crash()

    def leave_history(self, reported: int, record: Record) -> None:
        """The hub was restored to a time when it had heard `reported`: what it forgot is gone."""
        self.line = None
        self.copies.clear()
        self.reported = reported
        self.exempt = min(self.exempt, reported)
        self.save()
        kept = self.kept
        kept.strange |= {
            number
            for number, setback in kept.setbacks.items()
            if not record.has_decided(self.name, setback.push_id)
        }
        pending = {edit.diff.id for edit in self.pending_edits()}
        for name in list(kept.claims):
            if name not in pending and not record.knows(name):
                del kept.claims[name]

    def pending_edits(self) -> list[Edit]:
        cut = [edit for push in self.kept.pushes.values() for edit in push.edits]
        return [*cut, *self.kept.edits.values()]

    def own_setbacks(self) -> list[Setback]:
        """What it was told of the history that the hub has now."""
        kept = self.kept
        return [what for number, what in kept.setbacks.items() if number not in kept.strange]

    # Its user

    def edit(self, sketches: list[Sketch], now: int, names: list[str]) -> None:
        """Make edits that go together; each is stored before the user is told that it is made."""
        self.copies.append(self.kept.copy())
        batch = self.replica.position.edits + 1 if len(sketches) > 1 else 0
        for sketch, name in zip(sketches, names, strict=True):
            self._edit(sketch, now, name, batch)

    def _edit(self, sketch: Sketch, now: int, name: str, batch: int) -> None:
        waiting = dict(self.kept.edits)
        model, object_id = sketch.key
        fields = {"id": object_id, **sketch.fields}
        self.replica.edit(
            sketch.kind, model, fields, diff_id=name, now=now + self.ahead, batch=batch
        )
        self.save()
        made = self.kept.edits.get(self.replica.position.edits)
        for number, earlier in waiting.items():
            self._check_fold(earlier, self.kept.edits.get(number), made, sketch)
        if made is not None:
            assert made.diff.logical_clock == self.level, "the base is not what the user had seen"
            self.made_seeing[name] = self.line_seen
            own = frozenset(sketch.fields) if sketch.kind != "delete" else frozenset()
            self.kept.claims[name] = Claim(sketch.kind, own)
        else:
            assert sketch.kind == "delete"
            self.happened["create and delete folded into nothing"] += 1

    def _check_fold(
        self, earlier: Edit, left: Edit | None, made: Edit | None, sketch: Sketch
    ) -> None:
        """Section 7: only what is as well informed folds, and only what is made pointless."""
        if left == earlier:
            return
        assert earlier.diff.key == sketch.key
        assert earlier.diff.logical_clock == self.level
        assert not earlier.again
        gone = frozenset(earlier.diff.json_data) - {"id"}
        if left is not None:
            gone -= frozenset(left.diff.json_data)
            assert left.diff.utc_timestamp == earlier.diff.utc_timestamp
            assert sketch.kind == "update"
        if sketch.kind == "update":
            assert earlier.diff.type == "update"
            assert gone <= sketch.fields.keys()
        else:
            assert sketch.kind == "delete"
            assert earlier.diff.type == "update" or made is None
        if earlier.diff.type == "create":
            known = self.kept.objects.get(sketch.key)
            assert known is None or known.fields is None
            assert not any(
                edit.diff.key == sketch.key
                for push in self.kept.pushes.values()
                for edit in push.edits
            )
        self.happened["folded"] += 1
        self._fold_claim(earlier.diff.id, gone, left)

    def _fold_claim(self, name: str, gone: frozenset[str], left: Edit | None) -> None:
        claim = self.kept.claims[name]
        if left is None:
            del self.kept.claims[name]
        else:
            self.kept.claims[name] = Claim(claim.kind, claim.fields - gone)
            self.folded[name] = self.folded.get(name, frozenset()) | gone

    # Its connection

    def say_hello(self, line: Line) -> None:
        self.line = line
        self.save()
        line.speak(encode(self.replica.hello(self.user, self.name)))

    def speak(self) -> None:
        """Push what can be pushed: stored first, then sent."""
        if self.line is None:
            return
        pushes = list(iter(self.replica.next_push, None))
        if pushes:
            self.save()
        for push in pushes:
            self.happened["push sent again: true"] += push.again
            self._check_bases(push)
            self.line.speak(encode(push))

    def _check_bases(self, push: Push) -> None:
        """Who made an edit had seen what this history holds up to its base (story 6)."""
        for diff in push.diffs:
            if diff.was is not None:
                continue
            seen, base = self.made_seeing[diff.id], diff.logical_clock
            assert seen[:base] == self.line_seen[:base]
            assert len(seen) >= base
            if seen != self.line_seen[: len(seen)]:
                self.happened["edit of another history"] += 1
                self.happened["edit of a history that is continued"] += base > 0

    def hang_up(self) -> None:
        """The device, too, sees the end of its line."""
        assert self.line is not None
        assert self.line.closing in EXPECTED_CLOSINGS, f"closed with {self.line.closing}"
        self.happened[f"closed with {self.line.closing}"] += 1
        self.line = None

    def hear(self, frame: bytes, now: int) -> FromHub:
        message = decode_from_hub(frame)
        self._note(message)
        if not isinstance(message, Error):
            self.replica.take(message, now + self.ahead)
        self._follow(message)
        return message

    def _follow(self, message: FromHub) -> None:
        """When the device was last level, reckoned a second time."""
        match message:
            case Welcome() if message.reset:
                self.level = 0
            case Changes() | Ack() if self.replica.position.half is None:
                assert message.logical_clock == self.level + 1
                self.level = message.logical_clock
            case Ready() if not message.more:
                self.level = message.logical_clock

    def _note(self, message: FromHub) -> None:
        replica, half = self.replica, self.replica.position.half
        notes = {
            "reset": isinstance(message, Welcome) and message.reset,
            "welcomed half-way": isinstance(message, Welcome) and half is not None,
            "put back": isinstance(message, Welcome)
            and replica.position.counter < message.last_push_id,
            "changes live": isinstance(message, Changes) and replica.ready,
            "changes from the log": isinstance(message, Changes) and not replica.ready,
            "changes half-way": isinstance(message, Changes) and half is not None,
            "ack live": isinstance(message, Ack) and replica.ready,
            "ack from the log": isinstance(message, Ack) and not replica.ready,
            "page": isinstance(message, Snapshot),
            "page with tombstone": isinstance(message, Snapshot)
            and any(entry.deleted for entry in message.objects),
            "page for a newcomer": isinstance(message, Snapshot)
            and half is None
            and not self.level,
            "page while pushes are under way": isinstance(message, Snapshot)
            and replica.pending > 0
            and replica.ready,
            "second ready": isinstance(message, Ready) and replica.ready,
            "ready with outcomes": isinstance(message, Ready) and bool(message.outcomes),
            "ready with more to come": isinstance(message, Ready) and message.more,
            "ready settles pushes": isinstance(message, Ready)
            and any(name <= message.last_push_id for name in self.kept.pushes),
        }
        self.happened.update(name for name, is_so in notes.items() if is_so)


def server_state(phone: Phone) -> dict[Key, dict[str, Any]]:
    """What the device holds of the hub, beneath its pending edits."""
    return {
        (model, name): dict(known.fields)
        for model, names in phone.replica._objects.items()
        for name, known in names.items()
        if known.fields is not None
    }


def shown(phone: Phone) -> dict[Key, dict[str, Any]]:
    """What the device's user sees."""
    return {
        (model, fields["id"]): dict(fields)
        for model in {model for model, _ in phone.kept.objects}
        for fields in phone.replica.shown(model)
    }
