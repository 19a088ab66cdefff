"""One poll of a mobync client (docs/protocol.md, section 9): its push in, what it missed out.

Free of HTTP: a body comes in, an answer or a `PollRefused` goes out. What the client is told is
read under the user's lock, so that it is one state of the user, the one at the clock it is given.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple, ParamSpec, TypeVar

from msgspec import UnsetType
from structlog.contextvars import bind_contextvars

from hub.addresses import EXEMPT, Address
from hub.auth import Grant, KeysNotHad
from hub.errors import HubError
from hub.hub import Hub
from hub.rates import Bucket, pay
from hub.refusal import Refusal
from hub.store.errors import StoreFailed
from hub.store.interface import Cursor, Incoming, Store, Stored
from hub.user import User, Waiting
from protocol.diffs import Held, Key
from protocol.errors import BadMessage
from protocol.messages import POLLING_DEVICE, SnapshotObject, decode_fields
from protocol.mobync import (
    Edit,
    Heard,
    Request,
    View,
    answer,
    decode_request,
    edits_of,
    hear,
    hear_all,
)

P = ParamSpec("P")
T = TypeVar("T")

PAGE_BYTES: Final = 256 * 1024
"""What is read from the store at once, so that nobody waits long for a reader."""
PAGE_KEYS: Final = 500
"""Objects that are read at once, likewise."""
LONGEST_WAIT: Final = 20.0
"""Seconds that a request may be kept waiting above a rate: phones give up after 30."""
INLINE_BYTES: Final = 64 * 1024
"""JSON of this size is dealt with at once; more of it is left to a thread, for others wait."""


_STATUSES: Final = {
    "unauthorized": HTTPStatus.UNAUTHORIZED,
    "forbidden": HTTPStatus.FORBIDDEN,
    "server_busy": HTTPStatus.SERVICE_UNAVAILABLE,
}


class PollRefused(HubError):
    """The client's fault: nothing of its request was stored. `status` says what to do.

    `retry_after` has the seconds after which it may come again (RFC 6585, section 4).
    """

    def __init__(self, status: HTTPStatus, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class Poll(NamedTuple):
    """What became of a request, for the log, and the answer to it."""

    user: str
    clock: int
    pushed: int
    head: int
    body: bytes


async def poll(hub: Hub, body: bytes, address: Address = EXEMPT) -> Poll:
    """Store what a client pushes, and tell it what it missed.

    Raises:
        PollRefused: the request is malformed, unauthorized, or of another history.
        StoreFailed: the store failed; the client will come again.

    """
    request = await _decode(body)
    await _wait_for_turn(hub, (address.hellos,), 1)
    grant = await _admit(hub, request)
    bind_contextvars(user=grant.user, device=POLLING_DEVICE)
    edits = await _aside(len(body), edits_of, request, hub.limits.max_depth)
    hub.store.received(grant.user, POLLING_DEVICE, 0)
    async with hub.users.visit(grant.user) as user:
        _check_clock(request, user)
        await _wait_for_turn(hub, (address.frames, user.bucket), 1 + len(edits))
        if edits:
            await _push(hub, user, grant, edits, len(body))
        view = await _look(hub.store, user, request, edits)
    _check_bearer(hub, grant)  # once more, for it took its time
    size = sum(len(diff.json_data) for _clock, _key, diff in view.heard.diffs)
    text = await _aside(size, answer, request, edits, view)
    return Poll(user.name, request.logical_clock, len(edits), view.head, text)


async def _wait_for_turn(hub: Hub, buckets: Iterable[Bucket | None], tokens: int) -> None:
    """Above a rate the client is served more slowly; too far above, not at all for now."""
    known = [bucket for bucket in buckets if bucket is not None]
    wait = pay(known, tokens, asyncio.get_running_loop().time())
    if wait > min(LONGEST_WAIT, hub.rates.patience_seconds):
        message = "far above the rate of this user or address; try again later"
        raise PollRefused(HTTPStatus.TOO_MANY_REQUESTS, message, wait)
    await asyncio.sleep(wait)


async def _decode(body: bytes) -> Request:
    try:
        return await _aside(len(body), decode_request, body)
    except BadMessage as error:
        raise PollRefused(HTTPStatus.BAD_REQUEST, f"malformed: {error}") from None


async def _admit(hub: Hub, request: Request) -> Grant:
    try:
        return await hub.door.admit(request.auth_token, POLLING_DEVICE)
    except KeysNotHad as error:
        raise PollRefused(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None
    except Refusal as refusal:
        raise _in_http(refusal) from None


def _check_bearer(hub: Hub, grant: Grant) -> None:
    """Whether a polling client may use a token that is good."""
    try:
        hub.door.check_bearer(grant, POLLING_DEVICE)
    except Refusal as refusal:
        raise _in_http(refusal) from None


def _in_http(refusal: Refusal) -> PollRefused:
    words = str(refusal.reason.error)
    return PollRefused(_STATUSES[words], f"{words}: {refusal}")


def _check_clock(request: Request, user: User) -> None:
    """Refuse a client of another history: only a new start would make its rows right.

    Clock 0 is that start. It has nothing from the hub, and so no deletion is owed to it.
    """
    clock = request.logical_clock
    if clock > user.head:
        message = f"logical_clock is {clock}, above the hub's {user.head}"
    elif 0 < clock < user.line:
        message = f"logical_clock is {clock}, from before deletions that the hub has forgotten"
    else:
        return
    remedy = "start again with clock 0 and no rows"
    raise PollRefused(HTTPStatus.CONFLICT, f"{message}: {remedy}")


# The push


class _Poller:
    """Who brought a push of one request; whether it was stored is its future's result.

    Nobody may be waiting for that any more: the push is stored and handed out all the same.
    """

    device = POLLING_DEVICE

    def __init__(self, grant: Grant) -> None:
        self.grant: Grant | None = grant
        self.is_stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def settled(self, _waiting: Waiting, _stored: Stored | None, /) -> None:
        self._settle(is_stored=True)

    def failed(self, _waiting: Waiting, /) -> None:
        self._settle(is_stored=False)

    def _settle(self, *, is_stored: bool) -> None:
        if not self.is_stored.done():
            self.is_stored.set_result(is_stored)


async def _push(hub: Hub, user: User, grant: Grant, edits: Sequence[Edit], size: int) -> None:
    _check_bearer(hub, grant)  # from here on it is in the hub's own hand
    poller = _Poller(grant)
    diffs = [edit.value for edit in edits]
    incoming = Incoming(user.name, POLLING_DEVICE, 0, diffs, read_only=grant.read_only, polled=True)
    user.push(Waiting(incoming, poller, size))
    if not await poller.is_stored:
        _check_bearer(hub, grant)
        raise StoreFailed("the push was not stored")


# What was missed


async def _look(store: Store, user: User, request: Request, edits: Sequence[Edit]) -> View:
    """See what the client missed. All but the last of it is read while nobody waits."""
    clock = request.logical_clock
    rows = await _log(store, user, clock)
    async with user.lock:
        _check_clock(request, user)
        rows += await _log(store, user, rows[-1].clock if rows else clock)
        if len(rows) == user.head - clock:
            heard = await _aside(sum(len(row.diffs) for row in rows), hear, edits, rows)
        else:
            heard = hear_all(edits, rows, await _changed(store, user, clock))
        view = View(user.name, user.head, heard, await _held(store, user, heard))
    # Deletions may have been forgotten while they were looked for.
    _check_clock(request, user)
    return view


async def _log(store: Store, user: User, after: int) -> list[Stored]:
    """What the log holds behind a clock, up to the head of this moment."""
    rows: list[Stored] = []
    head = user.head
    while after < head:
        page = await store.log(user.name, after, PAGE_BYTES)
        if not page:
            break
        rows += page
        after = page[-1].clock
    return rows


async def _changed(store: Store, user: User, clock: int) -> list[Key]:
    """Objects changed behind a clock, as far as they are folded; a newcomer has none to delete."""
    keys: list[Key] = []
    skip_deleted = user.head if clock == 0 else 0
    cursor: Cursor | None = Cursor(clock)
    while cursor is not None:
        page = await store.page(user.name, cursor, skip_deleted, PAGE_BYTES)
        keys += map(_key_of, page.objects)
        cursor = page.cursor
    return keys


def _key_of(entry: SnapshotObject) -> Key:
    if isinstance(entry.id, str):
        return entry.model, entry.id
    assert not isinstance(entry.json_data, UnsetType), "an object has one or the other"  # noqa: S101
    return entry.model, decode_fields(entry.json_data)["id"]


async def _held(store: Store, user: User, heard: Heard) -> dict[Key, Held]:
    held: dict[Key, Held] = {}
    for keys in _pages(list(heard.whole)):
        held.update(await store.objects(user.name, keys))
    return held


def _pages(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    return (keys[start : start + PAGE_KEYS] for start in range(0, len(keys), PAGE_KEYS))


async def _aside(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do some work on so many bytes, on a thread if it would keep the others waiting."""
    if size <= INLINE_BYTES:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
