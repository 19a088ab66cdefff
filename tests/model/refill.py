"""Section 10 of docs/protocol.md for the model: offers, and edits from before a restore."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from tests.model.events import NO_EFFECT, Event, Key, Outcome, Push, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterable

GREATEST_INTEGER = 2**53 - 1


class Refills:
    """What the rest of the model need not know of other histories."""

    _history: dict[Key, list[Event]]

    # What the rest of the model says of an object

    def _state(self, key: Key) -> str:
        raise NotImplementedError

    def _life(self, key: Key) -> list[Event]:
        raise NotImplementedError

    def _writes(self, key: Key, name: str) -> list[Event]:
        raise NotImplementedError

    def _fields(self, key: Key) -> dict[str, Any]:
        raise NotImplementedError

    def _check_size(self, fields: dict[str, Any]) -> None:
        raise NotImplementedError

    def _is_kept_here(self, push: Push, diff: dict[str, Any], key: Key, name: str) -> bool:
        raise NotImplementedError

    # Offers

    def _refill(self, push: Push, diff: dict[str, Any], key: Key) -> Outcome:
        if diff["type"] == "update":
            raise Rejected("invalid_diff")
        parted = _parted(push, diff["was"])
        if parted is None:
            raise Rejected("unknown_history")
        if diff["was"]["logical_clock"] <= max(parted, self._refilled_up_to(diff, key)):
            return NO_EFFECT
        if diff["type"] == "delete":
            return self._refill_deletion(push, diff, key, parted)
        return self._refill_object(push, diff, key, parted)

    def _refilled_up_to(self, diff: dict[str, Any], key: Key) -> int:
        """The version of the offer's history that there is, 0 if there is none."""
        was = self._last_turn(key).was if key in self._history else None
        is_its_own = was is not None and was["log_id"] == diff["was"]["log_id"]
        return int(was["logical_clock"]) if was is not None and is_its_own else 0

    def _last_turn(self, key: Key) -> Event:
        """The birth of what is there, or the end of what is deleted."""
        return self._life(key)[0] if self._state(key) == "there" else self._history[key][-1]

    def _refill_deletion(self, push: Push, diff: dict[str, Any], key: Key, parted: int) -> Outcome:
        state, stamp = self._state(key), min(diff["utc_timestamp"], push.opened)
        if state != "unknown" and self._turned_since(diff, key, parted):
            seen = self._last_turn(key).seen
            saw = seen["logical_clock"] if seen and _same(seen, diff["was"]) else None
            if state == "deleted" and saw is None:
                return NO_EFFECT
            is_blind = saw is not None and saw < diff["was"]["logical_clock"]
            if state == "there" and not is_blind and self._oldest_stamp(key) > stamp:
                return NO_EFFECT
        event = Event("deleted", push.clock, stamp, "", {}, was=diff["was"])
        self._history.setdefault(key, []).append(event)
        return Outcome(_outgoing(diff, stamp, {"id": key[1]}, born=0, kept=[]), {})

    def _refill_object(self, push: Push, diff: dict[str, Any], key: Key, parted: int) -> Outcome:
        stamp, offered = min(diff["utc_timestamp"], push.opened), diff["json_data"]
        if self._state(key) == "deleted" and self._turned_since(diff, key, parted):
            seen = self._last_turn(key).seen
            is_earlier_life = (
                seen is not None
                and _same(seen, diff["was"])
                and seen["logical_clock"] < diff["was"].get("created", 0)
            )
            if not is_earlier_life:
                return NO_EFFECT
        kept = self._kept_on_top(diff, key, parted, stamp)
        fields = {**offered, **{name: self._fields(key)[name] for name in kept}}
        self._check_size(fields)
        born = self._born(push, diff, key, parted)
        on_top = [self._as_it_stands(key, name) for name in kept]
        own = {name: value for name, value in offered.items() if name not in kept}
        birth = Event("created", push.clock, stamp, "", copy.deepcopy(own), diff["was"], None, born)
        self._history.setdefault(key, []).extend([birth, *on_top])
        return Outcome(_outgoing(diff, stamp, fields, born, kept), {})

    def _kept_on_top(self, diff: dict[str, Any], key: Key, parted: int, stamp: int) -> list[str]:
        """Fields that were set since, and are newer than what is offered, or not offered."""
        if self._state(key) != "there":
            return []
        offered = diff["json_data"]
        return [
            name
            for name in sorted(self._fields(key))
            if name != "id"
            and self._came_since(diff, self._writes(key, name)[-1], parted)
            and (name not in offered or self._stamp(key, name) > stamp)
        ]

    def _came_since(self, diff: dict[str, Any], event: Event, parted: int) -> bool:
        """Whether it happened in the present history, and not by an offer from the same other."""
        is_offered = event.was is not None and _same(event.was, diff["was"])
        return event.clock > parted and not is_offered

    def _turned_since(self, diff: dict[str, Any], key: Key, parted: int) -> bool:
        """Whether the object was made, or deleted, since."""
        turn = self._last_turn(key)
        if turn.kind == "created" and turn.born <= parted:
            return False
        return self._came_since(diff, turn, parted)

    def _born(self, push: Push, diff: dict[str, Any], key: Key, parted: int) -> int:
        created = diff["was"].get("created", 0)
        if 0 < created <= parted:
            return int(created)
        if self._state(key) != "there":
            return push.clock
        birth = self._life(key)[0]
        was = birth.was or {}
        is_the_same = _same(was, diff["was"]) and was.get("created", 0) == created
        return birth.born if created == 0 or is_the_same else push.clock

    def _stamp(self, key: Key, name: str) -> int:
        return max(write.timestamp for write in self._writes(key, name))

    def _oldest_stamp(self, key: Key) -> int:
        names = [name for name in self._fields(key) if name != "id"]
        return min((self._stamp(key, name) for name in names), default=0)

    def _as_it_stands(self, key: Key, name: str) -> Event:
        newest = self._writes(key, name)[-1]
        fields = {name: self._fields(key)[name]}
        return Event("set", newest.clock, self._stamp(key, name), newest.device, fields)

    # Edits that were made in another history

    def _is_across(self, diff: dict[str, Any], key: Key) -> bool:
        return bool(diff.get("seen")) and self._life(key)[0].was is not None

    def _began_after(self, diff: dict[str, Any], key: Key) -> bool:
        """Whether the present life of an object began after what its editor had seen."""
        was, seen = self._life(key)[0].was, diff.get("seen")
        if was is None or not seen or not _same(was, seen):
            return False
        return bool(seen["logical_clock"] < was.get("created", 0))

    def _check_life(self, diff: dict[str, Any], key: Key) -> None:
        if diff["type"] == "update" and self._began_after(diff, key):
            raise Rejected("object_deleted")

    def _outlives(self, push: Push, diff: dict[str, Any], tombstone: Event) -> bool:
        if diff.get("seen") and tombstone.was is not None:
            return _knew(diff["seen"], tombstone.was)
        return bool(min(diff["utc_timestamp"], push.latest_timestamp) > tombstone.timestamp)

    def _is_kept_across(self, push: Push, diff: dict[str, Any], key: Key, name: str) -> bool:
        birth, writes = self._life(key)[0], self._writes(key, name)
        base = min(diff["logical_clock"], push.clock - 1)
        if not writes:
            return not self._began_after(diff, key) or birth.clock <= base
        if writes[-1] is not birth or birth.clock <= base:
            return self._is_kept_here(push, diff, key, name)
        newer = min(diff["utc_timestamp"], push.latest_timestamp) > birth.timestamp
        return newer or _knew(diff["seen"], birth.was or {})

    def _lost(self, diff: dict[str, Any], key: Key, names: Iterable[str]) -> dict[str, int]:
        """With the clock of the winner; less what is there already, given back by others."""
        lost = {}
        for name in names:
            writes = self._writes(key, name)
            newest = writes[-1] if writes else self._life(key)[0]
            is_its_own = (
                self._is_across(diff, key)
                and newest is self._life(key)[0]
                and self._fields(key).get(name, ...) == diff["json_data"][name]
            )
            if not is_its_own:
                lost[name] = newest.clock
        return lost


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(one.get("log_id") == other["log_id"])


def _knew(seen: dict[str, Any], was: dict[str, Any]) -> bool:
    return _same(was, seen) and bool(was["logical_clock"] <= seen["logical_clock"])


def _parted(push: Push, was: dict[str, Any]) -> int | None:
    """Up to which clock the hub's history and that of an offer are one."""
    known, via = dict(reversed(push.continues)), was.get("via")
    clock = known.get(was["log_id"])
    if via is not None and (clock is None or via["log_id"] == was["log_id"]):
        shared = known.get(via["log_id"])
        clock = None if shared is None else min(shared, via["logical_clock"])
    if clock is None and push.opened and not (push.continues and push.continues[0][1]):
        return 0  # the copy lacked the user: all other histories are lost ones
    return clock


def _outgoing(
    diff: dict[str, Any], stamp: int, fields: dict[str, Any], born: int, kept: list[str]
) -> dict[str, Any]:
    was = {name: diff["was"][name] for name in ("log_id", "logical_clock")}
    more = {"created": diff["was"].get("created", 0), "born": born, "kept": kept}
    return {
        "id": diff["id"],
        "utc_timestamp": stamp,
        "type": diff["type"],
        "model": diff["model"],
        "json_data": copy.deepcopy(fields),
        "was": was | {name: value for name, value in more.items() if value},
    }


def is_offer(diff: dict[str, Any]) -> bool:
    """Whether a well-formed diff is an offer."""
    return diff.get("was") is not None


def is_past(diff: dict[str, Any]) -> bool:
    """Whether what a diff says of other histories is well formed, if it says anything."""
    was, seen = diff.get("was"), diff.get("seen")
    return (was is None or _is_version(was)) and (seen is None or _is_place(seen))


def _is_version(was: Any) -> bool:
    return (
        _is_place(was)
        and all(_is_count(was.get(name, 0)) for name in ("created", "born"))
        and (was.get("via") is None or _is_place(was["via"]))
        and _are_names(was.get("kept", []))
    )


def _is_place(place: Any) -> bool:
    if not isinstance(place, dict) or not isinstance(place.get("log_id"), str):
        return False
    is_name = re.fullmatch("[!-~]{1,64}", place["log_id"]) is not None
    return is_name and _is_count(place.get("logical_clock"))


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= GREATEST_INTEGER


def _are_names(names: Any) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)
