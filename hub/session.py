"""One connected device: its frames come in here, and what it is told goes out here.

The reading loop below is the session's own task, and the only other one is the catching-up, which
it owns. A live session has no task that sends: the user hands it what was stored.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import msgspec
import structlog
from structlog.contextvars import bind_contextvars

from hub.addresses import Address
from hub.auth import Grant, KeysNotHad, Now
from hub.catchup import catch_up
from hub.counts import Counts, Way
from hub.door import Door
from hub.endless import stop
from hub.frames import ack_frame
from hub.greeting import (
    Place,
    is_of_a_lost_line,
    lost_history,
    may_be_of_a_lost_branch,
    place_of,
    shared_with,
    welcome,
)
from hub.limits import Limits
from hub.link import Link
from hub.pace import Pace
from hub.refusal import Refusal
from hub.renewal import Renewal
from hub.revoking import TurnedAway
from hub.states import TRANSITIONS, Event, State
from hub.store.errors import StoreFailed
from hub.store.interface import DeviceStanding, Incoming, Store, Stored
from hub.user import STORE_FAILED, User, Users, Waiting
from protocol import closing
from protocol.closing import Closing
from protocol.errors import BadMessage
from protocol.messages import (
    TAKEN_DEVICES,
    Auth,
    Authenticated,
    Error,
    FromDevice,
    Hello,
    Ping,
    Pong,
    Push,
    Received,
    decode_from_device,
    encode,
)

CLOSE_SECONDS: Final = 5.0
"""How long a peer may take to answer a close."""
STRANGERS_CLOSE_SECONDS: Final = 2.0
"""The same, for one that never said hello: with `hello_seconds` it is gone in 15 s."""
LONGEST_REASON: Final = 120
"""Bytes of a close frame's reason (RFC 6455, section 5.5: 123 at most)."""

logger: Final = structlog.get_logger("session")


class Services(NamedTuple):
    """What every session is given."""

    store: Store
    users: Users
    door: Door
    limits: Limits
    patience: float
    """Seconds that a device may have to wait for above a rate; else it is turned away."""
    now: Now
    greeted: Callable[["Session"], None]
    """Told when a session has greeted its device."""
    counts: Counts


class Session:
    """One connection, from its first frame to its last.

    `is_closed`: it has ended, though its connection may not yet have. That, and whether it is live,
    follows from `state`, and is kept because it is asked at each push: to name a member of an enum
    costs as much as a call.
    """

    _user: User
    """Whose device it is; known once the session has greeted it."""

    def __init__(self, link: Link, services: Services, address: Address, number: int = 0) -> None:
        self.link = link
        self.address = address
        self.number = number
        self.state = State.GREETING
        self.is_closed = False
        self._is_live = False
        self.user_name = ""
        self.device = ""
        self.place = Place(0, None)
        self.grant: Grant | None = None
        self.closing_since: float | None = None
        self._services = services
        self._catching_up: asyncio.Task[None] | None = None
        self._renewal: Renewal | None = None
        self._held: list[Waiting] = []
        self._was_live = False
        self._late_pong: str | msgspec.UnsetType | None = None
        self._under_way = 0
        self._bytes_under_way = 0
        self._most_pushes = services.limits.max_pushes_under_way
        self._most_bytes = 2 * services.limits.max_frame_bytes
        self._is_paused = False
        self._pace = Pace(services.patience, address.frames, services.counts)
        self._told: dict[int, int] = {}

    # In

    async def run(self) -> None:
        """Serve the device until its connection is closed."""
        with self._ending():
            if not self.is_closed:
                hello, grant = await self._first_frame()
                async with self._services.users.visit(grant.user) as user:
                    await self._serve(hello, grant, user)
        await self.link.gone()

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """Whatever ends the session here, the device is told before anything is taken down."""
        try:
            yield
        except Refusal as refusal:
            self._refuse(refusal)
        except StoreFailed:
            self.end(closing.SERVER_BUSY, STORE_FAILED)
        finally:
            if not self.is_closed:
                logger.info("gone", **self.who)
            self._move(Event.CLOSED)

    async def _first_frame(self) -> tuple[Hello, Grant]:
        try:
            deadline = self.link.came + self._services.limits.hello_seconds
            async with asyncio.timeout_at(deadline):
                frame = await self.link.receive()
        except TimeoutError:
            raise Refusal(closing.TIMEOUT, "no hello in time") from None
        if frame is None:
            raise Refusal(closing.TIMEOUT, "gone before hello")
        hello = self._decode(frame)
        if not isinstance(hello, Hello):
            raise Refusal(closing.BAD_MESSAGE, "the first frame must be hello")
        await self._wait_for_turn()
        grant = await self._admit(hello)
        if hello.device in TAKEN_DEVICES:
            raise Refusal(closing.FORBIDDEN, f"the device name {hello.device} is taken")
        return hello, grant

    async def _wait_for_turn(self) -> None:
        """Before a token is looked at, which costs the hub more than to ask for it."""
        if self.address.hellos is None:
            return
        wait = self.address.hellos.spend(1, asyncio.get_running_loop().time())
        if wait > self._services.patience:
            raise Refusal(closing.TOO_MANY_REQUESTS, "too many hellos from this address")
        await asyncio.sleep(wait)

    async def _serve(self, hello: Hello, grant: Grant, user: User) -> None:
        self._user, self.user_name = user, user.name
        self.device, self.grant = hello.device, grant
        self._pace.pay_from(user.bucket)
        bind_contextvars(user=user.name, device=hello.device)
        try:
            with self._ending():
                # Once more, for it may have been revoked since; from here on it would be ended.
                self._services.door.check_bearer(grant, self.device)
                self._pay(1)
                await self._greet(hello, grant, user)
                await self.link.listen(self.take)
        finally:
            user.leave(self.device, self)
            if self._renewal is not None:
                await self._renewal.stop()
            await stop(self._catching_up)

    async def _greet(self, hello: Hello, grant: Grant, user: User) -> None:
        """Answer the hello. Under the lock nothing is stored: the older socket is fenced off."""
        services = self._services
        async with user.lock:
            standing = await services.store.device(user.name, self.device)
            self._check_others(standing)
            self._enter(user)
            self.note_seen()
            await self._meet_what_was_lost(hello, user)
            if self.is_closed:
                return
            place = place_of(hello, user)
            self.place = place or Place(0, None)
            answer = welcome(
                hello, user, standing, grant, services.limits, services.now(), reset=place is None
            )
            self._move(Event.WELCOMED)
            services.greeted(self)
            self._send(encode(answer))
        logger.info("hello", **self.who, clock=hello.logical_clock, address=self.link.address)
        self._start_catching_up(user, is_reset=place is None)

    async def _meet_what_was_lost(self, hello: Hello, user: User) -> None:
        """See whether the device is of a history that this file is a part of, without its end."""
        store = self._services.store
        if is_of_a_lost_line(hello, user):
            await self._fork(hello, user, shared_with(hello, user) or 0)
        elif (lost := lost_history(hello, user)) is not None:
            await user.take_up(store, lost)
        elif may_be_of_a_lost_branch(hello, user):
            await self._fork(hello, user, user.head)

    async def _fork(self, hello: Hello, user: User, clock: int) -> None:
        await user.fork(self._services.store, clock)
        logger.warning(
            "a device knows of more: this file was put back to an older copy", **self.who,
            seen=hello.logical_clock, shared=clock, log_id=user.history.log_id,
        )  # fmt: skip

    def _check_others(self, standing: DeviceStanding) -> None:
        most = self._services.limits.max_known_devices
        if standing.others >= most:
            raise Refusal(closing.FORBIDDEN, f"this user has {most} other devices, and may no more")

    def _enter(self, user: User) -> None:
        others = user.devices.keys() - {self.device}
        if len(others) >= self._services.limits.max_devices_per_user:
            raise Refusal(closing.SERVER_BUSY, "too many devices of this user are connected")
        older = user.enter(self.device, self)
        if older is not None:
            older.end(closing.REPLACED, "this device connected again")

    def take(self, frame: str | bytes) -> None:
        """Take a frame of the device, as it comes; those behind its end are nobody's."""
        if self.is_closed:
            return
        try:
            message = self._decode(frame)
            self._pay(len(message.diffs) if isinstance(message, Push) else 1)
            self._take(message, len(frame))
        except Refusal as refusal:
            self._refuse(refusal)
            return
        if self._is_crowded() or self._pace.is_slowed:
            self._is_paused = True
            self.link.pause()

    def _pay(self, tokens: int) -> None:
        """Pay for a frame; above a rate no more is read until it is paid for."""
        if not self._pace.pay(tokens, self._make_room):
            raise Refusal(closing.TOO_MANY_REQUESTS, "far above the rate of a user or an address")

    def _take(self, message: FromDevice, size: int) -> None:
        if isinstance(message, Push):  # nearly all are
            self._push(message, size)
            return
        match message:
            case Received():
                self._received(message)
            case Ping():
                self._answer(message)
            case Auth():
                self._renew(message.token)
            case Hello():
                raise Refusal(closing.BAD_MESSAGE, "a second hello")

    def _decode(self, frame: str | bytes) -> FromDevice:
        if isinstance(frame, bytes):
            raise Refusal(closing.BAD_MESSAGE, "binary frames are not spoken here")
        try:
            return decode_from_device(frame)
        except BadMessage as error:
            raise Refusal(closing.BAD_MESSAGE, str(error), error.push_id) from None

    async def _admit(self, hello: Hello) -> Grant:
        """Look at the token of a hello."""
        try:
            return await self._services.door.admit(hello.token, hello.device)
        except KeysNotHad as error:
            raise Refusal(closing.SERVER_BUSY, str(error)) from None

    def _push(self, push: Push, size: int) -> None:
        most = self._services.limits.max_diffs
        if len(push.diffs) > most:
            message = f"{len(push.diffs)} diffs in a push, {most} at most"
            raise Refusal(closing.BAD_MESSAGE, message, push.push_id)
        read_only = self.grant is not None and self.grant.read_only
        incoming = Incoming(
            self.user_name, self.device, push.push_id, push.diffs, push.again, read_only
        )
        waiting = Waiting(incoming, self, size)
        self._under_way += 1
        self._bytes_under_way += size
        if self._is_live:
            self._user.push(waiting)
        else:
            self._held.append(waiting)

    def _is_crowded(self) -> bool:
        """Whether too much is under way to read on: the peer feels it, the hub does not."""
        return self._under_way >= self._most_pushes or self._bytes_under_way >= self._most_bytes

    def _answer(self, ping: Ping) -> None:
        """Answer a ping behind all that was stored before it came.

        A device that was live and fell behind does not know that it is not live: to it, a pong
        says that it is level. So it has the answer when it is.
        """
        nonce = msgspec.UNSET if ping.nonce is None else ping.nonce
        if self._was_live and self.state is State.CATCHING_UP:
            self._late_pong = nonce
        else:
            self._send(encode(Pong(self._services.now(), nonce)))

    def _received(self, message: Received) -> None:
        clock = min(message.logical_clock, self._user.head)
        self._services.store.received(self.user_name, self.device, clock)
        self._told = {name: at for name, at in self._told.items() if at > clock}

    def _renew(self, token: object) -> None:
        """Look at a fresh token; what does that is a tenth of an idle device's memory."""
        if self._renewal is None:
            door = self._services.door
            self._renewal = Renewal(
                door, self.user_name, self.device, self._take_grant, self._refuse
            )
        self._renewal.renew(token)

    def _take_grant(self, grant: Grant) -> None:
        self.grant = grant
        self._send(encode(Authenticated(grant.expires)))

    # Out

    def hear(self, clock: int, frame: bytes) -> None:
        """Take the next clock, another device's push; only a live session is handed any."""
        self.link.send(frame)
        if self.link.is_full:
            self._fall_behind(clock)

    def acknowledge(self, stored: Stored) -> None:
        """Take the next clock, which is this device's own push."""
        self.link.send(self.ack_of(stored))
        if self.link.is_full:
            self._fall_behind(stored.clock)

    def ack_of(self, stored: Stored) -> bytes:
        """The frame of the device's own push, which is about to be sent."""
        if stored.lost or stored.rejected:
            self._told[stored.push_id] = stored.clock
        return ack_frame(stored)

    def told(self, push_id: int) -> bool:
        """Whether this connection has sent an ack with this push's outcome."""
        return push_id in self._told

    def settled(self, waiting: Waiting, _stored: Stored | None, /) -> None:
        """A push of this session is stored, or had been stored before."""
        self._under_way -= 1
        self._bytes_under_way -= waiting.size
        if self._is_paused:
            self._make_room()

    def failed(self, _waiting: Waiting, /) -> None:
        """A push of this session could not be stored; the device will send it again."""
        self.end(closing.SERVER_BUSY, STORE_FAILED)

    def _send(self, frame: bytes) -> None:
        if not self.is_closed:
            self.link.send(frame)

    def note_seen(self) -> None:
        """Let the store know that the device is here: what it needs is kept."""
        self._services.store.received(self.user_name, self.device, 0)

    def stay_above(self, line: int) -> None:
        """End, if deletions up to this clock are about to be forgotten and are yet to be told."""
        if self.state is State.CATCHING_UP and self.place.deletions < line:
            self.end(closing.SHUTTING_DOWN, "too far behind what was deleted; come back, and reset")

    # Catching up

    def become_live(self) -> None:
        """From here on the user hands each push to the session."""
        if self.is_closed:
            return
        self._move(Event.LEVEL)
        self._user.live[self.device] = self
        self._was_live = True
        if self._late_pong is not None:
            self._send(encode(Pong(self._services.now(), self._late_pong)))
            self._late_pong = None
        for waiting in self._held:
            self._user.push(waiting)
        self._held.clear()

    def _fall_behind(self, clock: int) -> None:
        """Over the buffer's cap the session goes back to catching up (section 6, step 4)."""
        self._services.counts.fell_behind += 1
        self.place = Place(clock, None)
        self._move(Event.FELL_BEHIND)
        self._start_catching_up(self._user, is_reset=False)

    def _start_catching_up(self, user: User, *, is_reset: bool) -> None:
        catching_up = self._catch_up(user, is_reset=is_reset)
        self._catching_up = asyncio.create_task(catching_up, name="catch-up")

    async def _catch_up(self, user: User, *, is_reset: bool) -> None:
        services = self._services

        def began(way: Way) -> None:
            services.counts.catch_ups["reset" if is_reset else way] += 1

        try:
            await catch_up(self, user, services.store, services.limits, began)
        except StoreFailed:
            self.end(closing.SERVER_BUSY, STORE_FAILED)
        except Exception:
            # A bug ends one connection; unseen, it would leave the device waiting for its pages.
            logger.exception("catch-up failed", user=user.name, device=self.device)
            self.end(closing.SERVER_BUSY, "the hub failed; this was logged")

    # The end

    def end(self, reason: Closing, message: str, push_id: int | None = None) -> None:
        """Tell the device why, as the last frame, and begin to close."""
        if self.is_closed:
            return
        if reason.error is not None:
            self.link.send(encode(Error(reason.error, message, push_id)))
        self._move(Event.CLOSED)
        text = message.encode()[:LONGEST_REASON].decode(errors="ignore")
        self.link.close(reason.code, text)
        self._services.counts.closed[reason.code] += 1
        logger.info("closed", **self.who, code=reason.code, reason=message)

    def _refuse(self, refusal: Refusal) -> None:
        self.end(refusal.reason, str(refusal), refusal.push_id)

    @property
    def who(self) -> dict[str, str | int]:
        """Whose session it is, for the log; where from, as long as nobody knows."""
        if not self.user_name:
            return {"connection": self.number, "address": self.link.address}
        return {"connection": self.number, "user": self.user_name, "device": self.device}

    def turn_away(self, revoked: TurnedAway) -> None:
        """The operator has revoked what the device is here by."""
        self.end(revoked.closing, str(revoked))

    def _move(self, event: Event) -> None:
        was_live, self.state = self._is_live, TRANSITIONS[self.state][event]
        self._is_live, self.is_closed = self.state is State.LIVE, self.state is State.CLOSED
        if was_live and self._user.live.get(self.device) is self:
            del self._user.live[self.device]
        if self.is_closed and self.closing_since is None:
            self.closing_since = asyncio.get_running_loop().time()
            self._pace.stop()
            self._make_room()

    def _make_room(self) -> None:
        """Read on, if that was paused and there is room again, or nothing is kept any more."""
        is_held_up = self._is_crowded() or self._pace.is_slowed
        if self._is_paused and (self.is_closed or not is_held_up):
            self._is_paused = False
            self.link.resume()
