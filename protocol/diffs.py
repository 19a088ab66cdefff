"""Edits, and the objects they make (docs/protocol.md, sections 1, 3 and 4)."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from types import NoneType
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
import orjson

from protocol.errors import InvalidDiff, flaw

MAX_INTEGER: Final = 2**53 - 1
"""The greatest integer that JavaScript holds exactly; every integer of the protocol keeps to it."""
MAX_DIFF_ID: Final = 64
MAX_DEVICE: Final = 64
MAX_MODEL: Final = 128
MAX_OBJECT_ID: Final = 128
MAX_DEPTH: Final = 64
"""How deep `json_data` may be nested, itself counted as the first level."""
MAX_OBJECT_BYTES: Final = 256 * 1024

Integer: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
DeviceName: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_DEVICE)]
DiffId: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_DIFF_ID)]
ModelName: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_MODEL)]
ObjectId: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_OBJECT_ID)]
_LOG_ID: Final = "^[!-~]+$"
_MAX_LOG_ID: Final = 64
LogId: TypeAlias = Annotated[str, msgspec.Meta(max_length=_MAX_LOG_ID, pattern=_LOG_ID)]
DiffType: TypeAlias = Literal["create", "update", "delete"]
Fields: TypeAlias = Mapping[str, Any]


Key: TypeAlias = tuple[str, str]
"""Which object of a user: its model and its id."""


def is_log_id(name: str) -> bool:
    """Whether a history may be called so."""
    return len(name) <= _MAX_LOG_ID and re.fullmatch(_LOG_ID, name) is not None


# What is held by the hundred thousand is nothing to the garbage collector (`gc=False`): none of it
# can be part of a cycle, and a hub that goes through all of it stands still meanwhile.


class Place(msgspec.Struct, frozen=True, gc=False):
    """A clock of one history."""

    log_id: LogId
    logical_clock: Integer


class Was(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Which version of an object, in a history that ended, is given back (section 10).

    It was last changed there at `logical_clock`, and created at `created`. `via` is where that
    history left one that the hub carries on, if it does not know it itself. The hub adds `born`,
    the clock of its own history at which the object counts as created, and `kept`, the fields that
    were not the offer's to set.
    """

    log_id: LogId
    logical_clock: Integer
    created: Integer = 0
    via: Place | None = None
    born: Integer = 0
    kept: Sequence[str] = ()


class Diff(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One edit as its device made it: `logical_clock` is the base, the clock it had applied.

    Across a restore (section 10): `was` marks an offer, `seen` is the base of an edit that was made
    in another history.
    """

    id: DiffId
    logical_clock: Integer
    utc_timestamp: Integer
    type: DiffType
    model: ModelName
    json_data: dict[str, Any]
    was: Was | None = None
    seen: Place | None = None

    @property
    def key(self) -> Key:
        """The object that is edited."""
        return self.model, self.json_data["id"]


class StoredDiff(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One edit as the hub stored it and hands it out; the push's clock is its clock."""

    id: str
    utc_timestamp: int
    type: DiffType
    model: str
    json_data: dict[str, Any]
    was: Was | None = None
    seen: Place | None = None

    @property
    def key(self) -> Key:
        """The object that is edited."""
        return self.model, self.json_data["id"]


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """When a field was last set: at which clock, with which timestamp (ms), by which device."""

    clock: int
    timestamp: int
    device: str


class Refilled(msgspec.Struct, frozen=True, gc=False):
    """The version in another history that an object was refilled with, `at` a clock of ours."""

    log_id: str
    logical_clock: int
    created: int
    at: int

    @property
    def version(self) -> Was:
        """The version, as one says it who offers it."""
        return Was(self.log_id, self.logical_clock, self.created)

    def known_to(self, seen: Place | None) -> bool:
        """Whether somebody who had seen so much of that history knew this version."""
        if seen is None or seen.log_id != self.log_id:
            return False
        return self.logical_clock <= seen.logical_clock

    def began_after(self, seen: Place) -> bool:
        """Whether somebody who had seen so much of that history knew only an earlier life."""
        return seen.log_id == self.log_id and seen.logical_clock < self.created


class Object(msgspec.Struct, frozen=True, gc=False):
    """An object that is there, with a stamp for each field but `id`.

    `size` is never less than the bytes of its fields as compact JSON. `seen` is what the device
    that created it knew of a history that ended, if that was in it.
    """

    created: int
    clock: int
    fields: Fields
    stamps: Mapping[str, Stamp]
    size: int
    refilled: Refilled | None = None
    seen: Place | None = None


class Tombstone(msgspec.Struct, frozen=True, gc=False):
    """An object that was deleted: at which clock, with which timestamp (ms), by which device.

    `seen` is what the device knew of a history that ended, if it deleted the object in that.
    """

    clock: int
    timestamp: int
    device: str
    refilled: Refilled | None = None
    seen: Place | None = None


Held: TypeAlias = Object | Tombstone
"""What the hub holds of an object that it knows."""


def stamps_of(fields: Fields, stamp: Stamp) -> dict[str, Stamp]:
    """The stamps of fields that were all set at once."""
    stamps = dict.fromkeys(fields, stamp)
    stamps.pop("id", None)
    return stamps


def read_diff(value: object, max_depth: int = MAX_DEPTH) -> Diff:
    """Read any JSON value as a diff (section 3).

    Raises:
        InvalidDiff: says which part of it is not well formed.

    """
    try:
        diff = msgspec.convert(value, Diff)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise InvalidDiff(flaw(error)) from None
    for text in (diff.id, diff.model):
        if not text.isascii():
            _check_text(text)
    _check_object_id(diff.json_data.get("id"))
    _check_object(diff.json_data, max_depth)
    return diff


def name_of(value: object) -> str | None:
    """The id by which a diff, well formed or not, can be called; None: it has none."""
    name = value.get("id") if isinstance(value, dict) else None
    try:
        check_values(name)
        return msgspec.convert(name, DiffId)
    except (InvalidDiff, msgspec.ValidationError):
        return None


def check_values(value: object, depth: int = MAX_DEPTH) -> None:
    """Check that a value is I-JSON (RFC 7493), nested at most `depth` levels.

    Raises:
        InvalidDiff: says what in it another language could not hold.

    """
    check = _CHECKS.get(type(value))
    if check is None:
        raise InvalidDiff(f"{type(value).__name__} is not a JSON type")
    check(value, depth)


def _check_object_id(value: object) -> None:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_OBJECT_ID:
        raise InvalidDiff(f"json_data needs an id, a text of 1 to {MAX_OBJECT_ID} characters")


def _check_object(value: dict[Any, object], depth: int) -> None:
    for name in value:
        if type(name) is not str:
            raise InvalidDiff(f"a field is named by text, not by {type(name).__name__}")
        if not name.isascii():
            _check_text(name)
    _check_array(value.values(), depth)


def _check_array(values: Iterable[object], depth: int) -> None:
    if depth <= 0:
        raise InvalidDiff("json_data is nested too deep")
    for value in values:
        # Most values are these, and each saves two calls.
        if value is None or value is True or value is False:
            continue
        if type(value) is str and value.isascii():
            continue
        if type(value) is int and -MAX_INTEGER <= value <= MAX_INTEGER:
            continue
        check_values(value, depth - 1)


def _check_text(text: str, _depth: int = 0) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidDiff("text with half of a surrogate pair is not Unicode") from None


def _check_integer(number: int, _depth: int) -> None:
    if not -MAX_INTEGER <= number <= MAX_INTEGER:
        raise InvalidDiff("an integer is beyond 2^53 - 1; say it as text or as a float")


def _check_double(number: float, _depth: int) -> None:
    if not isfinite(number):
        raise InvalidDiff("a number is not finite")


def _sound(_value: object, _depth: int) -> None:
    """Null, true and false are always well formed."""


_CHECKS: Final[Mapping[type, Callable[[Any, int], None]]] = {
    str: _check_text,
    bool: _sound,
    NoneType: _sound,
    int: _check_integer,
    float: _check_double,
    dict: _check_object,
    list: _check_array,
}


def json_size(fields: Fields) -> int:
    """Bytes of these fields as compact JSON."""
    return len(orjson.dumps(fields))
