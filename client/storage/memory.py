"""Data that lives as long as the object: for tests, for scripts, for a browser-like session."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from client.errors import StorageInUse
from client.storage.interface import Identity, Kept
from protocol.records import CutPush, Edit, Known, Position, Saved, Setback, Writes

if TYPE_CHECKING:
    from protocol.diffs import Key

_Record = TypeVar("_Record")


class MemoryStorage:
    """A storage in memory. Give the same one to the next Device, and it goes on from there."""

    def __init__(self) -> None:
        self._held = False
        self._identity = Identity()
        self._position = Position()
        self._objects: dict[Key, Known] = {}
        self._edits: dict[int, Edit] = {}
        self._pushes: dict[int, CutPush] = {}
        self._setbacks: dict[int, Setback] = {}

    async def open(self) -> None:
        """Take hold of it; a second Device at the same time cannot."""
        if self._held:
            raise StorageInUse("this MemoryStorage is held by another Device: close that one first")
        self._held = True

    async def load(self) -> Kept:
        """All that was saved."""
        return Kept(
            self._identity,
            Saved(
                position=self._position,
                objects=dict(self._objects),
                edits=tuple(edit for _, edit in sorted(self._edits.items())),
                pushes=tuple(push for _, push in sorted(self._pushes.items())),
                setbacks=dict(sorted(self._setbacks.items())),
            ),
        )

    async def sign(self, identity: Identity) -> None:
        """Note whose data this is."""
        self._identity = identity

    async def save(self, writes: Writes) -> None:
        """Take over what has changed; there is nothing that could fail half-way."""
        self._position = writes.position
        if writes.forget:
            self._objects.clear()
        self._objects.update(writes.objects)
        _apply(self._edits, writes.edits)
        _apply(self._pushes, writes.pushes)
        _apply(self._setbacks, writes.setbacks)

    async def close(self) -> None:
        """Let go of it."""
        self._held = False


def _apply(held: dict[int, _Record], changes: Mapping[int, _Record | None]) -> None:
    for number, record in changes.items():
        if record is None:
            held.pop(number, None)
        else:
            held[number] = record
