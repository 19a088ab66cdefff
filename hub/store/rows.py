"""Objects and leftovers as they lie in the hub's tables, there and back."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import msgspec
import orjson

from protocol.diffs import Held, Object, Place, Refilled, Stamp, Tombstone, Was
from protocol.history import History
from protocol.merge import Outcome, Refused
from protocol.messages import Lost, Rejected
from protocol.refill import NOBODY, version_of

ObjectRow: TypeAlias = tuple[
    int, int, int, int, str | bytes | None, str | bytes | None, str | bytes | None
]
"""created, clock, timestamp, device_no, fields, stamps, past."""
NOBODY_NO: Final = 0
"""The number of the device of a field that was refilled."""


class Past(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an object was in a history that ended; the `past` column of an object.

    `is_whole`: all of it still is what it was refilled with, as `version_of` found when the row
    was written, so that a page of objects need not read the stamps.
    """

    refilled: Refilled | None = None
    seen: Place | None = None
    is_whole: bool = False


NO_PAST: Final = Past()


class Leftovers(msgspec.Struct, frozen=True, omit_defaults=True):
    """What did not become part of the effective push; the `refused` column of the log.

    `ids` are those of the diffs of which nothing at all is effective.
    """

    lost: Sequence[Lost] = ()
    rejected: Sequence[Rejected] = ()
    diffs: Sequence[Refused] = ()
    ids: Sequence[str] = ()


NOTHING_LEFT: Final = Leftovers()

_leftovers: Final = msgspec.json.Decoder(Leftovers)
_past: Final = msgspec.json.Decoder(Past)
_continues: Final = msgspec.json.Decoder(tuple[Place, ...])


def continues_column(history: History) -> str | None:
    """The `continues` column of a user; None if its history is the first."""
    return msgspec.json.encode(history.continues).decode() if history.continues else None


def read_history(log_id: str, continues: str | None, opened: int) -> History:
    """A user's history, of the columns of its row."""
    return History(log_id, _continues.decode(continues) if continues else (), opened)


def leftovers_of(outcome: Outcome) -> str:
    """The `refused` column of a push of which not all is effective as it was sent."""
    effective = {diff.id for diff in outcome.diffs}
    ids = [name for name in outcome.ids if name not in effective]
    leftovers = Leftovers(outcome.lost, outcome.rejected, outcome.refused, ids)
    return msgspec.json.encode(leftovers).decode()


def read_leftovers(column: str | bytes) -> Leftovers:
    """Read the `refused` column back."""
    return _leftovers.decode(column)


def object_row(held: Held, numbers: Mapping[str, int]) -> ObjectRow:
    """An object's columns; `numbers` of the user's devices by their names."""
    if isinstance(held, Tombstone):
        number = numbers.get(held.device, NOBODY_NO)
        return 0, held.clock, held.timestamp, number, None, None, _past_column(held)
    newest = _newest(held)
    return (
        held.created,
        held.clock,
        newest.timestamp,
        numbers.get(newest.device, NOBODY_NO),
        orjson.dumps(held.fields).decode(),
        _stamps_column(held, newest, numbers),
        _past_column(held),
    )


def read_object(row: ObjectRow, names: Mapping[int, str]) -> Held:
    """Read an object's columns back; `names` of the user's devices by their numbers."""
    created, clock, timestamp, device_no, json_data, json_stamps, json_past = row
    past = _past.decode(json_past) if json_past else NO_PAST
    device = names.get(device_no, "")
    if json_data is None:
        return Tombstone(clock, timestamp, device, past.refilled, past.seen)
    fields = orjson.loads(json_data)
    stamps = dict.fromkeys(fields, Stamp(clock, timestamp, device))
    order = list(fields)
    for clocks_ago, ms_ago, number, *places in orjson.loads(json_stamps or b"[]"):
        older = Stamp(clock - clocks_ago, timestamp - ms_ago, names.get(number, NOBODY))
        stamps.update(dict.fromkeys((order[place] for place in places), older))
    stamps.pop("id", None)
    return Object(created, clock, fields, stamps, len(json_data), past.refilled, past.seen)


def version_in(json_past: str | bytes) -> Was | None:
    """Which version of an earlier history an object still is, by its column."""
    past = _past.decode(json_past)
    return past.refilled.version if past.refilled and past.is_whole else None


def _past_column(held: Held) -> str | None:
    if held.refilled is None and held.seen is None:
        return None
    past = Past(held.refilled, held.seen, is_whole=version_of(held) is not None)
    return msgspec.json.encode(past).decode()


def _stamps_column(held: Object, newest: Stamp, numbers: Mapping[str, int]) -> str | None:
    """Stamps other than the newest, each once, with the places of its fields among all fields."""
    places: dict[Stamp, list[int]] = {}
    for place, name in enumerate(held.fields):
        stamp = held.stamps.get(name, newest)
        if stamp is not newest and stamp != newest:
            places.setdefault(stamp, []).append(place)
    if not places:
        return None
    clock, timestamp = newest.clock, newest.timestamp
    column = [
        (
            clock - older.clock,
            timestamp - older.timestamp,
            numbers.get(older.device, NOBODY_NO),
            *fields,
        )
        for older, fields in places.items()
    ]
    return orjson.dumps(column).decode()


def _newest(held: Object) -> Stamp:
    """The stamp that is not written per field.

    An object of nothing but an id has none, nor one whose fields were all set before a refill.
    """
    for stamp in held.stamps.values():
        if stamp.clock == held.clock:
            return stamp
    latest = max((stamp.timestamp for stamp in held.stamps.values()), default=0)
    return Stamp(held.clock, latest, NOBODY)
