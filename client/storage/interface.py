"""What a device asks of the place where it keeps its data.

tests/client/storage holds the contract as a suite that every storage must pass.
"""

from typing import Protocol

import msgspec

from protocol.records import Saved, Writes


class Identity(msgspec.Struct, frozen=True):
    """Whose data this is: the device's name, chosen once, and the user, known from the hub."""

    device: str | None = None
    user: str | None = None


class Kept(msgspec.Struct, frozen=True):
    """All that a storage holds."""

    identity: Identity = Identity()
    saved: Saved = Saved()


class Storage(Protocol):
    """One device's data. Only one call at a time is under way, from open to close.

    Every method raises `StorageFailed` if the machine does not do what was asked. After that only
    `close` is called.
    """

    async def open(self) -> None:
        """Take hold of the data; nobody else can, until `close` or the end of this process.

        Raises:
            StorageInUse: somebody else holds it.
            StorageTooNew: a newer version wrote it; nothing has been changed.
            StorageForeign: it is not a device's data; nothing has been changed.

        """

    async def load(self) -> Kept:
        """Read all of it, each sequence in the order of its numbers; nothing yet: `Kept()`."""

    async def sign(self, identity: Identity) -> None:
        """Note whose data this is."""

    async def save(self, writes: Writes) -> None:
        """Store all of it or nothing. When this returns, a `kill -9` no longer undoes it."""

    async def close(self) -> None:
        """Let go. Called once after each `open` that succeeded, also after a failure."""
