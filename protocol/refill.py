"""What the hub makes of an offer: section 10 of docs/protocol.md.

An offer is the last version of an object, or its deletion, that a device knew in a history that
ended. That history was one line, so of two offers from it the one with the greater clock there is
the later, as a whole. What was stored in the present history after the two parted, other than by
offers from that one, came *since*: it stays on top.
"""

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from protocol.diffs import (
    Diff,
    Fields,
    Held,
    Object,
    Place,
    Refilled,
    Stamp,
    StoredDiff,
    Tombstone,
    Was,
    json_size,
    stamps_of,
)
from protocol.errors import NotRefilled
from protocol.history import History

NOBODY: Final = ""
"""The device of an offered field: whoever offers an edit need not be who made it."""


class Offer(NamedTuple):
    """An offer under judgement.

    Its history and ours are one up to `shared`; `clock` is that of its push, `timestamp` (ms) no
    later than when they parted: what was edited after that is newer, whatever a clock showed.
    """

    diff: Diff
    was: Was
    shared: int
    clock: int
    timestamp: int


def settle(
    diff: Diff, was: Was, held: Held | None, history: History, clock: int
) -> StoredDiff | None:
    """What of an offer is stored, with the object as it stands; None: nothing.

    Raises:
        NotRefilled: this hub takes no offers, or none from that history, or this is none.

    """
    parted = _parted(diff, was, history)
    offer = Offer(diff, was, parted, clock, min(diff.utc_timestamp, history.opened))
    if was.logical_clock <= parted or _has_it(offer, held):
        return None
    return _RULES[diff.type, type(held)](offer, held)


def _parted(diff: Diff, was: Was, history: History) -> int:
    if diff.type == "update":
        raise NotRefilled("invalid_diff", "an offer is a whole object, or its deletion")
    parted = history.parted_from(was.log_id, was.via)
    if parted is None:
        raise NotRefilled("unknown_history", "this hub does not carry that history on")
    return parted


def _has_it(offer: Offer, held: Held | None) -> bool:
    """Whether a device has offered this version, or a later one."""
    known = _known(offer, held)
    return known is not None and known.logical_clock >= offer.was.logical_clock


def _known(offer: Offer, held: Held | None) -> Refilled | None:
    """The version from the offer's history that the hub has been given."""
    known = held.refilled if held else None
    return known if known and known.log_id == offer.was.log_id else None


def _seen(offer: Offer, place: Place | None) -> int | None:
    """How far somebody knew the offer's history who deleted or created the object; None: since."""
    return place.logical_clock if place and place.log_id == offer.was.log_id else None


def _deletion(offer: Offer, _held: Held | None = None) -> StoredDiff:
    return _stored(offer, {"id": offer.diff.json_data["id"]}, born=0)


def _deletion_of_deleted(offer: Offer, grave: Tombstone) -> StoredDiff | None:
    """It is noted, or else an older offer could bring the object back."""
    came_since = grave.clock > offer.shared and _known(offer, grave) is None
    return None if came_since and _seen(offer, grave.seen) is None else _deletion(offer)


def _deletion_of_living(offer: Offer, held: Object) -> StoredDiff | None:
    """Delete wins, but over an object that was created since, by somebody who could know."""
    if held.created <= offer.shared or _known(offer, held) is not None:
        return _deletion(offer)
    seen = _seen(offer, held.seen)
    born = min((stamp.timestamp for stamp in held.stamps.values()), default=0)
    blind = seen is not None and seen < offer.was.logical_clock
    return _deletion(offer) if blind or born <= offer.timestamp else None


def _version(offer: Offer, _held: None = None) -> StoredDiff:
    return _stored(offer, offer.diff.json_data, _born(offer, None))


def _version_of_deleted(offer: Offer, grave: Tombstone) -> StoredDiff | None:
    """What was deleted since stays deleted, if it was this life that was deleted."""
    came_since = grave.clock > offer.shared and _known(offer, grave) is None
    seen = _seen(offer, grave.seen)
    was_another_life = seen is not None and seen < offer.was.created
    return None if came_since and not was_another_life else _version(offer)


def _version_of_living(offer: Offer, held: Object) -> StoredDiff:
    """The version as a whole; on top of it the fields that were set since, if they are newer."""
    kept = {name: held.fields[name] for name in _newer(offer, held)}
    return _stored(offer, {**offer.diff.json_data, **kept}, _born(offer, held), tuple(kept))


def _newer(offer: Offer, held: Object) -> list[str]:
    known, offered = _known(offer, held), offer.diff.json_data
    return [
        name
        for name, stamp in sorted(held.stamps.items())
        if _came_since(offer, stamp, known)
        and (name not in offered or stamp.timestamp > offer.timestamp)
    ]


def _came_since(offer: Offer, stamp: Stamp, known: Refilled | None) -> bool:
    was_offered = known is not None and is_offered(stamp, known)
    return stamp.clock > offer.shared and not was_offered


def is_offered(stamp: Stamp, refilled: Refilled) -> bool:
    """Whether a field has the value that it was refilled with."""
    return stamp.clock == refilled.at and stamp.device == NOBODY


def _born(offer: Offer, held: Object | None) -> int:
    """The clock at which this life of the object began, as our history counts."""
    created = offer.was.created
    if 0 < created <= offer.shared:
        return created
    known = _known(offer, held)
    goes_on = held is not None and (created == 0 or (known and known.created == created))
    return held.created if held is not None and goes_on else offer.clock


def _stored(offer: Offer, fields: Fields, born: int, kept: tuple[str, ...] = ()) -> StoredDiff:
    diff, was = offer.diff, msgspec.structs.replace(offer.was, born=born, kept=kept, via=None)
    return StoredDiff(diff.id, offer.timestamp, diff.type, diff.model, dict(fields), was)


_Rule: TypeAlias = Callable[[Offer, Any], StoredDiff | None]

_RULES: Final[Mapping[tuple[str, type], _Rule]] = {
    # offered, the object is: what is stored
    ("create", NoneType): _version,
    ("create", Tombstone): _version_of_deleted,
    ("create", Object): _version_of_living,
    ("delete", NoneType): _deletion,
    ("delete", Tombstone): _deletion_of_deleted,
    ("delete", Object): _deletion_of_living,
}


def apply_offer(held: Held | None, diff: StoredDiff, was: Was, clock: int) -> Held:
    """What a stored offer makes of an object."""
    refilled = Refilled(was.log_id, was.logical_clock, was.created, clock)
    if diff.type == "delete":
        return Tombstone(clock, diff.utc_timestamp, NOBODY, refilled)
    stamps = stamps_of(diff.json_data, Stamp(clock, diff.utc_timestamp, NOBODY))
    if isinstance(held, Object):
        stamps.update((name, held.stamps[name]) for name in was.kept)
    return Object(was.born, clock, diff.json_data, stamps, json_size(diff.json_data), refilled)


def version_of(held: Held) -> Was | None:
    """Which version of an earlier history an object still is."""
    known = held.refilled
    if known is None or held.clock != known.at:
        return None
    stamps = held.stamps.values() if isinstance(held, Object) else ()
    if any(not is_offered(stamp, known) for stamp in stamps):
        return None
    return known.version
