"""Bugs in sessions, users, the catch-up and the merge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from hub import catchup
from hub.catchup import CatchingUp
from hub.commit import Turn
from hub.frames import changes_frame
from hub.greeting import Place
from hub.http.polling import PollRefused
from hub.lock import UserLock
from hub.session import Session
from hub.store.interface import Cursor, Store, Stored
from hub.user import Receiver, User, Users
from protocol.messages import Half, Hello, Ping, Pong, Received, encode
from protocol.mobync import Request
from tests.simulation.mutants.mutant import Mutant, Patches


def comes_in_beside_the_lock() -> Patches:
    """It is level, lets go of the lock, and becomes live when its device has taken that."""
    finish = catchup._finish

    class Shy:
        def __init__(self, session: CatchingUp) -> None:
            self.__dict__["session"] = session

        def __getattr__(self, name: str) -> Any:
            return getattr(self.session, name)

        def __setattr__(self, name: str, value: Any) -> None:
            setattr(self.session, name, value)

        def become_live(self) -> None:
            """Not yet."""

    async def late(session: Any, user: User, store: Store) -> bool:
        done = await finish(Shy(session), user, store)
        if done:
            await session.link.drained()
            await asyncio.sleep(0.02)
            session.become_live()
        return done

    return {"hub.catchup._finish": late}


def no_fence() -> Patches:
    def enter(self: User, device: str, session: Receiver) -> Receiver | None:
        older = self.devices.get(device)
        self.devices[device] = session
        self.live.pop(device, None)
        return older

    return {"hub.user.User.enter": enter}


def older_socket_stays() -> Patches:
    def enter(self: Session, user: User) -> None:
        user.enter(self.device, self)

    return {"hub.session.Session._enter": enter}


def not_told_of_the_line() -> Patches:
    return {"hub.session.Session.stay_above": lambda _self, _line: None}


def half_way_to_the_log() -> Patches:
    due = catchup._objects_are_due

    async def switch(place: Place, *rest: Any) -> bool:
        return await due(Place(place.clock, None), *rest)

    return {"hub.catchup._objects_are_due": switch}


def ghosts_for_newcomers() -> Patches:
    """Tombstones are left out on each page, up to the head of its own moment."""

    async def send(session: Any, user: User, store: Store) -> None:
        place = session.place
        level = place.half.from_ if place.half else place.clock
        head = place.half.head if place.half else None
        cursor: Cursor | None = Cursor(place.clock)
        while cursor is not None and not session.is_closed:
            skip = user.head if level == 0 else 0
            page = await store.page(user.name, cursor, skip, catchup.PAGE_BYTES)
            head = page.head if head is None else head
            session.place = Place(page.clock, Half(level, head))
            catchup._send_page(session, page, head, 0)
            await session.link.drained()
            cursor = page.cursor
        session.place = Place(session.place.clock, None)

    return {"hub.catchup._send_objects": send}


def ready_without_push_id() -> Patches:
    ready = catchup._ready_frames

    def without(clock: int, _last: int, outcomes: Any) -> Iterator[bytes]:
        return ready(clock, 0, outcomes)

    return {"hub.catchup._ready_frames": without}


def outcomes_told_once() -> Patches:
    ready = catchup._ready_frames

    def without(clock: int, last: int, _outcomes: Any) -> Iterator[bytes]:
        return ready(clock, last, ())

    return {"hub.catchup._ready_frames": without}


def hello_counts_as_received() -> Patches:
    greet = Session._greet

    async def believe(self: Session, hello: Hello, grant: Any, user: User) -> None:
        clock = min(hello.logical_clock, user.head)
        self._services.store.received(user.name, hello.device, clock)
        await greet(self, hello, grant, user)

    return {"hub.session.Session._greet": believe}


def received_is_the_head() -> Patches:
    received = Session._received

    def believe(self: Session, _message: Received) -> None:
        received(self, Received(self._user.head))

    return {"hub.session.Session._received": believe}


def pong_overtakes() -> Patches:
    def answer(self: Session, ping: Ping) -> None:
        self._send(encode(Pong(self._services.now(), ping.nonce or "")))

    return {"hub.session.Session._answer": answer}


def pusher_vanishes() -> Patches:
    broadcast = User._broadcast

    def fail(self: User, pusher: Any, stored: Stored) -> None:
        if pusher in self.live.values() or not hasattr(pusher, "link"):
            broadcast(self, pusher, stored)

    return {"hub.user.User._broadcast": fail}


def one_failing_line_stops_the_rest() -> Patches:
    """Every twentieth broadcast ends behind its first receiver."""
    turns = iter(range(1, 10**9))

    def broadcast(self: User, pusher: Any, stored: Stored) -> None:
        for receiver in tuple(self.live.values()):
            if receiver is pusher:
                receiver.acknowledge(stored)
            else:
                receiver.hear(stored.clock, changes_frame(stored))
            if next(turns) % 20 == 0:
                return

    return {"hub.user.User._broadcast": broadcast}


def later_push_of_a_failed_one() -> Patches:
    return {"hub.user.User.forget": lambda _self, _pusher: None}


def acked_by_a_failed_store() -> Patches:
    """What the store refused is told as if it were stored, without its outcome."""

    def failed(self: Session, waiting: Any) -> None:
        self.settled(waiting, None)

    return {"hub.session.Session.failed": failed}


def lock_lost_in_a_cancel() -> Patches:
    """The lock is handed to one who has hung up while waiting for it."""

    def release(self: UserLock) -> None:
        if not self._waiters:
            self._held = False
            self._on_free()
            return
        waiter = self._waiters.popleft()
        if not waiter.done():
            waiter.set_result(None)

    return {"hub.lock.UserLock.release": release}


def head_loaded_beside_the_lock() -> Patches:
    """A user is forgotten though pushes of it are still being stored."""

    @asynccontextmanager
    async def visit(self: Users, name: str) -> AsyncIterator[User]:
        user = self._users.get(name)
        if user is None:
            user = self._users[name] = User(name, self._submit, self._retire)
        user.guests += 1
        try:
            await user.load(self._store)
            yield user
        finally:
            user.guests -= 1
            if not user.guests and self._users.get(name) is user:
                del self._users[name]

    return {"hub.user.Users.visit": visit}


def slow_device_without_bound() -> Patches:
    def hear(self: Session, _clock: int, frame: bytes) -> None:
        self.link.send(frame)

    return {"hub.session.Session.hear": hear}


def log_with_a_hole() -> Patches:
    def follow(_place: Place, rows: Sequence[Stored]) -> bool:
        return bool(rows)

    return {"hub.catchup._follow": follow}


def acked_before_handed_out_in_order() -> Patches:
    """A group is handed out in the reverse order."""

    def hand_out(turns: Sequence[Turn], stored: Sequence[Stored | None]) -> None:
        each = iter(stored)
        for turn in turns:
            results = [next(each) for _ in turn.run]
            for waiting, what in reversed(list(zip(turn.run, results, strict=True))):
                turn.user.hand_out(waiting, what)

    return {"hub.commit._hand_out": hand_out}


def half_way_from_a_level_is_at_the_head() -> Patches:
    def deletions(self: Place) -> int:
        return self.half.head if self.half else self.clock

    return {"hub.greeting.Place.deletions": property(deletions)}


def loses_to_itself() -> Patches:
    return {"protocol.merge._Bench.same_device": lambda _self, _device: False}


def nobody_begins_to_poll() -> Patches:
    """Found by this simulation: a client at clock 0, below any line, was told to begin anew."""

    def check(request: Request, user: User) -> None:
        if request.logical_clock > user.head or request.logical_clock < user.line:
            raise PollRefused(HTTPStatus.CONFLICT, "start again with clock 0 and no rows")

    return {"hub.http.polling._check_clock": check}


def pollers_not_told() -> Patches:
    """What a polling client pushes is stored, and handed out to nobody."""

    def broadcast(self: User, pusher: Any, stored: Stored) -> None:
        if hasattr(pusher, "link"):
            tell(self, pusher, stored)

    tell = User._broadcast
    return {"hub.user.User._broadcast": broadcast}


def _mutant(plant: Callable[[], Patches], harm: str) -> Mutant:
    return Mutant(plant.__name__, harm, plant)


HUB = (
    _mutant(
        comes_in_beside_the_lock,
        "A push that is stored just then is never heard of by the device that comes in.",
    ),
    _mutant(
        no_fence,
        "A push of the phone's old line is stored behind its new welcome, and it is sent, and may "
        "be shown, twice, or its ack goes to the dead line and leaves a hole (9).",
    ),
    _mutant(older_socket_stays, "Two lines of one phone are open, and both push."),
    _mutant(
        not_told_of_the_line,
        "A phone that is half through catching up keeps what others have deleted, for ever (5).",
    ),
    _mutant(half_way_to_the_log, "A phone whose line dropped keeps an old value for ever (1)."),
    _mutant(ghosts_for_newcomers, "A new phone shows what was deleted while it came in (13)."),
    _mutant(ready_without_push_id, "A slow phone shows its own edits as not yet stored (2)."),
    _mutant(outcomes_told_once, "An edit that lost disappears in silence (16)."),
    _mutant(hello_counts_as_received, "The same, if the line drops before `ready` (16)."),
    _mutant(received_is_the_head, "The same, and a phone's deletions are forgotten too early."),
    _mutant(pong_overtakes, "`synchronize` says that all is here, and it is not."),
    _mutant(pusher_vanishes, "A phone that hangs up behind its push leaves the others a hole (8)."),
    _mutant(one_failing_line_stops_the_rest, "A broken line leaves the others a hole (8)."),
    _mutant(
        later_push_of_a_failed_one,
        "The disk fails once, a later push is stored, and the earlier one counts as stored.",
    ),
    _mutant(acked_by_a_failed_store, "A push that failed is not sent again until the line drops."),
    _mutant(lock_lost_in_a_cancel, "A phone hangs up, and nobody of the user is served any more."),
    _mutant(head_loaded_beside_the_lock, "Two sets of devices of one user do not see each other."),
    _mutant(slow_device_without_bound, "One slow phone fills the hub's memory."),
    _mutant(log_with_a_hole, "The log is cut while a phone catches up, and it misses a push."),
    _mutant(acked_before_handed_out_in_order, "Clocks come in the wrong order."),
    _mutant(
        half_way_from_a_level_is_at_the_head,
        "A phone that was half-way keeps what was deleted while it was away.",
    ),
    _mutant(nobody_begins_to_poll, "A new polling client is refused for ever."),
    _mutant(pollers_not_told, "What a polling client edits leaves the others a hole."),
    _mutant(loses_to_itself, "Somebody types `xy`, and sees `x` (7)."),
)
