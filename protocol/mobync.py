"""The words of mobync's own clients, there and back (docs/protocol.md, section 9).

A polling client sends its clock and its edits, and is told what others did since. What an answer
must look like follows from what the released client (Flutter package 0.0.8) does with it:

- it sorts the diffs by clock and then by timestamp, so those of one clock must differ in theirs;
- its `create` of a row that is there fails, and its `update` of a row that is not does nothing, so
  an object may be created anew only after a `delete`, and only then if it has to be; an offer
  (section 10), which the log has as a `create` be the object there or not, comes whole;
- it sends every edit again until the clock of an answer rises, and never after;
- it has already made its own edits on its own rows, where they stay unless the answer says else.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from msgspec import Raw

from protocol.diffs import (
    MAX_INTEGER,
    DiffType,
    Fields,
    Held,
    Integer,
    Key,
    Object,
    Tombstone,
    name_of,
    read_diff,
)
from protocol.errors import BadMessage, InvalidDiff, flaw
from protocol.messages import POLLING_DEVICE, Lost, Rejected, any_json

MOST_TOLD: Final = 100
"""Refused diffs that a message names."""


# What a client says


class Request(msgspec.Struct, frozen=True):
    """One `POST /sync`, its diffs and its token still any JSON."""

    logical_clock: Integer
    diffs: Sequence[Any]
    auth_token: Any = None


class Edit(NamedTuple):
    """One diff of a request. `value` is what is pushed: the diff in the words of section 3.

    `key` is the object that the client has changed on its side, as far as that can be told, and
    `fields` are the names of what it has set there; `flaw` says why the diff is not well formed.
    """

    value: object
    name: str | None
    key: Key | None
    fields: Collection[str]
    is_delete: bool
    flaw: str | None


def decode_request(body: bytes) -> Request:
    """What a client says.

    Raises:
        BadMessage: not JSON, or a field that is missing or ill-typed.

    """
    try:
        return msgspec.convert(_json(body), Request)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise BadMessage(flaw(error)) from None


def edits_of(request: Request, max_depth: int) -> Sequence[Edit]:
    """The diffs of a request as edits of one push, in their order.

    Their base is the request's clock, and their timestamps rise where they were equal.
    """
    values = [_in_our_words(value, request.logical_clock) for value in request.diffs]
    _raise_equal_timestamps(values)
    return [_read_edit(value, max_depth) for value in values]


def _json(text: str | bytes) -> object:
    """Any JSON: what is not I-JSON in a diff makes that diff invalid, and no other."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return any_json(text)


def _in_our_words(value: object, base: int) -> object:
    if not isinstance(value, dict):
        return value
    fields = _fields_in(value.get("json_data"))
    return {**value, "logical_clock": base, "json_data": fields}


def _fields_in(json_data: object) -> object:
    """The object in a text; what is none stays as it came, so that the log keeps it so."""
    if isinstance(json_data, dict):
        return [json_data]  # No text, so no `json_data`; and no object, so that it is refused.
    fields = _json(json_data) if isinstance(json_data, str) else None
    return fields if isinstance(fields, dict) else json_data


def _raise_equal_timestamps(values: Iterable[object]) -> None:
    """Where the clock stood still between two diffs, their order must show in their timestamps."""
    before = last = -1
    for value in values:
        timestamp = value.get("utc_timestamp") if isinstance(value, dict) else None
        if isinstance(value, dict) and type(timestamp) is int and timestamp >= 0:
            stood_still = before <= timestamp <= last
            before, last = timestamp, min(last + 1, MAX_INTEGER) if stood_still else timestamp
            value["utc_timestamp"] = last


def _read_edit(value: object, max_depth: int) -> Edit:
    try:
        diff = read_diff(value, max_depth)
    except InvalidDiff as error:
        return _flawed_edit(value, str(error))
    return Edit(value, diff.id, diff.key, diff.json_data, diff.type == "delete", None)


def _flawed_edit(value: object, flaw: str) -> Edit:
    if not isinstance(value, dict):
        return Edit(value, None, None, (), is_delete=False, flaw=flaw)
    fields = value["json_data"] if isinstance(value["json_data"], dict) else {}
    key = _key_of(value.get("model"), fields.get("id"))
    return Edit(value, name_of(value), key, fields, value.get("type") == "delete", flaw)


def _key_of(model: object, name: object) -> Key | None:
    address = {"logical_clock": 0, "utc_timestamp": 0, "type": "delete", "id": "any"}
    try:
        return read_diff({**address, "model": model, "json_data": {"id": name}}).key
    except InvalidDiff:
        return None


# What the log says


class LogRow(Protocol):
    """A stored push."""

    @property
    def clock(self) -> int:
        """The clock that it took."""

    @property
    def device(self) -> str:
        """Who pushed it."""

    @property
    def diffs(self) -> bytes:
        """Its effective diffs, as `encode_diffs` made them."""

    @property
    def lost(self) -> Sequence[Lost]:
        """What of it lost."""

    @property
    def rejected(self) -> Sequence[Rejected]:
        """What of it was rejected."""


class _Logged(msgspec.Struct, frozen=True):
    id: str
    utc_timestamp: int
    type: DiffType
    model: str
    json_data: Raw
    was: object = None


class _Address(msgspec.Struct, frozen=True):
    id: str


class Heard(NamedTuple):
    """What a client has to hear of.

    `diffs` are those of others, with their clocks; the objects in `whole` come as the hub holds
    them instead; `refused` are this request's, now or when it was first stored, by their ids.
    """

    diffs: Sequence[tuple[int, Key, _Logged]]
    whole: Collection[Key]
    refused: Mapping[str, Rejected]


_logged: Final = msgspec.json.Decoder(list[_Logged])
_address: Final = msgspec.json.Decoder(_Address)


def hear(edits: Sequence[Edit], rows: Iterable[LogRow]) -> Heard:
    """What a client with these edits has to hear of, when `rows` are all since its clock."""
    own = {edit.name for edit in edits if edit.name is not None}
    damaged = {edit.name for edit in edits if edit.flaw is not None}
    diffs: list[tuple[int, Key, _Logged]] = []
    refused: dict[str, Rejected] = {}
    for row in rows:
        polled = row.device == POLLING_DEVICE
        diffs += [found for found in _found_in(row) if not (polled and found[2].id in own)]
        if polled:
            refused |= {r.id: r for r in row.rejected if r.id in own and r.id is not None}
            damaged.update(lost.id for lost in row.lost)
    damaged.update(refused)
    whole = _whole(edits, {key for _clock, key, _diff in diffs}, damaged)
    whole |= {key: None for _clock, key, diff in diffs if diff.was is not None}
    return Heard([found for found in diffs if found[1] not in whole], whole, refused)


def hear_all(edits: Sequence[Edit], rows: Sequence[LogRow], changed: Iterable[Key]) -> Heard:
    """The same when the log no longer goes back that far: all that `changed` comes whole."""
    keys = dict.fromkeys(changed)
    keys.update((key, None) for row in rows for _clock, key, _diff in _found_in(row))
    keys.update((edit.key, None) for edit in edits if edit.key is not None)
    return Heard((), keys, hear(edits, rows).refused)


def _found_in(row: LogRow) -> Iterator[tuple[int, Key, _Logged]]:
    for diff in _logged.decode(row.diffs):
        yield row.clock, (diff.model, _address.decode(diff.json_data).id), diff


def _whole(
    edits: Iterable[Edit], others: Collection[Key], damaged: Collection[str | None]
) -> dict[Key, None]:
    """Objects of which the client's row is not what replaying the log would make of it."""
    return dict.fromkeys(
        edit.key
        for edit in edits
        if edit.key is not None and (edit.key in others or edit.name in damaged)
    )


# What a client is told


class _Diff(msgspec.Struct, frozen=True):
    id: str
    owner: str
    logical_clock: int
    utc_timestamp: int
    type: DiffType
    model: str
    json_data: str


class _Answer(msgspec.Struct, frozen=True):
    success: bool
    message: str
    logical_clock: int
    diffs: Sequence[_Diff]


class _Failure(msgspec.Struct, frozen=True):
    message: str
    success: bool = False


class View(NamedTuple):
    """How a user stands at `head`: what a client has to hear of, and what is held of it whole."""

    user: str
    head: int
    heard: Heard
    held: Mapping[Key, Held]


def answer(request: Request, edits: Sequence[Edit], view: View) -> bytes:
    """The answer to a request, as JSON."""
    scribe = _Scribe(view.user)
    for clock, key, diff in view.heard.diffs:
        scribe.write(clock, key, diff)
    touched = _touched(edits)
    for number, (key, diff) in enumerate(_held_diffs(request.logical_clock, touched, view)):
        scribe.write(view.head, key, msgspec.structs.replace(diff, id=f"hub-{view.head}-{number}"))
    message = _message(edits, view.heard.refused)
    return msgspec.json.encode(_Answer(True, message, view.head, scribe.diffs))  # noqa: FBT003


def failure(message: str) -> bytes:
    """The answer to what cannot be answered, as JSON."""
    return msgspec.json.encode(_Failure(message))


class _Scribe:
    """Writes diffs so that a client that sorts them keeps their order.

    Invariant: behind a diff of the same clock, or of the same object, comes a later timestamp.
    """

    def __init__(self, owner: str) -> None:
        self.diffs: list[_Diff] = []
        self._owner = owner
        self._last: dict[int | Key, int] = {}

    def write(self, clock: int, key: Key, diff: _Logged) -> None:
        earlier = max(self._last.get(clock, -1), self._last.get(key, -1))
        timestamp = max(diff.utc_timestamp, earlier + 1)
        self._last[clock] = self._last[key] = timestamp
        text = bytes(diff.json_data).decode()
        # mobync counts the clocks of diffs from 0, and those of requests and answers from 1.
        counted = max(clock - 1, 0)
        self.diffs.append(
            _Diff(diff.id, self._owner, counted, timestamp, diff.type, diff.model, text)
        )


class _Touch(NamedTuple):
    """What a client has done to its row of an object."""

    fields: Collection[str]
    is_delete: bool


_UNTOUCHED: Final = _Touch((), is_delete=False)


def _touched(edits: Iterable[Edit]) -> Mapping[Key, _Touch]:
    touched: dict[Key, _Touch] = {}
    for edit in edits:
        if edit.key is not None:
            before = touched.get(edit.key, _UNTOUCHED)
            fields = {*before.fields, *edit.fields}
            touched[edit.key] = _Touch(fields, before.is_delete or edit.is_delete)
    return touched


def _held_diffs(
    clock: int, touched: Mapping[Key, _Touch], view: View
) -> Iterator[tuple[Key, _Logged]]:
    """Whole objects in the order of their last change."""
    held = [(key, view.held.get(key, _NEVER)) for key in view.heard.whole]
    for key, value in sorted(held, key=lambda pair: (pair[1].clock, pair[0])):
        timestamp = _timestamp_of(value)
        for kind, fields in _as_held(key, value, clock, touched.get(key, _UNTOUCHED)):
            json_data = Raw(msgspec.json.encode(fields))
            yield key, _Logged("", timestamp, kind, key[0], json_data)


_NEVER: Final = Tombstone(0, 0, "")


def _as_held(key: Key, held: Held, clock: int, touch: _Touch) -> Iterator[tuple[DiffType, Fields]]:
    """What makes the client's row, whatever it is now, what the hub holds.

    An `update` is enough where the row is there and has no field that the hub lacks: one that it
    refused, or one of a life of the object that ended in a history given back since.
    """
    if isinstance(held, Object) and held.created <= clock and _is_updatable(held, clock, touch):
        yield "update", held.fields
        return
    yield "delete", {"id": key[1]}
    if isinstance(held, Object):
        yield "create", held.fields


def _is_updatable(held: Object, clock: int, touch: _Touch) -> bool:
    was_refilled = held.refilled is not None and held.refilled.at > clock
    return not (touch.is_delete or was_refilled) and held.fields.keys() >= set(touch.fields)


def _timestamp_of(held: Held) -> int:
    if isinstance(held, Tombstone):
        return held.timestamp
    return max((stamp.timestamp for stamp in held.stamps.values()), default=0)


def _message(edits: Iterable[Edit], refused: Mapping[str, Rejected]) -> str:
    """Name what was refused; empty if nothing was."""
    told = [reason for edit in edits if (reason := _refusal(edit, refused))]
    if len(told) > MOST_TOLD:
        told[MOST_TOLD:] = [f"and {len(told) - MOST_TOLD} more"]
    return f"refused: {'; '.join(told)}" if told else ""


def _refusal(edit: Edit, refused: Mapping[str, Rejected]) -> str | None:
    rejected = refused.get(edit.name) if edit.name is not None else None
    if rejected is not None:
        return f"{edit.name} ({rejected.code}: {rejected.message})"
    if edit.flaw is not None:
        return f"{edit.name or 'a diff without an id'} (invalid_diff: {edit.flaw})"
    return None
