"""What the hub decides about a push: section 4 of docs/protocol.md, and nothing else.

`decide` judges the diffs of a push in order, each against the outcome of those before it, and
`apply` says what one stored diff does to an object. Whoever folds a log again after a crash calls
the same `apply`, so that what is decided once and what is folded later cannot differ.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType, NoneType
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from protocol.diffs import (
    MAX_DEPTH,
    MAX_OBJECT_BYTES,
    Diff,
    Fields,
    Held,
    Key,
    Object,
    Place,
    Refilled,
    Stamp,
    StoredDiff,
    Tombstone,
    Was,
    check_values,
    json_size,
    name_of,
    read_diff,
    stamps_of,
)
from protocol.errors import InvalidDiff, NotRefilled
from protocol.history import NO_HISTORY, History
from protocol.messages import Lost, Rejected
from protocol.refill import NOBODY, apply_offer, is_offered, settle

NO_IDS: Final[frozenset[str]] = frozenset()


class Refusal(msgspec.Struct, frozen=True):
    """Why an application's own rules refuse a diff."""

    code: str = "forbidden"
    message: str = "not allowed"


class Policy(Protocol):
    """An application's own rules: asked about each well-formed diff; None means yes."""

    def __call__(self, user: str, diff: Diff, current: Fields | None) -> Refusal | None:
        """Say whether `user` may make this edit of the object as it stands (None: not there)."""


class Room(msgspec.Struct, frozen=True):
    """What may be added to all that a user has: objects, and bytes of their JSON."""

    objects: int
    bytes: int


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """All that bears on a decision beside the diffs and the objects.

    `clock` is the one that the push takes, `latest` the greatest timestamp (ms) that counts.
    For a push sent `again`: `stored_ids` are those of the diffs that the log holds, `first_clock`
    is the log's first. `room` is None where there is plenty. `history` is the one that is written,
    `refill` whether devices may give back what it lacks (section 10). `polled` pushes come from
    clients that are not one device.
    """

    user: str
    device: str
    clock: int
    latest: int
    again: bool = False
    polled: bool = False
    read_only: bool = False
    first_clock: int = 1
    stored_ids: frozenset[str] = NO_IDS
    max_object_bytes: int = MAX_OBJECT_BYTES
    max_depth: int = MAX_DEPTH
    policy: Policy | None = None
    room: Room | None = None
    history: History = NO_HISTORY
    refill: bool = True


class Refused(msgspec.Struct, frozen=True):
    """A part of a push that lost or was rejected, as the log keeps it beside the rest.

    `diff` is a rejected diff as it came, or as a text if JSON cannot safely be made of it again,
    or a diff less its kept fields.
    """

    index: int
    diff: Any


class Outcome(msgspec.Struct, frozen=True):
    """What remains of a push, and what does not.

    `diffs` are the effective ones; `differs` tells that they are not what was sent; `objects` are
    those that the push changed, as they now stand.
    """

    diffs: Sequence[StoredDiff]
    lost: Sequence[Lost]
    rejected: Sequence[Rejected]
    refused: Sequence[Refused]
    ids: Sequence[str]
    objects: Mapping[Key, Held]
    differs: bool


def apply(held: Held | None, diff: StoredDiff, clock: int, device: str) -> Held:
    """What a stored diff makes of an object: create replaces, update sets, delete removes."""
    if diff.was is not None:
        return apply_offer(held, diff, diff.was, clock)
    if diff.type == "delete":
        return Tombstone(clock, diff.utc_timestamp, device, seen=diff.seen)
    stamp = Stamp(clock, diff.utc_timestamp, device)
    if diff.type == "update" and isinstance(held, Object):
        return _updated(held, diff.json_data, stamp)
    stamps = stamps_of(diff.json_data, stamp)
    return Object(clock, clock, diff.json_data, stamps, json_size(diff.json_data), seen=diff.seen)


def _updated(held: Object, changes: Fields, stamp: Stamp) -> Object:
    stamps, timestamp = dict(held.stamps), stamp.timestamp
    for name in changes:
        before = stamps.get(name, stamp).timestamp
        if before <= timestamp:
            stamps[name] = stamp
        else:
            stamps[name] = msgspec.structs.replace(stamp, timestamp=before)
    stamps.pop("id", None)
    size = held.size + json_size(changes)
    fields = {**held.fields, **changes}
    return Object(held.created, stamp.clock, fields, stamps, size, held.refilled, held.seen)


def decide(diffs: Sequence[object], held: Callable[[Key], Held | None], terms: Terms) -> Outcome:
    """Decide a push (section 4). `held` gives an object as it stands; None: unknown."""
    bench = _Bench(held, terms)
    for index, value in enumerate(diffs):
        try:
            bench.judge(index, value)
        except _RejectedError as rejection:
            bench.reject(index, value, rejection)
    return bench.outcome()


class _RejectedError(Exception):
    """The diff under judgement is refused."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Bench:
    """One push under judgement; `key` is the object of the diff that is judged."""

    key: Key

    def __init__(self, held: Callable[[Key], Held | None], terms: Terms) -> None:
        self.held = held
        self.terms = terms
        self.changed: dict[Key, Held] = {}
        self.deleted_here: set[Key] = set()
        self.diffs: list[StoredDiff] = []
        self.lost: list[Lost] = []
        self.rejected: list[Rejected] = []
        self.refused: list[Refused] = []
        self.ids: list[str] = []
        self.differs = False
        self.room = terms.room
        self._is_questioned = not terms.refill or (
            terms.read_only or terms.again or terms.policy is not None
        )

    def judge(self, index: int, value: object) -> None:
        try:
            diff = read_diff(value, self.terms.max_depth)
        except InvalidDiff as error:
            self._judge_invalid(value, error)
            return
        if self._was_stored(diff.id):
            return
        self.key = key = diff.key
        current = self.changed.get(key) or self.held(key)
        if self._is_questioned:
            self._question(diff, current)
        if diff.was is not None:
            self._refill(index, diff, diff.was, current)
            return
        rule = _RULES[diff.type, type(current)]
        rule(self, index, diff, current)

    def reject(self, index: int, value: object, rejection: _RejectedError) -> None:
        self.rejected.append(Rejected(index, name_of(value), rejection.code, str(rejection)))
        self.refused.append(Refused(index, _as_kept(value, self.terms.max_depth + 1)))
        self.differs = True

    def outcome(self) -> Outcome:
        return Outcome(
            self.diffs,
            self.lost,
            self.rejected,
            self.refused,
            self.ids,
            self.changed,
            self.differs,
        )

    def keep(self, diff: StoredDiff, held: Held) -> None:
        if self.room is not None:
            self.room = self._less(self.room, held)
        self.diffs.append(diff)
        self.changed[self.key] = held

    def _less(self, room: Room, held: Held) -> Room:
        """The room that is left when an object becomes this; what adds nothing always fits."""
        before = self.changed.get(self.key) or self.held(self.key)
        objects = isinstance(held, Object) - isinstance(before, Object)
        added = _size(held) - _size(before)
        if objects > max(room.objects, 0):
            raise _RejectedError("over_quota", "this user has as many objects as it may")
        if added > max(room.bytes, 0):
            raise _RejectedError("over_quota", "this user's objects are as large as they may be")
        return Room(room.objects - objects, room.bytes - added)

    def timestamp(self, diff: Diff) -> int:
        """No later than the hub's clock allows: a device that runs ahead cannot win for ever."""
        return min(diff.utc_timestamp, self.terms.latest)

    def base(self, diff: Diff) -> int:
        base, clock = diff.logical_clock, self.terms.clock
        return base if base < clock else clock - 1

    def same_device(self, device: str) -> bool:
        """Whether a stamp's device knew its own order when it made this push."""
        return device == self.terms.device and not (self.terms.again or self.terms.polled)

    def put_by(self, index: int, diff: Diff, names: Iterable[str]) -> None:
        """Keep the values of these fields beside the log: others stand in their place."""
        values = {name: diff.json_data[name] for name in ("id", *names)}
        self.refused.append(Refused(index, msgspec.structs.replace(diff, json_data=values)))

    def _refill(self, index: int, diff: Diff, was: Was, current: Held | None) -> None:
        """Decide an offer (section 10)."""
        terms = self.terms
        try:
            stored = settle(diff, was, current, terms.history, terms.clock)
        except NotRefilled as error:
            raise _RejectedError(error.code, str(error)) from None
        if stored is None or stored.was is None:
            self.differs = True
            return
        self.keep(stored, _fitting(self, apply(current, stored, terms.clock, terms.device)))
        # A device takes the clock of a push that does not differ for that of a new object's birth.
        born = stored.was.born or terms.clock
        self.differs |= stored.json_data != diff.json_data or born != terms.clock
        older = [name for name in stored.was.kept if name in diff.json_data]
        if older:
            self.put_by(index, diff, older)

    def _judge_invalid(self, value: object, error: InvalidDiff) -> None:
        name = name_of(value)
        if name is None or not self._was_stored(name):
            raise _RejectedError("invalid_diff", str(error))

    def _was_stored(self, name: str) -> bool:
        """Note the name of a diff; whether the log holds one of this name."""
        self.ids.append(name)
        was_stored = name in self.terms.stored_ids
        self.differs |= was_stored
        return was_stored

    def _question(self, diff: Diff, current: Held | None) -> None:
        """Ask what few pushes are asked: may it write, is it too old, does the policy allow it."""
        terms = self.terms
        if terms.read_only:
            raise _RejectedError("forbidden", "this token may only read")
        if diff.was is not None and not terms.refill:
            raise _RejectedError("no_refill", "this hub takes nothing back from devices")
        # To store an offer twice is of no effect: what tells it apart is the object's old clock.
        if terms.again and diff.was is None and diff.logical_clock < terms.first_clock - 1:
            raise _RejectedError("too_old", "the log no longer tells whether this was stored")
        if terms.policy is not None:
            refusal = _ask(terms.policy, terms.user, diff, current)
            if refusal is not None:
                raise _RejectedError(refusal.code, refusal.message)


def _ask(policy: Policy, user: str, diff: Diff, current: Held | None) -> Refusal | None:
    fields = MappingProxyType(current.fields) if isinstance(current, Object) else None
    try:
        answer: object = policy(user, diff, fields)
    except Exception as error:  # noqa: BLE001 - an application's rule may raise anything
        return Refusal("policy_error", f"the rule failed: {type(error).__name__}")
    if answer is None or isinstance(answer, Refusal):
        return answer
    return Refusal("policy_error", "the rule answered neither None nor a Refusal")


def _as_kept(value: object, depth: int) -> object:
    """A refused diff as the log can write it.

    Invariant: what one device sends, half of a surrogate pair or a thousand brackets, can never
    make the transaction fail in which others' pushes are stored, too.
    """
    try:
        check_values(value, depth)
    except InvalidDiff:
        return _as_text(value)
    return value


def _as_text(value: object) -> str:
    try:
        return json.dumps(value)
    except RecursionError:
        return "nested too deep to be kept"


def _create(bench: _Bench, _index: int, diff: Diff, _current: Tombstone | None) -> None:
    seen = diff.seen
    stored = StoredDiff(
        diff.id, bench.timestamp(diff), "create", diff.model, diff.json_data, seen=seen
    )
    created = apply(None, stored, bench.terms.clock, bench.terms.device)
    bench.keep(stored, _fitting(bench, created))


def _create_anew(bench: _Bench, index: int, diff: Diff, grave: Tombstone) -> None:
    knows = (
        grave.clock <= bench.base(diff)
        or bench.same_device(grave.device)
        or bench.key in bench.deleted_here
    )
    if not knows and not _outlives(bench, diff, grave):
        _refuse_deleted(bench, index, diff, grave)
    _create(bench, index, diff, grave)


def _outlives(bench: _Bench, diff: Diff, grave: Tombstone) -> bool:
    """Whether a create stands though its device may not have known of the deletion.

    One that was made before a restore may be the very one whose object the offered deletion ended,
    so its timestamp says nothing (section 10).
    """
    seen = diff.seen
    if seen is not None and grave.refilled is not None:
        return grave.refilled.known_to(seen)
    return bench.timestamp(diff) > grave.timestamp


def _set_fields(bench: _Bench, index: int, diff: Diff, current: Object) -> None:
    if diff.seen is not None and diff.type == "update":
        _refuse_if_remade(diff.seen, current)
    # No field was set after the object last changed: who knows of that knows all its values.
    lost = {} if current.clock <= bench.base(diff) else _losing(bench, diff, current)
    kept, loses = diff.json_data, bool(lost)
    if loses:
        kept = {name: value for name, value in kept.items() if name not in lost}
        lost = _less_its_own_effect(lost, diff, current)
    if len(kept) > 1:
        stored = StoredDiff(diff.id, bench.timestamp(diff), "update", diff.model, kept)
        updated = apply(current, stored, bench.terms.clock, bench.terms.device)
        bench.keep(stored, _fitting(bench, updated))
    if lost:
        _lose(bench, index, diff, lost)
    bench.differs |= loses or len(kept) == 1 or diff.type != "update"


def _refuse_if_remade(seen: Place, current: Object) -> None:
    """An update is not of an object that was made anew since, as far as a refill tells."""
    if current.refilled is not None and current.refilled.began_after(seen):
        raise _RejectedError("object_deleted", "the object was deleted and made anew meanwhile")


def _less_its_own_effect(lost: dict[str, int], diff: Diff, current: Object) -> dict[str, int]:
    """Nothing lost where the value was given back by another device (section 10)."""
    refilled = current.refilled
    if diff.seen is None or refilled is None:
        return lost
    return {
        name: clock
        for name, clock in lost.items()
        if current.fields.get(name, ...) != diff.json_data[name]
        or not is_offered(current.stamps[name], refilled)
    }


def _losing(bench: _Bench, diff: Diff, current: Object) -> dict[str, int]:
    """The fields that lose, each with the clock of the push that won."""
    stamps = current.stamps
    if diff.seen is not None and current.refilled is not None:
        return _losing_after_refill(bench, diff, diff.seen, current, current.refilled)
    return {
        name: stamps[name].clock
        for name in diff.json_data
        if name in stamps and not _kept(bench, diff, stamps[name])
    }


def _losing_after_refill(
    bench: _Bench, diff: Diff, seen: Place, current: Object, refilled: Refilled
) -> dict[str, int]:
    """Across a restore (section 10) what was seen is told by clocks of the history before it.

    The edit may have been stored there: then a value is its own effect, or was set over it, and of
    an object that was made anew since it is no part.
    """
    was_remade = refilled.began_after(seen)
    absent = Stamp(refilled.at if was_remade else 0, bench.terms.latest, NOBODY)
    stamps = {name: current.stamps.get(name, absent) for name in diff.json_data if name != "id"}
    return {
        name: stamp.clock
        for name, stamp in stamps.items()
        if not _kept_across(bench, diff, seen, stamp, refilled)
    }


def _kept_across(bench: _Bench, diff: Diff, seen: Place, stored: Stamp, refilled: Refilled) -> bool:
    if stored.clock <= bench.base(diff) or not is_offered(stored, refilled):
        return _kept(bench, diff, stored)
    return refilled.known_to(seen) or bench.timestamp(diff) > stored.timestamp


def _kept(bench: _Bench, diff: Diff, stored: Stamp) -> bool:
    if stored.clock <= bench.base(diff) or stored.clock == bench.terms.clock:
        return True
    return bench.same_device(stored.device) or bench.timestamp(diff) >= stored.timestamp


def _lose(bench: _Bench, index: int, diff: Diff, fields: dict[str, int]) -> None:
    bench.lost.append(Lost(index, diff.id, fields))
    bench.put_by(index, diff, fields)


def _fitting(bench: _Bench, held: Held) -> Held:
    if not isinstance(held, Object) or held.size <= bench.terms.max_object_bytes:
        return held
    held = msgspec.structs.replace(held, size=json_size(held.fields))
    if held.size > bench.terms.max_object_bytes:
        limit = bench.terms.max_object_bytes
        raise _RejectedError("too_large", f"the object would be {held.size} bytes, above {limit}")
    return held


def _size(held: Held | None) -> int:
    """Bytes of an object's JSON, not the bound that `size` is."""
    return json_size(held.fields) if isinstance(held, Object) else 0


def _refuse_deleted(_bench: _Bench, _index: int, _diff: Diff, _grave: Tombstone) -> None:
    raise _RejectedError("object_deleted", "the object was deleted, and delete wins")


def _refuse_unknown(_bench: _Bench, _index: int, _diff: Diff, _current: None) -> None:
    raise _RejectedError("no_such_object", "there is no such object to update")


def _delete(bench: _Bench, index: int, diff: Diff, current: Object) -> None:
    seen = diff.seen
    if seen and current.refilled and current.refilled.began_after(seen):
        _no_effect(bench, index, diff, None)
        return
    address = {"id": diff.json_data["id"]}
    stamp = bench.timestamp(diff)
    stored = StoredDiff(diff.id, stamp, "delete", diff.model, address, seen=seen)
    bench.deleted_here.add(bench.key)
    bench.keep(stored, apply(None, stored, bench.terms.clock, bench.terms.device))


def _no_effect(bench: _Bench, _index: int, _diff: Diff, _current: Tombstone | None) -> None:
    bench.deleted_here.add(bench.key)
    bench.differs = True


_Rule: TypeAlias = Callable[[_Bench, int, Diff, Any], None]

_RULES: Final[Mapping[tuple[str, type], _Rule]] = {
    # incoming, the object is: outcome
    ("create", NoneType): _create,
    ("create", Tombstone): _create_anew,
    ("create", Object): _set_fields,
    ("update", Object): _set_fields,
    ("update", Tombstone): _refuse_deleted,
    ("update", NoneType): _refuse_unknown,
    ("delete", Object): _delete,
    ("delete", Tombstone): _no_effect,
    ("delete", NoneType): _no_effect,
}
