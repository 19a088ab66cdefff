"""The open loop: pushes leave on schedule, whether or not the server keeps up.

A server that stalls is then asked as often as before, and each push that had to wait counts with
the whole of its wait, from the moment it was due. (A closed loop would wait with the server and
measure one late push where a hundred users felt it: "coordinated omission".)
"""

import asyncio
import signal
import time
from collections.abc import Sequence
from typing import Final

from scripts.loading.devices import Writer

_SHORTEST_WAIT: Final = 0.000_25
"""Seconds between two looks at the schedule: waking up for every push would cost too much."""


class Pacer:
    """Sends `rate` pushes a second in all, the writers in turn.

    uvloop's timers count whole milliseconds, which would be the greater part of what is measured;
    the interval timer of the system does not.
    """

    def __init__(self, writers: Sequence[Writer], rate: float) -> None:
        self.late: list[int] = []  # ns after which each push really left
        self._writers = writers
        self._rate = rate
        self._pushes = 0
        self._start = 0
        self._done = asyncio.Event()

    async def run(self, seconds: float) -> None:
        """Keep the schedule for so long."""
        self._pushes = round(self._rate * seconds)
        self._start = time.perf_counter_ns()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGALRM, self._send_what_is_due)
        try:
            self._send_what_is_due()
            await self._done.wait()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            loop.remove_signal_handler(signal.SIGALRM)

    def _due(self) -> int:
        return self._start + int(len(self.late) / self._rate * 1e9)

    def _send_what_is_due(self) -> None:
        now = time.perf_counter_ns()
        while len(self.late) < self._pushes and (due := self._due()) <= now:
            self._writers[len(self.late) % len(self._writers)].push(due)
            self.late.append(now - due)
        if len(self.late) == self._pushes:
            self._done.set()
        else:
            wait = (self._due() - time.perf_counter_ns()) / 1e9
            signal.setitimer(signal.ITIMER_REAL, max(wait, _SHORTEST_WAIT))
