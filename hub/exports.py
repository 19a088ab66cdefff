"""The format of an export: JSON Lines, each of a `kind`, whole users one behind the other.

The first line is the `export`, with the version of the format, the last its `end`. A `user` is
followed by its devices, objects and deletions, by the outcomes that devices have yet to hear of,
and by its pushes; its own `end of user` counts them, so that nothing is taken that was cut off.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Raw

from hub.errors import HubError
from hub.names import MAX_USER
from protocol.diffs import (
    DeviceName,
    Integer,
    LogId,
    ModelName,
    ObjectId,
    Place,
    Refilled,
)

VERSION: Final = 1
Stamped: TypeAlias = tuple[Integer, Integer, str, tuple[str, ...]]
"""A clock, a timestamp and a device, and the fields that were last set so."""
Presence: TypeAlias = Literal["serves", "does not answer", "is stopped"]
"""What a hub was doing when a bundle of it was made."""


class NotAnExport(HubError):
    """The file is no export, or cut off, or of a newer version. Nothing of that user was taken."""


class _Line(msgspec.Struct, frozen=True, tag_field="kind", kw_only=True):
    """What all lines have: their kind."""


class Export(_Line, frozen=True, tag="export"):
    """The first line."""

    version: int
    exported_at: Integer


class Bundle(_Line, frozen=True, tag="bundle"):
    """What of a hub helps to understand an export of it that comes behind this line.

    `metrics` are lines of Prometheus' text, of a hub that `serves`; of another there are none.
    """

    made_at: Integer
    versions: Mapping[str, str]
    settings: Mapping[str, str]
    hub: Presence = "is stopped"
    metrics: tuple[str, ...] = ()


class User(_Line, frozen=True, tag="user"):
    """A user, at this clock."""

    name: Annotated[str, Meta(min_length=1, max_length=MAX_USER)]
    log_id: LogId
    clock: Integer
    line: Integer


class Device(_Line, frozen=True, tag="device"):
    """A device."""

    name: DeviceName
    last_push_id: Integer
    received: Integer
    seen: Integer


class Object(_Line, frozen=True, tag="object", omit_defaults=True):
    """An object: its fields and who set them when; `seen` and `refilled` are of restored hubs."""

    model: ModelName
    created: Integer
    clock: Integer
    fields: Mapping[str, Any]
    stamps: tuple[Stamped, ...]
    refilled: Refilled | None = None
    seen: Place | None = None


class Deletion(_Line, frozen=True, tag="deletion", omit_defaults=True):
    """An object that was deleted: when by its device's clock, and by the hub's."""

    model: ModelName
    id: ObjectId
    clock: Integer
    timestamp: Integer
    device: str
    deleted_at: Integer
    refilled: Refilled | None = None
    seen: Place | None = None


class Outcome(_Line, frozen=True, tag="outcome"):
    """What a push lost, or had rejected, of which its device has not said that it knows."""

    device: DeviceName
    clock: Integer
    push_id: Integer
    refused: Raw


class Push(_Line, frozen=True, tag="push", omit_defaults=True):
    """A push, as the log has it. It is for people: an import begins a new log."""

    clock: Integer
    device: str
    push_id: Integer
    stored_at: Integer
    diffs: Raw
    refused: Raw = Raw(b"null")


class EndOfUser(_Line, frozen=True, tag="end of user"):
    """All of a user is above."""

    devices: int
    objects: int
    deletions: int


class End(_Line, frozen=True, tag="end"):
    """All users are above."""

    users: int


Line: TypeAlias = (
    Export | Bundle | User | Device | Object | Deletion | Outcome | Push | EndOfUser | End
)
_decoder: Final = msgspec.json.Decoder(Line)


def encode_line(line: Line) -> bytes:
    """A line, with its end."""
    return msgspec.json.encode(line) + b"\n"


def read_line(text: bytes, number: int) -> Line:
    """Read the line of a number.

    Raises:
        NotAnExport: it is none.

    """
    try:
        line: Line = _decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        known = "; name a file that mobync-hub export has written" if number == 1 else ""
        raise NotAnExport(f"line {number} is none of an export: {error}{known}") from None
    if number == 1 and not isinstance(line, Export):
        raise NotAnExport("line 1 is not that of an export; is it another file?")
    if isinstance(line, Export) and line.version > VERSION:
        raise NotAnExport(
            f"the export has version {line.version}, and this hub knows versions up to {VERSION}: "
            "a newer mobync-hub made it, import it with that one"
        )
    return line
