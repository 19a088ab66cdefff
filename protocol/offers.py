"""What a device gives back to a restored hub: section 10 of docs/protocol.md.

Pure functions of a device's state and edits. An offer is a pending edit like any other, but that it
comes before all of the device's own, and says which version of the object it is. The same version
has the same diff id, whoever offers it.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from protocol.diffs import Diff, Key, Place, Was
from protocol.history import parted
from protocol.records import Edit, Known

FIRST_NUMBER: Final = -(2**52)
"""The number of a device's first offer: all of them lie below those of its edits."""


class Crossing(NamedTuple):
    """From the history `log_id` to one that is the same up to the clock of `via`.

    `continues` are all histories that the hub carries on; `via` is where ours left one of them.
    """

    log_id: str
    via: Place
    continues: Sequence[Place]


def crossing_to(
    continues: Sequence[Place], ours: Place, ours_continues: Sequence[Place]
) -> Crossing | None:
    """How to get from our history, known up to a clock, to one that carries others on; None: not.

    The histories that ours carries on are a way, too: a hub that was restored twice from one copy
    knows nothing of what was in between.
    """
    for place in (ours, *ours_continues):
        clock = parted(place, continues)
        if clock is not None:
            return Crossing(ours.log_id, Place(place.log_id, clock), continues)
    return None


def offers(objects: Iterable[tuple[Key, Known]], way: Crossing, made: int) -> Iterator[Edit]:
    """Offer all that last changed after the histories parted; so many offers were `made` before."""
    parted_at = way.via.logical_clock
    due = [(known.clock, key, known) for key, known in objects if known.clock > parted_at]
    for count, (_, key, known) in enumerate(sorted(due, key=lambda each: each[:2])):
        number = FIRST_NUMBER + made + count
        yield Edit(number, -number, _offer(key, known, _version(known, way), parted_at))


def _version(known: Known, way: Crossing) -> Was:
    """Which version it is: in the oldest history in which it was the same, if the hub knows that.

    So it is found to be earlier or later than what devices offer that were not there in between.
    """
    was = known.was
    if was is not None and any(place.log_id == was.log_id for place in way.continues):
        return Was(was.log_id, was.logical_clock, was.created)
    return Was(way.log_id, known.clock, known.created, way.via)


def _offer(key: Key, known: Known, version: Was, base: int) -> Diff:
    model, name = key
    deleted = known.fields is None
    return Diff(
        id=_name(key, version),
        logical_clock=base,
        utc_timestamp=known.timestamp,
        type="delete" if deleted else "create",
        model=model,
        json_data={"id": name} if known.fields is None else dict(known.fields),
        was=version,
    )


def _name(key: Key, version: Was) -> str:
    named = msgspec.json.encode((*key, version.log_id, version.logical_clock))
    return sha256(named).hexdigest()[:32]


def across(edit: Edit, crossing: Crossing | None) -> Edit:
    """A pending edit, for the history to which the device goes over; None: an unrelated one.

    Its base is remembered, unless it was made in yet another history before.
    """
    diff = edit.diff
    if crossing is None:
        moved = msgspec.structs.replace(diff, logical_clock=0, seen=None)
    else:
        seen = diff.seen or Place(crossing.log_id, diff.logical_clock)
        base = min(diff.logical_clock, crossing.via.logical_clock)
        moved = msgspec.structs.replace(diff, logical_clock=base, seen=seen)
    return msgspec.structs.replace(edit, diff=moved)
