"""Each push of a bundle is decided once more, and what they all come to compared with the hub's.

A push is put together again of what was stored of it and what lost or was rejected. Of a part that
was stored the base is not known any more; it is taken to be the newest, by which it is stored. What
was refused by limits, rules of an application or for its age cannot be decided here, nor what was
given back to a restored hub: it is taken as the log has it.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from hub import exports
from hub.exports import Bundle, Deletion, Line, Push
from hub.store.importing import read_object_line
from hub.store.rows import NOTHING_LEFT, Leftovers, read_leftovers
from protocol.diffs import Held, Key, Object, Stamp, StoredDiff, Tombstone
from protocol.merge import Terms, apply, decide
from protocol.messages import Lost, Rejected, decode_diffs

DECIDED: Final = frozenset({"object_deleted", "no_such_object", "invalid_diff"})
"""Codes that the merge itself gives."""
MAX_AHEAD: Final = 60_000
"""How far ahead of the hub's clock a timestamp counts (ms), unless the settings say otherwise."""


class Told(NamedTuple):
    """What a bundle says of its user."""

    bundle: Bundle | None
    pushes: Sequence[Push]
    objects: Mapping[Key, Held]


class Difference(msgspec.Struct, frozen=True):
    """Something that came out otherwise: the clock of a push, or an object in the end."""

    where: str
    here: Any
    hub: Any


class Verdict(msgspec.Struct, frozen=True):
    """What became of a bundle."""

    pushes: int
    objects: int
    differences: Sequence[Difference]


def read_bundle(lines: Iterable[Line]) -> Told:
    """Read a bundle, or an export of one user."""
    bundle, pushes = None, []
    objects: dict[Key, Held] = {}
    for line in lines:
        match line:
            case Bundle():
                bundle = line
            case Push():
                pushes.append(line)
            case exports.Object():
                name, held = read_object_line(line)
                objects[line.model, name] = held
            case Deletion():
                grave = line.clock, line.timestamp, line.device, line.refilled, line.seen
                objects[line.model, line.id] = Tombstone(*grave)
    return Told(bundle, pushes, objects)


def replay(told: Told) -> Verdict:
    """Decide all pushes once more; what came out otherwise than on the hub."""
    held = _before(told)
    first, ahead = _first(told), _max_ahead(told.bundle)
    differences: list[Difference] = []
    for push in told.pushes:
        differences += _decided_again(push, held, first, ahead)
        for diff in decode_diffs(push.diffs):
            held[diff.key] = apply(held.get(diff.key), diff, push.clock, push.device)
    differences += _compared(held, told.objects)
    return Verdict(len(told.pushes), len(told.objects), differences)


def _first(told: Told) -> int:
    return told.pushes[0].clock if told.pushes else 0


def _max_ahead(bundle: Bundle | None) -> int:
    seconds = bundle.settings.get("max_clock_ahead_seconds") if bundle else None
    return round(float(seconds) * 1000) if seconds else MAX_AHEAD


def _before(told: Told) -> dict[Key, Held]:
    """The objects before the first push, as far as they bear on what comes.

    Of a field that was set before and in the log only the latter is known: it has no value yet.
    """
    first = _first(told)
    firsts: dict[Key, StoredDiff] = {}
    for push in told.pushes:
        for diff in decode_diffs(push.diffs):
            firsts.setdefault(diff.key, diff)
    return {
        key: _older(held, first)
        for key, held in told.objects.items()
        if key not in firsts or (first > 1 and firsts[key].type != "create")
    }


def _older(held: Held, first: int) -> Held:
    if not isinstance(held, Object):
        return Object(0, 0, {}, {}, 0) if held.clock >= first else held
    old = {name for name, stamp in held.stamps.items() if stamp.clock < first}
    fields = {n: v if n in old or n == "id" else None for n, v in held.fields.items()}
    unknown = Stamp(0, 0, "")
    stamps = {n: stamp if n in old else unknown for n, stamp in held.stamps.items()}
    clock = max((stamp.clock for stamp in stamps.values()), default=held.created)
    return Object(held.created, clock, fields, stamps, held.size, held.refilled, held.seen)


def _decided_again(
    push: Push, held: Mapping[Key, Held], first: int, ahead: int
) -> Iterable[Difference]:
    left = read_leftovers(bytes(push.refused)) if bytes(push.refused) != b"null" else NOTHING_LEFT
    stored = decode_diffs(push.diffs)
    if any(diff.was is not None for diff in stored) or not (left.lost or left.rejected):
        return
    refused = _decidable(stored, left, held, first)
    terms = Terms(
        user="", device=push.device, clock=push.clock, latest=push.stored_at + ahead,
        polled=push.push_id == 0,
    )  # fmt: skip
    outcome = decide(_as_pushed(push, stored, refused), held.get, terms)
    names = {edit.get("id") for edit in refused.values()}
    here = _said(outcome.diffs), _lost(outcome.lost, names), _rejected(outcome.rejected, names)
    there = _said(stored), _lost(left.lost, names), _rejected(left.rejected, names)
    if here != there:
        yield Difference(f"push {push.clock}", here, there)


def _decidable(
    stored: Sequence[StoredDiff], left: Leftovers, held: Mapping[Key, Held], first: int
) -> Mapping[int, dict[str, Any]]:
    """The refused edits, by their places, of which it can be told what they met.

    Of an object that the log has not told of yet, there may have been a deletion before the log.
    Where some edits had no effect, nobody knows their places, nor so the order of the others.
    """
    codes = {each.index: each.code for each in left.rejected}
    sure = len(left.ids) == len(left.diffs)
    touched = {diff.key for diff in stored}
    return {
        each.index: each.diff
        for each in left.diffs
        if isinstance(each.diff, dict)
        and codes.get(each.index, "no_such_object") in DECIDED
        and (first == 1 or _key(each.diff) in held)
        and (sure or _key(each.diff) not in touched or each.index not in codes)
    }


def _key(edit: Mapping[str, Any]) -> Any:
    """The object that is edited; None: it is no edit of any."""
    fields = edit.get("json_data")
    name = fields.get("id") if isinstance(fields, dict) else None
    key = edit.get("model"), name
    return key if all(isinstance(part, str) for part in key) else None


def _as_pushed(
    push: Push, stored: Sequence[StoredDiff], refused: Mapping[int, dict[str, Any]]
) -> Sequence[Any]:
    """The edits as they came, but for those that cannot be decided here, in their order."""
    rest = list(stored)
    edits: list[Any] = []
    for index in range(max(refused, default=-1) + 1):
        if index in refused:
            edit = refused[index]
            edits.append(_joined(edit, _taken(rest, edit.get("id"))))
        elif rest:
            edits.append(_as_edit(rest.pop(0), push.clock - 1))
    return edits + [_as_edit(diff, push.clock - 1) for diff in rest]


def _taken(rest: list[StoredDiff], name: Any) -> StoredDiff | None:
    """The part of an edit that was stored though another lost."""
    found = next((diff for diff in rest if diff.id == name), None)
    if found is not None:
        rest.remove(found)
    return found


def _joined(edit: dict[str, Any], stored: StoredDiff | None) -> dict[str, Any]:
    if stored is None or not isinstance(edit.get("json_data"), dict):
        return edit
    return {**edit, "json_data": {**edit["json_data"], **stored.json_data}}


def _as_edit(diff: StoredDiff, base: int) -> dict[str, Any]:
    edit: dict[str, Any] = msgspec.to_builtins(diff)
    return {**edit, "logical_clock": base}


def _said(diffs: Sequence[StoredDiff]) -> Any:
    return [(diff.id, diff.type, diff.model, diff.json_data) for diff in diffs]


def _lost(lost: Iterable[Lost], names: Container[Any]) -> Any:
    return sorted((each.id, sorted(each.fields.items())) for each in lost if each.id in names)


def _rejected(rejected: Iterable[Rejected], names: Container[Any]) -> Any:
    return sorted((str(each.id), each.code) for each in rejected if each.id in names)


def _compared(here: Mapping[Key, Held], hub: Mapping[Key, Held]) -> Iterable[Difference]:
    for key in sorted(here.keys() | hub.keys()):
        ours, theirs = _comparable(here.get(key)), _comparable(hub.get(key))
        if ours != theirs and not (theirs is None and isinstance(here.get(key), Tombstone)):
            yield Difference(f"object {key[0]} {key[1]}", ours, theirs)


def _comparable(held: Held | None) -> Any:
    """An object less what only bounds it; a deletion that the hub has forgotten is none."""
    match held:
        case Object():
            stamps = {name: (stamp.clock, stamp.device) for name, stamp in held.stamps.items()}
            return held.fields, stamps
        case Tombstone():
            return held.clock
        case None:
            return None
