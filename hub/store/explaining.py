"""Why an object is as it is: who set each field, and what else was tried, as the log tells."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec
import orjson

from hub.progress import Tell
from hub.store.beside import known
from hub.store.errors import NoSuchObject, NotKnown
from hub.store.looking import PushRow, pushes
from hub.store.reading import first_clock, head_of, read_objects
from hub.store.rows import Leftovers
from protocol.diffs import Held, Key, Object, Tombstone
from protocol.merge import Refused
from protocol.messages import decode_diffs

Became: TypeAlias = Literal["stored", "given back", "lost", "rejected", "older"]
"""What became of an edit; "older" is what a device gave back though newer was here."""
NO_FIELDS: Final[Mapping[str, int]] = {}


class FieldRow(msgspec.Struct, frozen=True):
    """A field as it stands, and the push that set it: `utc_timestamp` is when the edit was made.

    `stored_at` is None where the log no longer has that push. No `device`: it was given back to a
    restored hub.
    """

    name: str
    value: Any
    clock: int
    device: str
    utc_timestamp: int
    stored_at: int | None


class EditRow(msgspec.Struct, frozen=True):
    """An edit of the object in the push of a clock, or a part of one, and what became of it.

    `won_by` has the clocks of the pushes to which fields were lost, `code` and `message` say why it
    was rejected.
    """

    clock: int
    device: str
    stored_at: int
    became: Became
    type: str
    fields: Mapping[str, Any]
    won_by: Mapping[str, int] = NO_FIELDS
    code: str = ""
    message: str = ""


class Why(msgspec.Struct, frozen=True):
    """An object and all that the log tells of it: what was before `first_clock`, nobody knows.

    It is deleted if `is_deleted`, and `clock` is that of its last change; 0: it was never there.
    """

    model: str
    id: str
    clock: int
    created: int
    is_deleted: bool
    fields: tuple[FieldRow, ...]
    edits: tuple[EditRow, ...]
    first_clock: int


def why(connection: sqlite3.Connection, user: str, key: Key, tell: Tell) -> Why:
    """Explain an object of a user.

    Raises:
        NoSuchUser, NoSuchObject: there is none, and the log tells of none.

    """
    number = known(connection, user)
    held = read_objects(connection, number, [key]).get(key)
    stamps = held.stamps.values() if isinstance(held, Object) else ()
    moments: dict[int, int | None] = {stamp.clock: None for stamp in stamps}
    edits: list[EditRow] = []
    first, head = first_clock(connection, number), head_of(connection, number)
    for push in pushes(connection, number, 0):
        if push.clock in moments:
            moments[push.clock] = push.stored_at
        edits += edits_of(push, key)
        tell("reading the log", push.clock - first + 1, head - first + 1)
    if held is None and not edits:
        raise NoSuchObject(user, key, first)
    return _why(key, held, edits, moments, first)


def value_at(connection: sqlite3.Connection, user: str, key: Key, field: str, clock: int) -> Any:
    """What the push of a clock said of a field: what it lost there, or else what it set.

    Raises:
        NoSuchUser: there is none.
        NotKnown: the push says nothing of that, or the log no longer has it.

    """
    number = known(connection, user)
    first = first_clock(connection, number)
    if clock < first:
        raise NotKnown(f"the log goes back to clock {first}: the push of {clock} is gone")
    push = next(pushes(connection, number, clock - 1), None)
    told = edits_of(push, key) if push is not None and push.clock == clock else ()
    values = [edit for edit in told if field in edit.fields]
    if not values:
        raise NotKnown(
            f"the push of clock {clock} says nothing of the field {field!r} of {key[0]!r} "
            f"{key[1]!r}; mobync-hub why lists the edits of an object"
        )
    # Those that did not become part of the object come last.
    return values[-1].fields[field]


def edits_of(push: PushRow, key: Key) -> Iterator[EditRow]:
    """What a push says of an object."""
    common = push.clock, push.device, push.stored_at
    for diff in decode_diffs(push.diffs):
        if diff.key == key:
            became: Became = "stored" if diff.was is None else "given back"
            yield EditRow(*common, became, diff.type, _less_id(diff.json_data))
    yield from (edit for of, edit in refused_edits(push) if of == key)


def refused_edits(push: PushRow) -> Iterator[tuple[tuple[object, object], EditRow]]:
    """What of a push did not become part of it, and of which model and id it says that it is."""
    common = push.clock, push.device, push.stored_at
    for refused in push.refused.diffs:
        edit = _as_edit(refused)
        kind, fields = str(edit.get("type", "")), _fields(edit)
        became = _what_became(refused, push.refused)
        row = EditRow(*common, **became, type=kind, fields=_less_id(fields))
        yield (edit.get("model"), fields.get("id")), row


def _why(
    key: Key, held: Held | None, edits: list[EditRow], moments: Mapping[int, int | None], first: int
) -> Why:
    gone, clock = isinstance(held, Tombstone), held.clock if held else 0
    if not isinstance(held, Object):
        return Why(*key, clock, 0, gone, (), tuple(edits), first)
    rows = (
        FieldRow(name, held.fields[name], at.clock, at.device, at.timestamp, moments.get(at.clock))
        for name, at in held.stamps.items()
    )
    return Why(*key, clock, held.created, gone, tuple(rows), tuple(edits), first)


def _what_became(refused: Refused, left: Leftovers) -> dict[str, Any]:
    for rejected in left.rejected:
        if rejected.index == refused.index:
            return {"became": "rejected", "code": rejected.code, "message": rejected.message}
    for lost in left.lost:
        if lost.index == refused.index:
            return {"became": "lost", "won_by": lost.fields}
    return {"became": "older"}


def _as_edit(refused: Refused) -> Mapping[str, Any]:
    """The edit as its device sent it; what JSON could not safely be made of is kept as a text."""
    edit = refused.diff
    if isinstance(edit, str):
        try:
            edit = json.loads(edit)
        except ValueError:
            return {}
    return edit if isinstance(edit, dict) else {}


def _fields(edit: Mapping[str, Any]) -> Mapping[str, Any]:
    fields = edit.get("json_data")
    return fields if isinstance(fields, dict) else {}


def _less_id(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields but the id; as one text, where they are such that no JSON can be made of them."""
    shown = {name: value for name, value in fields.items() if name != "id"}
    try:
        orjson.dumps(shown)
    except orjson.JSONEncodeError:
        return {"json_data": json.dumps(shown)}
    return shown
