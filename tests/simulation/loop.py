"""An event loop on which a whole world runs: one step at a time, under a clock that jumps.

Every callback belongs to a *party* (a hub, a device, the network), which its context names. Within
a party asyncio's own order holds; between parties, which are other processes in life, chance
decides who goes next. Time passes only when nobody has anything to do. A party can be killed: not
one step of it runs after that, no `finally` and no `except`.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from random import Random

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PARTY: ContextVar[str] = ContextVar("party", default="fate")
MOST_STEPS = 2_000_000
"""Steps after which the world is taken to be running in circles."""


class Restless(AssertionError):
    """The world goes on and on, or waits for what never comes."""


class _Counted(asyncio.Future[Any]):
    """A future whose place in a set does not hang on where it lies in memory."""

    def __init__(self, serial: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._serial = serial

    def __hash__(self) -> int:
        return self._serial


class _CountedTask(asyncio.Task[Any]):
    """The same for a task: a TaskGroup cancels its tasks in the order of a set."""

    def __init__(self, serial: int, party: str, *args: Any, **kwargs: Any) -> None:
        self._serial = serial
        self.party = party
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._serial


class SeededLoop(asyncio.BaseEventLoop):
    """`on_step` is told the party of each step; `troubles` is what asyncio found unhandled."""

    def __init__(self, chance: Random, on_step: Callable[[str, float], None]) -> None:
        super().__init__()
        self.troubles: list[BaseException] = []
        self.steps = 0
        self._chance = chance
        self._on_step = on_step
        self._now = 0.0
        self._serials = itertools.count()
        self._lines: dict[str, deque[asyncio.Handle]] = {}
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._dead: set[str] = set()
        self._graves: list[_CountedTask] = []
        self._limbo: list[asyncio.Handle] = []
        self._tasks: dict[_CountedTask, None] = {}
        self._alarms: dict[str, tuple[int, Callable[[], None]]] = {}
        self.set_exception_handler(self._on_trouble)
        self.set_task_factory(self._counted_task)  # type: ignore[arg-type]

    def _on_trouble(self, _loop: object, context: dict[str, Any]) -> None:
        self.troubles.append(context.get("exception") or AssertionError(context["message"]))

    # What asyncio asks of a loop

    def time(self) -> float:
        return self._now

    def create_future(self) -> asyncio.Future[Any]:
        return _Counted(next(self._serials), self)

    def _counted_task(
        self, _loop: object, work: Coroutine[Any, Any, T], **options: Any
    ) -> asyncio.Task[T]:
        context = options.pop("context", None)
        context = copy_context() if context is None else context
        party = context.get(PARTY, "fate")
        serial = next(self._serials)
        task = _CountedTask(serial, party, work, loop=self, context=context, **options)
        self._tasks[task] = None
        return task

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        context = copy_context() if context is None else context
        handle = asyncio.Handle(callback, args, self, context)
        self._put_in_line(handle, context.get(PARTY, "fate"))
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        context = copy_context() if context is None else context
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._serials), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time has come."""

    def _process_events(self, _events: object) -> None:
        """There are none: nothing comes from outside."""

    def _run_once(self) -> None:
        while not self._lines:
            self._pass_time()
        names = list(self._lines)
        name = names[int(self._chance.random() * len(names))] if len(names) > 1 else names[0]
        line = self._lines[name]
        handle = line.popleft()
        if not line:
            del self._lines[name]
        if not handle.cancelled():
            self._step(name, handle)

    # Time and steps

    def _put_in_line(self, handle: asyncio.Handle, party: str) -> None:
        if party in self._dead:
            self._limbo.append(handle)
        else:
            self._lines.setdefault(party, deque()).append(handle)

    def _pass_time(self) -> None:
        if not self._timers:
            raise Restless("everybody waits for what never comes")
        when, _, timer = heapq.heappop(self._timers)
        if timer.cancelled():
            return
        self._now = max(self._now, when)
        context: Context = timer._context  # type: ignore[attr-defined]
        self._put_in_line(timer, context.get(PARTY, "fate"))

    def _step(self, party: str, handle: asyncio.Handle) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Restless(f"still moving after {MOST_STEPS} steps")
        self._on_step(party, self._now)
        handle._run()
        if party in self._alarms:
            self._count_down(party)

    def _count_down(self, party: str) -> None:
        left, alarm = self._alarms.pop(party)
        if left > 1:
            self._alarms[party] = left - 1, alarm
        else:
            alarm()

    # Parties

    def start(self, party: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin a task of a party; all that it begins is the party's, too."""
        context = copy_context()
        context.run(PARTY.set, party)
        return self.create_task(work, context=context)

    def context_of(self, party: str) -> Context:
        """A context for callbacks of a party."""
        context = copy_context()
        context.run(PARTY.set, party)
        return context

    def after_steps(self, party: str, steps: int, alarm: Callable[[], None]) -> None:
        """Call `alarm` between two steps, when the party has made so many."""
        self._alarms[party] = steps, alarm

    def forget_alarms(self) -> None:
        """What was to happen after so many steps will not."""
        self._alarms.clear()

    def kill(self, party: str) -> None:
        """Nothing of it runs any more; its tasks are kept, for to let go of one would run it."""
        self._dead.add(party)
        self._limbo.extend(self._lines.pop(party, ()))
        self._alarms.pop(party, None)
        for task in self.tasks_of(party):
            del self._tasks[task]
            self._graves.append(task)

    def tasks_of(self, party: str | None = None) -> list[_CountedTask]:
        """Tasks that are not done; None: of all parties that live."""
        self._tasks = {task: None for task in self._tasks if not task.done()}
        return [task for task in self._tasks if party in (None, task.party)]

    def bury(self) -> None:
        """The world is over: what was killed, or left by a failure, is taken down unheard."""
        self._on_step = _unheard
        self._dead.clear()
        self._graves += self.tasks_of()
        for handle in self._limbo:
            self._put_in_line(handle, "limbo")
        self.run_until_complete(self._take_down())
        self.run_until_complete(self.shutdown_asyncgens())

    async def _take_down(self) -> None:
        for _attempt in range(20):
            self._graves = [task for task in self._graves if not _is_over(task)]
            for task in self._graves:
                task.cancel()
            for _turn in range(20 if self._graves else 0):
                await asyncio.sleep(0)


def _is_over(task: asyncio.Task[Any]) -> bool:
    if task.done() and not task.cancelled():
        task.exception()
    return task.done()


def _unheard(_party: str, _now: float) -> None:
    """Nobody writes down what the dead do."""
