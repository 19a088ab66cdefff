"""Edits before they are made: drafts, and batches of them."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from client.errors import BatchTooLarge
from client.values import copied
from protocol.diffs import MAX_DIFF_ID, MAX_INTEGER, DiffType, read_diff
from protocol.replica import FRAME_ROOM

MAX_DIFFS: Final = 1000
MAX_FRAME_BYTES: Final = 1024 * 1024
"""What a hub takes in one push unless its welcome says otherwise (section 2)."""


class Draft(NamedTuple):
    """What the application wants to be done to one object; `fields` are the device's own copy."""

    kind: DiffType
    model: str
    fields: dict[str, Any]


def draft(kind: DiffType, model: str, fields: Mapping[str, Any]) -> Draft:
    """Take over an edit from the application.

    Raises:
        InvalidDiff: its fields are not.

    """
    return Draft(kind, model, copied(fields))


class Batch:
    """Edits that are made when the block ends: all at once, at the state that is seen then.

    Each is checked when it is added, so that an edit which is not well formed raises where it is
    written, and then, as with anything that leaves the block by an error, none is made.
    """

    def __init__(self) -> None:
        self.drafts: list[Draft] = []
        self._bytes = FRAME_ROOM

    def create(self, model: str, fields: Mapping[str, Any]) -> None:
        """Create an object with all its fields, `id` among them."""
        self._add("create", model, fields)

    def update(self, model: str, fields: Mapping[str, Any]) -> None:
        """Set these fields of the object that `id` among them names."""
        self._add("update", model, fields)

    def delete(self, model: str, id: str) -> None:  # noqa: A002 - the protocol's word
        """Delete an object."""
        self._add("delete", model, {"id": id})

    def check_size(self, limits: Mapping[str, int]) -> None:
        """Check that all of it fits into one push, for only then can it be stored as one.

        Raises:
            BatchTooLarge: it does not.

        """
        most = limits.get("max_diffs", MAX_DIFFS)
        if len(self.drafts) > most:
            raise BatchTooLarge(
                f"{len(self.drafts)} edits in one batch, and the hub takes {most} at once: none was"
                " made. Make several batches of them"
            )
        room = limits.get("max_frame_bytes", MAX_FRAME_BYTES)
        if len(self.drafts) > 1 and self._bytes > room:
            raise BatchTooLarge(
                f"a batch of {self._bytes:,} bytes, and the hub takes {room:,} at once: none was"
                " made. Make several batches of it"
            )

    def _add(self, kind: DiffType, model: str, fields: Mapping[str, Any]) -> None:
        added = draft(kind, model, fields)
        self._bytes += _most_bytes(added)
        self.drafts.append(added)


def _most_bytes(added: Draft) -> int:
    """No less than the bytes of the diff in a frame; checks it on the way."""
    diff = read_diff(
        {
            "id": "0" * MAX_DIFF_ID,
            "logical_clock": MAX_INTEGER,
            "utc_timestamp": MAX_INTEGER,
            "type": added.kind,
            "model": added.model,
            "json_data": added.fields,
        }
    )
    return len(msgspec.json.encode(diff)) + 1
