"""Every frame, as a frozen type in one of two closed unions (docs/protocol.md, sections 2 to 8).

`type` is always the first key of a frame and names the message. What is spliced and never parsed
on its way through the hub (`msgspec.Raw`) is the JSON that `encode_diffs` made when it was stored.
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, Raw, UnsetType

from protocol.diffs import DeviceName, Fields, Integer, Place, StoredDiff, Was
from protocol.errors import BadMessage, flaw

SUBPROTOCOL: Final = "mobync.v1"
PATH: Final = "/sync"
POLLING_DEVICE: Final = "mobync"
"""The device in whose name polling clients push (section 9)."""
HUB_DEVICE: Final = "mobync-hub"
"""The device of what the hub's operator brings back."""
TAKEN_DEVICES: Final = (POLLING_DEVICE, HUB_DEVICE)
"""Those whose names no socket may take."""

MOST_DIGITS: Final = 4000
"""Of an integer that is read as one: below what Python takes from a text, above any double."""

MOST_EARLIER: Final = 8
"""Epochs that a device names beside the last, so that the hub knows one of them."""

PushId: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
EpochName: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class _Frame(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower):
    pass


class _SparseFrame(_Frame, frozen=True, tag=str.lower, omit_defaults=True):
    """A frame that leaves out what does not apply."""


class Half(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a device is in the middle of a snapshot (section 6).

    `seen` is said in a `hello`: the newest clock that it has seen, of an object on a page that
    ended in the middle of a push, too. A device that does not say it is not checked for that.
    """

    from_: Integer = msgspec.field(name="from")
    head: Integer
    seen: Integer = 0


# Device -> hub


class Hello(_Frame, frozen=True, kw_only=True):
    """The first frame: who I am, how far I am, and by which of the hub's starts I know that.

    Without a `token` it is a message, and unauthorized (section 8). `epoch` is that of the last
    `welcome`, `earlier` those before it, newest first.
    """

    token: str = ""
    device: DeviceName
    logical_clock: Integer
    log_id: str | None = None
    half: Half | None = None
    epoch: EpochName | None = None
    earlier: Annotated[tuple[EpochName, ...], msgspec.Meta(max_length=MOST_EARLIER)] = ()

    def __repr__(self) -> str:
        return f"Hello({self.device!r} at {self.logical_clock}, with a token)"


class Push(_SparseFrame, frozen=True):
    """Edits to be decided and stored together; each is read on its own (section 4)."""

    push_id: PushId
    diffs: Annotated[Sequence[Any], msgspec.Meta(min_length=1)]
    again: bool = False


class Auth(_Frame, frozen=True):
    """A fresh token for the same user."""

    token: str = ""

    def __repr__(self) -> str:
        return "Auth(with a token)"


class Received(_Frame, frozen=True):
    """Everything up to this clock is safe on the device."""

    logical_clock: Integer


class Ping(_SparseFrame, frozen=True):
    """Are you there? For clients that cannot see WebSocket pings."""

    nonce: str | None = None


FromDevice: TypeAlias = Hello | Push | Auth | Received | Ping


# Hub -> device


class Lost(msgspec.Struct, frozen=True):
    """Fields of the diff at `index` that lost, each with the clock of the push that won."""

    index: int
    id: str
    fields: dict[str, int]


class Rejected(msgspec.Struct, frozen=True):
    """The diff at `index` was refused; `id` is null if it had none that could be read."""

    index: int
    id: str | None
    code: str
    message: str


class PushOutcome(msgspec.Struct, frozen=True):
    """What an earlier push of this device lost (section 5)."""

    push_id: int
    lost: tuple[Lost, ...] = ()
    rejected: tuple[Rejected, ...] = ()


class SnapshotObject(msgspec.Struct, frozen=True, omit_defaults=True):
    """An object as it stands (`json_data`), or that it is deleted (`id`, `deleted`).

    `utc_timestamp` (ms) is that of its last change, `created` the clock at which it was made. `was`
    is the version of an earlier history that it still is.
    """

    model: str
    logical_clock: int
    json_data: Raw | UnsetType = UNSET
    id: str | UnsetType = UNSET
    deleted: bool = False
    utc_timestamp: int = 0
    created: int = 0
    was: Was | None = None


class Welcome(_SparseFrame, frozen=True):
    """The hub knows the device; what it misses follows.

    `epoch` names this start of the hub. `continues`: the histories that `log_id` carries on, each
    up to a clock; `refill`: whether the device is to give back what it held of them beyond that
    (section 10).
    """

    user: str
    device: str
    log_id: str
    logical_clock: int
    last_push_id: int
    reset: bool
    server_time: int
    expires: int | None
    limits: dict[str, int]
    epoch: EpochName | None = None
    continues: tuple[Place, ...] = ()
    refill: bool = True


class Changes(_Frame, frozen=True):
    """One stored push of another device; `diffs` is a list of `StoredDiff`."""

    logical_clock: int
    device: str
    diffs: Raw


class Ack(_SparseFrame, frozen=True):
    """The device's own push is stored; `diffs`, where there, is what remained of it."""

    push_id: int
    logical_clock: int
    diffs: Raw | UnsetType = UNSET
    lost: tuple[Lost, ...] = ()
    rejected: tuple[Rejected, ...] = ()


class Snapshot(_Frame, frozen=True):
    """A page of objects in the order of their last change (section 6)."""

    logical_clock: int
    objects: Sequence[SnapshotObject]
    head: int
    remaining: int


class Ready(_SparseFrame, frozen=True):
    """Caught up; what follows is live.

    Unless there is `more`: then further outcomes follow at once, in another `ready`.
    """

    logical_clock: int
    last_push_id: int
    outcomes: tuple[PushOutcome, ...] = ()
    more: bool = False


class Authenticated(_Frame, frozen=True):
    """The fresh token is good until `expires` (ms, or null)."""

    expires: int | None


class Pong(msgspec.Struct, frozen=True, tag_field="type", tag="pong"):
    """I am here."""

    server_time: int
    nonce: str | UnsetType = UNSET


class Error(_SparseFrame, frozen=True):
    """Why the hub closes: always its last frame."""

    code: str
    message: str
    push_id: int | None = None


FromHub: TypeAlias = Welcome | Changes | Ack | Snapshot | Ready | Authenticated | Pong | Error


class _AboutPush(msgspec.Struct, tag_field="type", tag="push"):
    push_id: PushId


_from_device: Final[msgspec.json.Decoder[FromDevice]] = msgspec.json.Decoder(FromDevice)
_from_hub: Final[msgspec.json.Decoder[FromHub]] = msgspec.json.Decoder(FromHub)
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
_stored_diffs: Final = msgspec.json.Decoder(tuple[StoredDiff, ...])
_fields: Final = msgspec.json.Decoder(dict[str, Any])
_encoder: Final = msgspec.json.Encoder()


def encode(message: FromDevice | FromHub) -> bytes:
    """A message as the bytes of its text frame."""
    return _encoder.encode(message)


def decode_from_device(frame: str | bytes) -> FromDevice:
    """What a device says.

    Raises:
        BadMessage: not JSON, an unknown type, a missing or ill-typed field.

    """
    try:
        return _from_device.decode(frame)
    except _UNREADABLE as error:
        return _decode_loosely(frame, _reason(error))


def decode_from_hub(frame: str | bytes) -> FromHub:
    """What the hub says.

    Raises:
        BadMessage: not JSON, an unknown type, a missing or ill-typed field.

    """
    try:
        return _from_hub.decode(frame)
    except _UNREADABLE as error:
        raise BadMessage(_reason(error)) from None


def encode_diffs(diffs: Sequence[StoredDiff]) -> bytes:
    """Stored diffs as the JSON that is kept in the log and goes out again and again."""
    return _encoder.encode(diffs)


def decode_diffs(diffs: Raw) -> tuple[StoredDiff, ...]:
    """The stored diffs of a `changes` or an `ack`.

    Raises:
        BadMessage: they are not what `encode_diffs` makes.

    """
    try:
        stored = _stored_diffs.decode(diffs)
    except _UNREADABLE as error:
        raise BadMessage(_reason(error)) from None
    for diff in stored:
        _check_id(diff.json_data)
    return stored


def decode_fields(json_data: Raw) -> dict[str, Any]:
    """The fields of an object in a `snapshot`.

    Raises:
        BadMessage: they are no JSON object with an `id`.

    """
    try:
        fields = _fields.decode(json_data)
    except _UNREADABLE as error:
        raise BadMessage(_reason(error)) from None
    _check_id(fields)
    return fields


def _check_id(fields: Fields) -> None:
    if not isinstance(fields.get("id"), str):
        raise BadMessage("an object without an id")


def _reason(error: Exception) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else flaw(error)


def _decode_loosely(frame: str | bytes, reason: str) -> FromDevice:
    r"""Read what is JSON but not I-JSON, as "\ud800" or 1e400 are.

    In a diff it makes that diff invalid and no other (section 4); in an unknown field it is
    ignored; in a known one it is ill-typed.
    """
    value = any_json(frame)
    try:
        message: FromDevice = msgspec.convert(value, FromDevice)
        if not isinstance(message, Push):
            _encoder.encode(message)
    except _UNREADABLE:
        raise BadMessage(reason, _push_id_of(value)) from None
    return message


def any_json(frame: str | bytes) -> object:
    """Any JSON, I-JSON or not, as Python values; None where it is no JSON."""
    try:
        text = frame if isinstance(frame, str) else frame.decode()
        return json.loads(text, parse_constant=_refuse_constant, parse_int=_integer)
    except _UNREADABLE:
        return None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int | float:
    """Python takes no integer of thousands of digits from a text; as a double it is infinite."""
    return int(digits) if len(digits) < MOST_DIGITS else float(digits)


def _push_id_of(value: object) -> int | None:
    try:
        return msgspec.convert(value, _AboutPush).push_id
    except _UNREADABLE:
        return None
