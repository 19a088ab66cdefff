"""How fast a connection may go: what its frames are paid from, and when it may go on."""

import asyncio
from collections.abc import Callable

from hub.counts import Counts
from hub.rates import Bucket, pay


class Pace:
    """The buckets of one connection; it is `slowed` while one of them is below nothing."""

    __slots__ = ("_buckets", "_counts", "_due", "_patience")

    def __init__(self, patience: float, bucket: Bucket | None, counts: Counts) -> None:
        self._patience = patience
        self._buckets = (bucket,) if bucket is not None else ()
        self._counts = counts
        self._due: asyncio.TimerHandle | None = None

    @property
    def is_slowed(self) -> bool:
        """Whether no more should be read for now."""
        return self._due is not None

    def pay_from(self, bucket: Bucket | None) -> None:
        """Frames are paid from this bucket, too; None: there is no such rate."""
        if bucket is not None:
            self._buckets = (*self._buckets, bucket)

    def pay(self, tokens: int, on_due: Callable[[], None]) -> bool:
        """Pay for a frame; False: it would have to wait for too long.

        Above a rate `on_due` is called when it may go on. It is not kept beyond that, so that
        nothing here holds on to a connection that is gone.
        """
        if not self._buckets:
            return True
        loop = asyncio.get_running_loop()
        wait = pay(self._buckets, tokens, loop.time())
        if wait > self._patience:
            return False
        if wait:
            self._counts.slowed += self._due is None
            self.stop()
            self._due = loop.call_later(wait, self._go_on, on_due)
        return True

    def stop(self) -> None:
        """The connection ends: nobody has to be told any more."""
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _go_on(self, on_due: Callable[[], None]) -> None:
        self._due = None
        on_due()
