"""Stores what the replica changes: one save at a time, and all that waits goes into the next.

Saving is a task of its own that nobody cancels: who gives up waiting for a save has not undone it.
"""

import asyncio

from client.errors import DeviceClosed, DeviceError, StorageFailed
from client.storage.interface import Identity, Storage
from protocol.records import Writes
from protocol.replica import Replica


class Journal:
    """The way from the replica to the storage; whose data it is may be changed in `identity`.

    Invariant: saves happen in the order of the changes, and each is whole: `position` is where the
    storage stands. After `failure` nothing is saved any more, for what follows would build on what
    is missing.
    """

    def __init__(self, replica: Replica, storage: Storage, signed: Identity) -> None:
        self.position = replica.position
        self.identity = signed
        self.failure: StorageFailed | None = None
        self._signed = signed
        self._replica = replica
        self._storage = storage
        self._waiting: list[asyncio.Future[None]] = []
        self._wanted = asyncio.Event()
        self._failed = asyncio.Event()
        self._ending = False

    async def stored(self) -> None:
        """Wait until all that the replica holds now is stored.

        Raises:
            StorageFailed: it is not.
            DeviceClosed: the journal has ended.

        """
        if self.failure is not None or self._ending:
            raise self._refusal()
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._wanted.set()
        await waiter

    async def raise_failure(self) -> None:
        """Wait for a failure, and raise it."""
        await self._failed.wait()
        raise self._refusal()

    def end(self) -> None:
        """Store what is left, then let `run` return."""
        self._ending = True
        self._wanted.set()

    async def run(self) -> None:
        """Save whenever somebody waits, until the end or the first failure."""
        try:
            while self.failure is None and not (self._ending and not self._wanted.is_set()):
                await self._wanted.wait()
                self._wanted.clear()
                await self._save_all()
        finally:
            self._ending = True
            self._answer(self._waiting)

    async def _save_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            await self._save(self._replica.take_writes())
        except Exception as error:  # noqa: BLE001 - a storage may be anybody's code
            self.failure = _said(error)
            self._failed.set()
            self._answer(waiting)
            return
        except BaseException:
            self._waiting = [*waiting, *self._waiting]
            raise
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def _save(self, writes: Writes) -> None:
        """Whose data it is comes first: what belongs to nobody would be the next user's."""
        if self.identity != self._signed:
            self._signed = self.identity
            await self._storage.sign(self.identity)
        if self._has_news(writes):
            await self._storage.save(writes)
            self.position = writes.position

    def _has_news(self, writes: Writes) -> bool:
        return bool(
            writes.position != self.position
            or writes.forget
            or writes.objects
            or writes.edits
            or writes.pushes
            or writes.setbacks
        )

    def _answer(self, waiting: list[asyncio.Future[None]]) -> None:
        """Tell those who wait that it was not stored."""
        for waiter in waiting:
            if not waiter.done():
                waiter.set_exception(self._refusal())

    def _refusal(self) -> DeviceError:
        if self.failure is not None:
            return StorageFailed(str(self.failure))
        return DeviceClosed("the device was closed before this was stored")


def _said(error: Exception) -> StorageFailed:
    if isinstance(error, StorageFailed):
        return error
    return StorageFailed(f"the storage failed with {type(error).__name__}: {error}")
