"""One user's hub as docs/protocol.md describes it, over plain JSON values, written to be obvious.

The product is tested against this model, so it shares no code with it and does not look like it.
Where the product keeps a stamp beside each field, the model keeps everything that ever happened to
an object, in order, and reads the stamps off that list each time.

Its only subject is the merge: section 4, the well-formedness of section 3, what section 5 says of
`push_id`, `again`, `lost` and `rejected`, and, in `refill.py`, section 10. It knows no policy, no
frames and no polling answers.
A comment that begins with "Reading:" marks a place where the text leaves a choice.
"""

from __future__ import annotations

import copy
import json
import math
from typing import TYPE_CHECKING, Any

from tests.model.events import NO_EFFECT, Event, Key, Outcome, Push, Rejected
from tests.model.refill import Refills, is_offer, is_past

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

POLLER = "mobync"
GREATEST_INTEGER = 2**53 - 1
GREATEST_DEPTH = 64
NOTHING: Mapping[Key, dict[str, Any]] = {}


class ModelHub(Refills):
    """One user's hub: `push` decides and stores; `objects`, `tombstones` and `log` show the rest.

    `max_ahead_ms`: how far a timestamp may lie ahead of the hub's clock. `max_object_bytes`: the
    largest object, measured as compact UTF-8 JSON.
    """

    def __init__(self, max_ahead_ms: int = 60_000, max_object_bytes: int = 262_144) -> None:
        self.max_ahead_ms = max_ahead_ms
        self.max_object_bytes = max_object_bytes
        self.head = 0
        self.log: list[dict[str, Any]] = []
        self._ids: dict[int, set[str]] = {}
        self._history: dict[Key, list[Event]] = {}
        self._last_push_ids: dict[str, int] = {}

    # What there is

    def objects(self) -> dict[Key, dict[str, Any]]:
        """Every object that is there: its fields, with `id`, and the clock of its last change."""
        return {
            key: {
                "fields": self._fields(key),
                "logical_clock": max(event.clock for event in events),
            }
            for key, events in self._history.items()
            if self._state(key) == "there"
        }

    def tombstones(self) -> dict[Key, dict[str, Any]]:
        """Of every object that is deleted: when, by what clock, and by whom."""
        return {
            key: {
                "logical_clock": events[-1].clock,
                "utc_timestamp": events[-1].timestamp,
                "device": events[-1].device,
            }
            for key, events in self._history.items()
            if self._state(key) == "deleted"
        }

    def last_push_id(self, device: str) -> int:
        """The id of the newest stored push of this device, 0 when there is none."""
        return self._last_push_ids.get(device, 0)

    # What is forgotten

    def forget_log(self, through: int) -> None:
        """Drop the pushes up to and with this clock from the log, and the ids of their diffs."""
        self.log = [push for push in self.log if push["logical_clock"] > through]
        self._ids = {clock: ids for clock, ids in self._ids.items() if clock > through}

    def forget_tombstones(self, through: int) -> None:
        """Drop the tombstones up to and with this clock: their objects are unknown from now on."""
        for key, tombstone in self.tombstones().items():
            if tombstone["logical_clock"] <= through:
                del self._history[key]

    # What happens

    def push(
        self,
        device: str,
        push_id: int,
        diffs: list[Any],
        *,
        now: int,
        again: bool = False,
        polled: bool = False,
        continues: tuple[tuple[str, int], ...] = (),
        opened: int = 0,
    ) -> dict[str, Any] | None:
        """Decide and store a push at the hub's time `now` (ms); None if it is stored already.

        `diffs` are JSON values as they came, well formed or not. A polled push comes from "mobync",
        its bases set to the request's clock and its timestamps put in order; it is stored whatever
        its `push_id`, for a request that is sent twice is recognised before it comes here.
        """
        assert polled == (device == POLLER)
        if not polled:
            if push_id <= self.last_push_id(device):
                return None
            self._last_push_ids[device] = push_id
        latest = now + self.max_ahead_ms
        stored = self._decide_all(
            Push(self.head + 1, device, latest, again, polled, set(), continues, opened), diffs
        )
        stored["push_id"] = push_id
        self.head += 1
        self.log.append(stored)
        self._ids[self.head] = {diff["id"] for diff in diffs if has_valid_id(diff)}
        return stored

    def _decide_all(self, push: Push, diffs: list[Any]) -> dict[str, Any]:
        """Decide the diffs in order, each against the outcome of those before it."""
        effective: list[dict[str, Any]] = []
        lost: list[dict[str, Any]] = []
        rejected: list[dict[str, Any]] = []
        for index, diff in enumerate(diffs):
            if push.again and self._log_holds(diff):
                continue
            name = {"index": index, "id": diff["id"] if has_valid_id(diff) else None}
            try:
                outcome = self._decide(push, diff)
            except Rejected as rejection:
                rejected.append({**name, "code": rejection.args[0]})
                continue
            if outcome.diff is not None:
                effective.append(outcome.diff)
            if outcome.lost:
                lost.append({**name, "fields": outcome.lost})
        return {
            "logical_clock": push.clock,
            "device": push.device,
            "diffs": effective,
            "lost": lost,
            "rejected": rejected,
            "differs": differs(effective, diffs, push.clock),
        }

    def _log_holds(self, diff: Any) -> bool:
        # Reading: the id alone decides, so a malformed diff whose id is known is left out, too. A
        # diff that is left out is as good as not in the push: a delete that is left out is not "an
        # earlier diff of this push that deletes it". Two diffs of one push with one id are two.
        return has_valid_id(diff) and any(diff["id"] in ids for ids in self._ids.values())

    def _decide(self, push: Push, diff: Any) -> Outcome:
        """Decide one diff by the first table of section 4, a row a case."""
        if not is_well_formed(diff):
            raise Rejected("invalid_diff")
        key = (diff["model"], diff["json_data"]["id"])
        if is_offer(diff):
            return self._refill(push, diff, key)
        self._check_age(push, diff)
        match diff["type"], self._state(key):
            case "create", "unknown":
                return self._create(push, diff, key)
            case "create", "deleted":
                return self._create_anew(push, diff, key)
            case "create" | "update", "there":
                self._check_life(diff, key)
                return self._set(push, diff, key)
            case "update", "deleted":
                # Even if it sets nothing but `id`, and even if its base has seen the delete.
                raise Rejected("object_deleted")
            case "delete", _:
                return self._delete(push, diff, key)
            case _:  # "update", "unknown"
                raise Rejected("no_such_object")

    def _check_age(self, push: Push, diff: dict[str, Any]) -> None:
        if push.again and diff["logical_clock"] < self._oldest_base():
            raise Rejected("too_old")

    def _oldest_base(self) -> int:
        """The oldest base after which the log still has every push."""
        return self.log[0]["logical_clock"] - 1 if self.log else self.head

    def _create(self, push: Push, diff: dict[str, Any], key: Key) -> Outcome:
        fields = diff["json_data"]
        self._check_size(fields)
        self._happened(key, "created", push, diff, fields)
        return Outcome(outgoing(push, diff, "create", fields) | seen_of(diff), {})

    def _create_anew(self, push: Push, diff: dict[str, Any], key: Key) -> Outcome:
        tombstone = self._history[key][-1]
        # Reading: "this same device deleted it" is the device of the tombstone; one that deleted
        # what was deleted already, in an earlier push, did not.
        knows_it_to_be_gone = (
            tombstone.clock <= base(push, diff)
            or (push.knows_its_own and tombstone.device == push.device)
            or key in push.deleted
        )
        if not knows_it_to_be_gone and not self._outlives(push, diff, tombstone):
            raise Rejected("object_deleted")
        return self._create(push, diff, key)

    def _set(self, push: Push, diff: dict[str, Any], key: Key) -> Outcome:
        """Set each field that is kept; what loses is named with the clock that holds the value."""
        carried = {name: value for name, value in diff["json_data"].items() if name != "id"}
        kept = {name: v for name, v in carried.items() if self._is_kept(push, diff, key, name)}
        lost = self._lost(diff, key, [name for name in carried if name not in kept])
        if not kept:
            return Outcome(None, lost)
        # Reading: a diff that is too large is rejected as a whole, and says nothing of fields that
        # would have lost besides.
        self._check_size({**self._fields(key), **kept})
        self._happened(key, "set", push, diff, kept)
        json_data = {n: v for n, v in diff["json_data"].items() if n == "id" or n in kept}
        return Outcome(outgoing(push, diff, "update", json_data), lost)

    def _is_kept(self, push: Push, diff: dict[str, Any], key: Key, name: str) -> bool:
        """The two rules of section 4, "field by field"."""
        if self._is_across(diff, key):
            return self._is_kept_across(push, diff, key, name)
        return self._is_kept_here(push, diff, key, name)

    def _is_kept_here(self, push: Push, diff: dict[str, Any], key: Key, name: str) -> bool:
        writes = self._writes(key, name)
        if not writes:
            return True  # never set: clock 0, which every base knows
        newest = writes[-1]
        knows_the_value = (
            newest.clock <= base(push, diff)
            or newest.clock == push.clock
            or (push.knows_its_own and newest.device == push.device)
        )
        # A kept value's timestamp is the greater of its own and the one before it, so the stored
        # timestamp is the greatest of all that were kept.
        stored_timestamp = max(write.timestamp for write in writes)
        return knows_the_value or timestamp(push, diff) >= stored_timestamp

    def _delete(self, push: Push, diff: dict[str, Any], key: Key) -> Outcome:
        push.deleted.add(key)
        if self._state(key) != "there":
            return NO_EFFECT  # the tombstone, if any, stays as it was
        if self._began_after(diff, key):
            return NO_EFFECT
        self._happened(key, "deleted", push, diff, {})
        return Outcome(outgoing(push, diff, "delete", {"id": key[1]}) | seen_of(diff), {})

    def _check_size(self, fields: dict[str, Any]) -> None:
        compact = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
        if len(compact.encode()) > self.max_object_bytes:
            raise Rejected("too_large")

    # The history of an object, and what it says

    def _happened(
        self, key: Key, kind: str, push: Push, diff: dict[str, Any], fields: dict[str, Any]
    ) -> None:
        event = Event(
            kind,
            push.clock,
            timestamp(push, diff),
            push.device,
            copy.deepcopy(fields),
            seen=diff.get("seen"),
            born=push.clock,
        )
        self._history.setdefault(key, []).append(event)

    def _state(self, key: Key) -> str:
        if key not in self._history:
            return "unknown"
        return "deleted" if self._history[key][-1].kind == "deleted" else "there"

    def _life(self, key: Key) -> list[Event]:
        """What happened since the object was last created: one created anew starts afresh."""
        events = self._history[key]
        births = [at for at, event in enumerate(events) if event.kind == "created"]
        return events[births[-1] :]

    def _writes(self, key: Key, name: str) -> list[Event]:
        return [event for event in self._life(key) if name in event.fields]

    def _fields(self, key: Key) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for event in self._life(key):
            fields.update(event.fields)
        return fields


def base(push: Push, diff: dict[str, Any]) -> int:
    """The clock that the device had applied; above the head before this push it counts as that."""
    claimed: int = diff["logical_clock"]
    return min(claimed, push.clock - 1)


def timestamp(push: Push, diff: dict[str, Any]) -> int:
    """The timestamp that is compared, kept in a tombstone, and sent out."""
    claimed: int = diff["utc_timestamp"]
    return min(claimed, push.latest_timestamp)


def outgoing(
    push: Push, diff: dict[str, Any], kind: str, json_data: dict[str, Any]
) -> dict[str, Any]:
    """The diff as the log holds it and other devices get it: five fields, no base."""
    return {
        "id": diff["id"],
        "utc_timestamp": timestamp(push, diff),
        "type": kind,
        "model": diff["model"],
        "json_data": copy.deepcopy(json_data),
    }


def seen_of(diff: dict[str, Any]) -> dict[str, Any]:
    """What goes out of a create or a delete that was made in another history."""
    return {"seen": diff["seen"]} if diff.get("seen") else {}


def differs(effective: list[dict[str, Any]], sent: list[Any], clock: int) -> bool:
    """Whether the effective push is other than the one sent, in number, type or fields."""
    # Of equally many none was dropped or refused, so that all that was sent is well formed.
    if len(effective) != len(sent):
        return True
    pairs = list(zip(effective, sent, strict=True))
    # A device takes an offer that does not differ for an object that is new at the push's clock.
    remade = [
        ours["json_data"] != theirs["json_data"]
        or (ours["was"].get("born", 0) != clock and ours["type"] == "create")
        for ours, theirs in pairs
        if is_offer(theirs)
    ]
    return any(remade) or any(shape(ours) != shape(theirs) for ours, theirs in pairs)


def shape(diff: dict[str, Any]) -> tuple[str, set[str]]:
    """The type and the names of the fields; of a delete more than `id` is ignored."""
    return diff["type"], {"id"} if diff["type"] == "delete" else set(diff["json_data"])


# What is well formed (section 3, and the lengths of section 1)


def is_well_formed(diff: Any) -> bool:
    """Whether a JSON value is a diff. Fields that the protocol does not name are ignored."""
    return (
        isinstance(diff, dict)
        and has_valid_id(diff)
        and is_count(diff.get("logical_clock"))
        and is_count(diff.get("utc_timestamp"))
        and diff.get("type") in ("create", "update", "delete")
        and is_name(diff.get("model"), 128)
        and is_object(diff.get("json_data"))
        and is_past(diff)
    )


def has_valid_id(diff: Any) -> bool:
    """Whether the diff, otherwise well formed or not, can be called by its id."""
    return isinstance(diff, dict) and is_name(diff.get("id"), 64)


def is_count(value: Any) -> bool:
    """An integer from 0 to 2^53 less 1."""
    # Reading: 1.0 is no integer, although some languages cannot tell it from 1.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= GREATEST_INTEGER


def is_name(value: Any, longest: int) -> bool:
    """A string of 1 to `longest` code points."""
    # Reading: "no lone surrogates" holds for every string of a diff: none could go out as UTF-8.
    return isinstance(value, str) and 1 <= len(value) <= longest and is_text(value)


def is_text(value: str) -> bool:
    """Whether a string has no lone surrogate."""
    # Reading: RFC 7493 forbids noncharacters (U+FFFF) as well; section 3 does not list them, so
    # they may pass.
    return not any("\ud800" <= character <= "\udfff" for character in value)


def is_object(json_data: Any) -> bool:
    """A JSON object with a string `id`, in I-JSON, no deeper than 64."""
    # Reading: of a delete as well. What it carries beside `id` is ignored, but must be I-JSON.
    return (
        isinstance(json_data, dict)
        and is_name(json_data.get("id"), 128)
        and is_i_json(json_data, GREATEST_DEPTH)
    )


def is_i_json(value: Any, depth_left: int) -> bool:
    """Whether a value is in I-JSON and its lists and objects nest no deeper than `depth_left`."""
    match value:
        case None | bool():
            return True
        case str():
            return is_text(value)
        case int():
            return abs(value) <= GREATEST_INTEGER
        case float():
            # Reading: 1e17 is a number written as a double, not an integer out of range.
            return math.isfinite(value)
        case _:
            return depth_left > 0 and all(
                is_i_json(part, depth_left - 1) for part in parts_of(value)
            )


def parts_of(value: Any) -> Iterator[Any]:
    """What a list or an object holds, with the names of an object's members."""
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    else:
        yield from value


def fold(
    pushes: Iterable[dict[str, Any]], before: Mapping[Key, dict[str, Any]] = NOTHING
) -> dict[Key, dict[str, Any]]:
    """What a device ends with that applies outgoing pushes in order, in the form of `objects()`.

    `before` is what it has to begin with.

    "Always the same, and needs no thought" (section 3): so an update of an object that is not there
    was decided wrongly, and so was a delete; both are a KeyError.
    """
    objects: dict[Key, dict[str, Any]] = dict(before)
    for push in pushes:
        for diff in push["diffs"]:
            key = (diff["model"], diff["json_data"]["id"])
            match diff["type"]:
                case "create":
                    objects[key] = {"fields": dict(diff["json_data"])}
                case "update":
                    objects[key]["fields"].update(diff["json_data"])
                case "delete" if is_offer(diff):
                    objects.pop(key, None)
                case "delete":
                    del objects[key]
            if key in objects:
                objects[key]["logical_clock"] = push["logical_clock"]
    return objects
