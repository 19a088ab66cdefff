"""Bringing a device level (docs/protocol.md, section 6, step 2), without holding anybody up.

From the log when it misses few pushes, from the objects otherwise, page by page, each page only
after the device has taken the one before it. The last step is taken under the user's lock, so
that between the last push from the log and the first live one there is none.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

import msgspec

from hub.counts import Way
from hub.frames import changes_frame
from hub.greeting import Place
from hub.limits import Limits
from hub.link import Link
from hub.store.interface import Cursor, Page, Store, Stored
from hub.user import User
from protocol.messages import Half, PushOutcome, Ready, Snapshot, encode

PAGE_BYTES: Final = 64 * 1024
"""What goes out at once; the page that is read next waits until the device has taken it."""
LAST_STEP: Final = 64
"""Pushes that may be sent under the lock."""


class CatchingUp(Protocol):
    """The session that is brought level."""

    device: str
    place: Place
    link: Link

    @property
    def is_closed(self) -> bool:
        """Whether there is nobody left to bring level."""

    def told(self, push_id: int) -> bool:
        """Whether this connection has sent an ack with this push's outcome."""

    def ack_of(self, stored: Stored) -> bytes:
        """The frame of the device's own push, which is about to be sent."""

    def become_live(self) -> None:
        """From here on the user hands each push to the session."""


async def catch_up(
    session: CatchingUp, user: User, store: Store, limits: Limits, began: Callable[[Way], None]
) -> None:
    """Bring a device level, however far it is and however slowly it reads.

    `began` is told by which way, once that is known.
    """
    is_begun = False
    while not session.is_closed:
        await session.link.drained()
        by_objects = await _objects_are_due(session.place, user, store, limits)
        if not is_begun:
            is_begun = True
            began(_way(session.place, user, by_objects=by_objects))
        if by_objects:
            await _send_objects(session, user, store)
        await _send_log(session, user, store, limits)
        if await _finish(session, user, store):
            return


async def _objects_are_due(place: Place, user: User, store: Store, limits: Limits) -> bool:
    missing = user.head - place.clock
    if place.half is not None:
        return True
    if missing == 0:
        return False
    far = place.clock == 0 or missing > limits.max_log_pushes
    return far or place.clock + 1 < await store.first_clock(user.name)


def _way(place: Place, user: User, *, by_objects: bool) -> Way:
    if by_objects:
        return "objects"
    return "log" if place.clock < user.head else "level"


async def _send_objects(session: CatchingUp, user: User, store: Store) -> None:
    """Send every object changed since, once and whole; deletions only to whom they may concern.

    A newcomer need not hear of what was deleted before its paging began, but of what is deleted
    while it lasts (story 13).
    """
    place = session.place
    level = place.half.from_ if place.half else place.clock
    newcomer = place.clock == 0 and place.half is None
    head = place.half.head if place.half else None
    remaining = await store.count(user.name, place.clock)
    cursor: Cursor | None = Cursor(place.clock)
    skip = user.head if newcomer else 0
    while cursor is not None and not session.is_closed:
        page = await store.page(user.name, cursor, skip, PAGE_BYTES)
        if head is None:
            head = page.head
            skip = head if newcomer else 0
        remaining = max(remaining - len(page.objects), 0) if page.cursor else 0
        session.place = Place(page.clock, Half(level, head))
        _send_page(session, page, head, remaining)
        await session.link.drained()
        cursor = page.cursor
    session.place = Place(session.place.clock, None)


def _send_page(session: CatchingUp, page: Page, head: int, remaining: int) -> None:
    session.link.send(encode(Snapshot(page.clock, page.objects, head, remaining)))


async def _send_log(session: CatchingUp, user: User, store: Store, limits: Limits) -> None:
    """Send from the log until little is missing, unless the user runs away from the device."""
    most = max(limits.max_log_pushes, user.head - session.place.clock)
    while LAST_STEP < user.head - session.place.clock <= most and not session.is_closed:
        rows = await store.log(user.name, session.place.clock, PAGE_BYTES)
        if not _follow(session.place, rows):
            return
        _send_rows(session, rows)
        await session.link.drained()


def _follow(place: Place, rows: Sequence[Stored]) -> bool:
    """Whether a device can be told these next; not if the log has meanwhile lost what it lacks."""
    return bool(rows) and rows[0].clock == place.clock + 1


def _send_rows(session: CatchingUp, rows: Sequence[Stored]) -> None:
    """Send a page at once: to write each frame by itself takes as long as to read it."""
    session.link.send_all([_frame_of(stored, session) for stored in rows])
    session.place = Place(rows[-1].clock, None)


def _frame_of(stored: Stored, session: CatchingUp) -> bytes:
    is_own = stored.device == session.device
    return session.ack_of(stored) if is_own else changes_frame(stored)


async def _finish(session: CatchingUp, user: User, store: Store) -> bool:
    """Take the last step under the lock; False if it would be more than a page."""
    async with user.lock:
        if session.is_closed or user.head - session.place.clock > LAST_STEP:
            return False
        if session.place.clock < user.head:
            rows = await store.log(user.name, session.place.clock, PAGE_BYTES)
            if _follow(session.place, rows):
                _send_rows(session, rows)
        if session.place.clock < user.head:
            return False
        standing = await store.device(user.name, session.device)
        untold = [o for o in standing.outcomes if not session.told(o.push_id)]
        for frame in _ready_frames(user.head, standing.last_push_id, untold):
            session.link.send(frame)
        session.become_live()
    return True


def _ready_frames(
    clock: int, last_push_id: int, outcomes: Sequence[PushOutcome]
) -> Iterator[bytes]:
    """As many `ready` as the outcomes need.

    A device takes every push up to `last_push_id` for settled: so each of these but the last
    names the last push whose outcome has been told, and says that there are more.
    """
    *parts, last = _parts(outcomes)
    for part in parts:
        yield encode(Ready(clock, part[-1].push_id, part, more=True))
    yield encode(Ready(clock, last_push_id, last))


def _parts(outcomes: Iterable[PushOutcome]) -> Iterator[tuple[PushOutcome, ...]]:
    """Outcomes in runs that keep a frame small; at least one run, which may be empty."""
    part: list[PushOutcome] = []
    size = 0
    for outcome in outcomes:
        bytes_of_outcome = len(msgspec.json.encode(outcome))
        if part and size + bytes_of_outcome > PAGE_BYTES:
            yield tuple(part)
            part, size = [], 0
        part.append(outcome)
        size += bytes_of_outcome
    yield tuple(part)
