"""A start that takes long: whoever runs the hub is asked for time, while something is being done.

A file of an older version is upgraded, and what a crash left is folded, before the hub serves; of a
large file that takes longer than a service is waited for. What is asked for is never more than some
seconds, and nothing where the process neither computes nor reads nor writes: it is stuck.
"""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from hub.endless import meanwhile
from hub.service.notifier import Notifier

LOOK_SECONDS: Final = 5.0
MORE_SECONDS: Final = 60.0
"""How much longer it may take from each look on."""
IDLE_SHARE: Final = 0.02
"""Of a core: what looking itself costs, with plenty to spare."""


class Work(NamedTuple):
    """What the process has done since it began: seconds of computing, blocks read and written."""

    seconds: float
    blocks: int

    def is_more_than(self, before: "Work", seconds: float) -> bool:
        """Whether it is, by more than nothing in these seconds."""
        computed = self.seconds - before.seconds
        return computed > seconds * IDLE_SHARE or self.blocks != before.blocks


def work_done() -> Work:
    """Of all threads of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Work(used.ru_utime + used.ru_stime, used.ru_inblock + used.ru_oublock)


@asynccontextmanager
async def asking_for_time(notifier: Notifier) -> AsyncIterator[None]:
    """Ask for time, as long as this lasts and something is done."""
    if not notifier.is_wanted:
        yield
        return
    async with meanwhile(_ask(notifier), "asking for time"):
        yield


async def _ask(notifier: Notifier) -> None:
    before = work_done()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now = work_done()
        if now.is_more_than(before, LOOK_SECONDS):
            status = "Starting: the file is brought up to date; see the log"
            notifier.wants_time(MORE_SECONDS, status)
        before = now
