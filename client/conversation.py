"""One connection from hello to its end (docs/protocol.md, sections 5 and 6)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from client.backoff import Backoff
from client.errors import DeviceError, LinkClosed, StorageError, TokenFailed
from client.inbox import Inbox
from client.link import Link
from client.local import LocalCopy
from client.states import Event, OutOfTurn, Standing, State
from client.tokens import Tokens
from client.waiting import first_of
from client.world import World
from protocol.errors import ProtocolError
from protocol.messages import (
    Ack,
    Auth,
    Authenticated,
    Changes,
    Error,
    FromDevice,
    FromHub,
    Hello,
    Ping,
    Pong,
    Ready,
    Received,
    Snapshot,
    Welcome,
    decode_from_hub,
    encode,
)

GREETING_TIMEOUT: Final = 30.0
"""Seconds from hello to welcome."""
SILENCE_TIMEOUT: Final = 60.0
"""Seconds without a frame while catching up. A live hub may be silent; pings watch over it."""
SEND_TIMEOUT: Final = 60.0
"""Seconds in which the hub must take something: as long as it would wait for the device."""
LEAVE_TIMEOUT: Final = 3.0
"""Seconds for the last `received`."""
REPORT_INTERVAL: Final = 1.0
"""Seconds from one `received` to the next."""
SHORTEST_LIFE: Final = 2.0
"""Seconds that a token is taken to live, so that tokens always run out do not make a busy loop."""

_EVENTS: Final[Mapping[type[FromHub], Event]] = {
    Welcome: Event.WELCOME,  # a second one is out of turn
    Changes: Event.HISTORY,
    Ack: Event.HISTORY,
    Snapshot: Event.PAGE,
    Ready: Event.READY,
}


def _event_of(message: FromHub) -> Event:
    if isinstance(message, Ready) and message.more:
        return Event.HISTORY
    return _EVENTS[type(message)]


class Ending(NamedTuple):
    """How a connection ended: the hub's code (None: the line broke), and its last words."""

    code: int | None
    reason: str
    push_id: int | None = None
    error: str = ""


class _Echo(NamedTuple):
    """A ping under way, and when it was sent by the steady clock (ms)."""

    answered: asyncio.Future[bool]
    asked: int

    def answer(self, *, came_back: bool) -> None:
        if not self.answered.done():
            self.answered.set_result(came_back)


class Conversation:
    """Five tasks that share a link: they fill the inbox, take from it, push, report and renew.

    Only the taker decides that it is over: what came before the end counts, above all the hub's
    last words, so those who send keep silent when the link is gone.
    """

    def __init__(
        self, link: Link, local: LocalCopy, standing: Standing, tokens: Tokens, world: World
    ) -> None:
        self._link = link
        self._local = local
        self._standing = standing
        self._tokens = tokens
        self._world = world
        self._inbox = Inbox(link)
        self._over = False
        self._reported = 0
        self._stored = asyncio.Event()
        self._expires = 0
        self._running_out = asyncio.Event()
        self._last_words: Error | None = None
        self._echoes: dict[str, _Echo] = {}

    async def run(self, hello: Hello) -> Ending:
        """Talk until the link ends; cancel it to leave politely.

        Raises:
            StorageError: the storage failed, or belongs to another user.

        """
        causes: tuple[Exception, ...] = ()
        try:
            await self._greet(hello)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._inbox.fill())
                tasks.create_task(self._take())
                for part in (self._push, self._report, self._renew):
                    tasks.create_task(self._while_open(part))
        except* (LinkClosed, ProtocolError, StorageError) as group:
            causes = group.exceptions
        finally:
            await self._leave()
        return self._ending(causes)

    @property
    def is_live(self) -> bool:
        """Whether it is level with the hub, and not about to end."""
        return self._standing.state is State.LIVE and not self._over

    async def echo(self) -> bool:
        """Send something there and back: all that the hub had sent before is taken by then.

        False if the link ended meanwhile.
        """
        nonce = self._world.new_id()
        echo = _Echo(asyncio.get_running_loop().create_future(), self._world.elapsed())
        self._echoes[nonce] = echo
        try:
            await self._send(Ping(nonce))
        except LinkClosed:
            return False
        return await echo.answered

    # Hello

    async def _greet(self, hello: Hello) -> None:
        asked = self._world.elapsed()
        await self._send(hello)
        try:
            async with asyncio.timeout(GREETING_TIMEOUT):
                message = await self._first_answer()
        except TimeoutError:
            raise LinkClosed(None, f"no welcome within {GREETING_TIMEOUT:.0f} s") from None
        if not isinstance(message, Welcome):
            raise OutOfTurn(f"the hub began with {type(message).__name__}, not with a welcome")
        self._local.belong_to(message.user)
        self._local.take(message, self._world.elapsed() - asked)
        self._standing.step(Event.WELCOME)
        self._lives_until(message.expires)

    async def _first_answer(self) -> FromHub:
        message = decode_from_hub(await self._link.receive())
        while isinstance(message, Error):
            self._last_words = message
            message = decode_from_hub(await self._link.receive())
        return message

    # What the hub sends

    async def _take(self) -> None:
        """Take all frames that wait, and store what they change in one transaction."""
        while True:
            for frame in await self._next_frames():
                self._hear(decode_from_hub(frame))
            self._local.pushable.set()
            await self._local.stored()
            self._stored.set()
            self._local.bell.ring()

    async def _next_frames(self) -> list[bytes]:
        patience = None if self._standing.state is State.LIVE else SILENCE_TIMEOUT
        try:
            async with asyncio.timeout(patience):
                return await self._inbox.take()
        except TimeoutError:
            raise LinkClosed(None, f"nothing from the hub for {SILENCE_TIMEOUT:.0f} s") from None

    def _hear(self, message: FromHub) -> None:
        match message:
            case Error():
                self._last_words = message
            case Authenticated():
                self._lives_until(message.expires)
            case Pong():
                self._answer(message)
            case _:
                state = self._standing.after(_event_of(message))
                self._local.take(message)
                self._standing.enter(state)

    def _answer(self, pong: Pong) -> None:
        """An answer to one ping is one to all before it: the hub may leave those out."""
        if pong.nonce not in self._echoes:
            return
        asked = self._echoes[pong.nonce].asked
        self._local.take(pong, self._world.elapsed() - asked)
        for nonce in list(self._echoes):
            echo = self._echoes.pop(nonce)
            echo.answer(came_back=True)
            if nonce == pong.nonce:
                return

    # What the device sends

    async def _push(self) -> None:
        """Invariant: a push is stored, with its id and the counter, before it is sent."""
        while True:
            await self._local.pushable.wait()
            self._local.pushable.clear()
            pushes = list(iter(self._local.replica.next_push, None))
            if pushes:
                await self._local.stored()
            for push in pushes:
                await self._send(push)

    async def _report(self) -> None:
        while True:
            await self._stored.wait()
            self._stored.clear()
            if await self._report_now():
                await self._world.sleep(REPORT_INTERVAL)

    async def _report_now(self) -> bool:
        """Say what is safe, if that is news and all outcomes are told (section 5)."""
        safe = self._local.safe
        if not self._local.replica.ready or safe.half is not None or safe.clock <= self._reported:
            return False
        self._reported = safe.clock
        await self._send(Received(safe.clock))
        return True

    async def _send(self, message: FromDevice) -> None:
        """Invariant: who finds the link dead ends the being live, before the taker knows of it."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await self._link.send(encode(message))
        except LinkClosed:
            self._over = True
            raise
        except TimeoutError:
            self._over = True
            await self._link.close()
            raise LinkClosed(None, f"the hub took nothing for {SEND_TIMEOUT:.0f} s") from None

    async def _while_open(self, part: Callable[[], Awaitable[None]]) -> None:
        with suppress(LinkClosed):
            await part()

    # The token

    def _lives_until(self, expires: int | None) -> None:
        if expires is not None and self._tokens.renewable:
            self._expires = expires
            self._running_out.set()

    async def _renew(self) -> None:
        """Show a fresh token at half the life of the old one, or when there is another."""
        while True:
            await first_of(self._tokens.replaced.wait(), self._half_life())
            self._running_out.clear()
            await self._send(Auth(await self._fresh_token()))

    async def _half_life(self) -> None:
        await self._running_out.wait()
        left = (self._expires - self._local.hub_now()) / 1000
        await self._world.sleep(max(left, SHORTEST_LIFE) / 2)

    async def _fresh_token(self) -> str:
        backoff = Backoff(self._world.chance)
        while True:
            try:
                token = await self._tokens.ask()
            except TokenFailed as failed:
                self._standing.note(str(failed))
                await self._world.sleep(backoff.delay())
            else:
                self._standing.note(None)
                return token

    # The end

    async def _leave(self) -> None:
        self._over = True
        for echo in self._echoes.values():
            echo.answer(came_back=False)
        with suppress(LinkClosed, DeviceError, TimeoutError):
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await self._local.stored()
                await self._report_now()
        await self._link.close()

    def _ending(self, causes: tuple[Exception, ...]) -> Ending:
        for cause in causes:
            if isinstance(cause, StorageError):
                raise cause
        cause = causes[0]
        code = cause.code if isinstance(cause, LinkClosed) else None
        words = self._last_words
        if words is None:
            return Ending(code, str(cause))
        return Ending(code, f"{words.code}: {words.message}", words.push_id, words.code)
