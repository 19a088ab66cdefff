"""The tables of a device's file, and each record as a row of one of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from protocol.diffs import Diff, Key, Place, Was
from protocol.messages import Half
from protocol.records import CutPush, Edit, Known, Position, Setback, Writes

SCHEMA_VERSION: Final = 3
APPLICATION_ID: Final = 0x6D6F6279
"""`moby`: tells a device's file from every other SQLite file."""

SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE device (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    name TEXT,
    user TEXT
) STRICT;
CREATE TABLE position (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    log_id TEXT,
    clock INTEGER NOT NULL,
    half_from INTEGER,
    half_head INTEGER,
    counter INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    edits INTEGER NOT NULL,
    setbacks INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    skew INTEGER NOT NULL,
    corrected INTEGER NOT NULL,
    epoch TEXT,
    earlier TEXT NOT NULL DEFAULT '[]', -- names, newest first
    offers INTEGER NOT NULL DEFAULT 0,
    continues TEXT NOT NULL DEFAULT '[]' -- clocks of older histories
) STRICT;
CREATE TABLE objects (
    model TEXT NOT NULL,
    id TEXT NOT NULL,
    clock INTEGER NOT NULL,
    json TEXT, -- null: deleted
    timestamp INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL DEFAULT 0,
    was TEXT, -- the version of an older history that it still is
    PRIMARY KEY (model, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE edits (
    number INTEGER PRIMARY KEY,
    batch INTEGER NOT NULL,
    again INTEGER NOT NULL,
    diff TEXT NOT NULL
) STRICT;
CREATE TABLE pushes (
    push_id INTEGER PRIMARY KEY,
    again INTEGER NOT NULL,
    edits TEXT NOT NULL
) STRICT;
CREATE TABLE setbacks (
    number INTEGER PRIMARY KEY,
    setback TEXT NOT NULL
) STRICT;
INSERT INTO device (one) VALUES (1);
INSERT INTO position VALUES (1, NULL, 0, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, NULL, '[]', 0, '[]');
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""  # noqa: S608 - numbers of our own

_PUT_POSITION: Final = """
UPDATE position SET log_id = ?, clock = ?, half_from = ?, half_head = ?, counter = ?, settled = ?,
    edits = ?, setbacks = ?, timestamp = ?, skew = ?, corrected = ?, epoch = ?, earlier = ?,
    offers = ?, continues = ?
"""
_PUT_OBJECT: Final = """
INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET clock = excluded.clock, json = excluded.json,
    timestamp = excluded.timestamp, created = excluded.created, was = excluded.was
"""


class _Table(NamedTuple):
    """How to put and to remove a record that has a number."""

    put: str
    remove: str


_EDITS: Final = _Table(
    "INSERT OR REPLACE INTO edits VALUES (?, ?, ?, ?)", "DELETE FROM edits WHERE number = ?"
)
_PUSHES: Final = _Table(
    "INSERT OR REPLACE INTO pushes VALUES (?, ?, ?)", "DELETE FROM pushes WHERE push_id = ?"
)
_SETBACKS: Final = _Table(
    "INSERT OR REPLACE INTO setbacks VALUES (?, ?)", "DELETE FROM setbacks WHERE number = ?"
)

Row: TypeAlias = tuple[Any, ...]

_encoder: Final = msgspec.json.Encoder()
_diff: Final = msgspec.json.Decoder(Diff)
_edits: Final = msgspec.json.Decoder(tuple[Edit, ...])
_setback: Final[msgspec.json.Decoder[Setback]] = msgspec.json.Decoder(Setback)
_fields: Final = msgspec.json.Decoder(dict[str, Any])
_names: Final = msgspec.json.Decoder(tuple[str, ...])
_places: Final = msgspec.json.Decoder(tuple[Place, ...])
_was: Final = msgspec.json.Decoder(Was)


# Writing


def statements(writes: Writes) -> Iterator[tuple[str, Iterable[Row]]]:
    """What to execute, in order; nothing for a table that has not changed."""
    yield _PUT_POSITION, [_position_row(writes.position)]
    if writes.forget:
        yield "DELETE FROM objects", [()]
    if writes.objects:
        yield _PUT_OBJECT, (_object_row(*item) for item in writes.objects.items())
    if writes.edits:
        yield from _changes(_EDITS, writes.edits, _edit_row)
    if writes.pushes:
        yield from _changes(_PUSHES, writes.pushes, _push_row)
    if writes.setbacks:
        yield from _changes(_SETBACKS, writes.setbacks, _setback_row)


def _changes(
    table: _Table, changes: Mapping[int, Any], row: Callable[[int, Any], Row]
) -> Iterator[tuple[str, Iterable[Row]]]:
    gone = [(number,) for number, record in changes.items() if record is None]
    kept = [row(number, record) for number, record in changes.items() if record is not None]
    if gone:
        yield table.remove, gone
    if kept:
        yield table.put, kept


def _json(value: object) -> str:
    return _encoder.encode(value).decode()


def _object_row(key: Key, known: Known) -> Row:
    fields = None if known.fields is None else _json(known.fields)
    was = None if known.was is None else _json(known.was)
    return *key, known.clock, fields, known.timestamp, known.created, was


def _edit_row(number: int, edit: Edit) -> Row:
    return number, edit.batch, edit.again, _json(edit.diff)


def _push_row(push_id: int, push: CutPush) -> Row:
    return push_id, push.again, _json(push.edits)


def _setback_row(number: int, setback: Setback) -> Row:
    return number, _json(setback)


def _position_row(position: Position) -> Row:
    half = (position.half.from_, position.half.head) if position.half else (None, None)
    log_id, clock, _, *counters, epoch, earlier, offers, _ = msgspec.structs.astuple(position)
    histories = _json(position.continues)
    return log_id, clock, *half, *counters, epoch, _json(earlier), offers, histories


# Reading


def read_position(
    log_id: str | None, clock: int, half_from: int | None, half_head: int | None, *rest: Any
) -> Position:
    """A row of `position`, less its first column."""
    *counters, epoch, earlier, offers, continues = rest
    half = None if half_from is None or half_head is None else Half(half_from, half_head)
    names, places = _names.decode(earlier), _places.decode(continues)
    values: Row = (log_id, clock, half, *counters, epoch, names, offers, places)
    return Position(*values)


def read_object(
    model: str,
    name: str,
    clock: int,
    json: str | None,
    timestamp: int,
    created: int,
    was: str | None,
) -> tuple[Key, Known]:
    """A row of `objects`."""
    fields = None if json is None else _fields.decode(json)
    version = None if was is None else _was.decode(was)
    return (model, name), Known(clock, fields, timestamp, created, version)


def read_edit(number: int, batch: int, again: int, diff: str) -> Edit:
    """A row of `edits`."""
    return Edit(number, batch, _diff.decode(diff), bool(again))


def read_push(push_id: int, again: int, edits: str) -> CutPush:
    """A row of `pushes`."""
    return CutPush(push_id, _edits.decode(edits), bool(again))


def read_setback(number: int, setback: str) -> tuple[int, Setback]:
    """A row of `setbacks`."""
    return number, _setback.decode(setback)
