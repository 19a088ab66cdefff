"""The lock of one user: whoever holds it sees the user's log stand still."""

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType


class UserLock:
    """A fair lock that is handed from holder to waiter and never lies free between them.

    The writer, which serves all users, never waits for it: it takes the lock of a user that is
    free and passes over the others. `on_free` tells it that one it passed over is free again.
    """

    def __init__(self, on_free: Callable[[], None]) -> None:
        self._held = False
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._on_free = on_free

    @property
    def is_held(self) -> bool:
        """Whether somebody holds it."""
        return self._held

    def try_acquire(self) -> bool:
        """Take the lock if it is free."""
        if self._held:
            return False
        self._held = True
        return True

    def release(self) -> None:
        """Hand the lock to whoever has waited longest, or leave it free."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._held = False
        self._on_free()

    async def __aenter__(self) -> None:
        if self.try_acquire():
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                # It was handed over in the same moment: whoever is next must have it.
                self.release()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
