"""A hub played by a test, word by word, over links in memory."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw

from client.errors import LinkClosed, LinkFailed
from protocol.diffs import DiffType, StoredDiff
from protocol.messages import (
    Ack,
    Changes,
    Error,
    FromDevice,
    FromHub,
    Hello,
    Lost,
    Push,
    PushOutcome,
    Ready,
    Rejected,
    Snapshot,
    SnapshotObject,
    Welcome,
    decode_from_device,
    encode,
    encode_diffs,
)

PATIENCE = 10.0
LIMITS = {"max_diffs": 1000, "max_frame_bytes": 2**20}

_Message = TypeVar("_Message")


def stored(kind: DiffType, model: str, **fields: Any) -> StoredDiff:
    """A diff as another device's push brought it."""
    return StoredDiff(f"of-{fields['id']}", 1_000, kind, model, fields)


def present(model: str, clock: int, **fields: Any) -> SnapshotObject:
    """An object on a page."""
    return SnapshotObject(model, clock, json_data=Raw(msgspec.json.encode(fields)))


def deleted(model: str, clock: int, name: str) -> SnapshotObject:
    """A tombstone on a page."""
    return SnapshotObject(model, clock, id=name, deleted=True)


class FakeHub:
    """Where devices of a test connect; the test takes the sessions one by one."""

    def __init__(self) -> None:
        self.away: str | None = None
        self.attempts = 0
        self._arrivals: asyncio.Queue[Session] = asyncio.Queue()

    async def connect(self) -> "FakeLink":
        """What a Device is given as `connect`."""
        self.attempts += 1
        if self.away is not None:
            raise LinkFailed(self.away)
        session = Session()
        self._arrivals.put_nowait(session)
        return FakeLink(session)

    async def session(self) -> "Session":
        """The next device that connects."""
        async with asyncio.timeout(PATIENCE):
            return await self._arrivals.get()

    async def ready_session(self, **told: Any) -> "Session":
        """The next device that connects, made live at once."""
        session = await self.session()
        await session.greet(**told)
        session.ready(told.get("logical_clock", 0), told.get("last_push_id", 0))
        return session


class Session:
    """The hub's end of one link."""

    def __init__(self) -> None:
        self.passed_over: list[FromDevice] = []
        self.left = asyncio.Event()
        self.to_hub: asyncio.Queue[bytes] = asyncio.Queue()
        self.to_device: asyncio.Queue[bytes | LinkClosed] = asyncio.Queue()
        self.end: LinkClosed | None = None
        self.taking = asyncio.Event()
        self.taking.set()
        self.refusals = 1000

    async def hear(self) -> FromDevice:
        """The next message of the device."""
        async with asyncio.timeout(PATIENCE):
            return decode_from_device(await self.to_hub.get())

    async def expect(self, kind: type[_Message]) -> _Message:
        """The next message of this kind; others are kept for whoever expects them."""
        for index, message in enumerate(self.passed_over):
            if isinstance(message, kind):
                del self.passed_over[index]
                return message
        while not isinstance(message := await self.hear(), kind):
            self.passed_over.append(message)
        return message

    def unheard(self) -> list[FromDevice]:
        """All that the device has said and nobody has listened to."""
        return self.passed_over + [
            decode_from_device(self.to_hub.get_nowait()) for _ in range(self.to_hub.qsize())
        ]

    def say(self, message: FromHub) -> None:
        self.to_device.put_nowait(encode(message))

    def say_bytes(self, frame: bytes) -> None:
        self.to_device.put_nowait(frame)

    def close(self, code: int | None, error: str | None = None, push_id: int | None = None) -> None:
        """Hang up with a code, after the last words if there are any; None: the line breaks."""
        if error is not None:
            self.say(Error(error, "so says the test", push_id))
        self.end = LinkClosed(code, "the test hung up")
        self.to_device.put_nowait(self.end)

    async def greet(
        self,
        *,
        user: str = "alice",
        log_id: str = "log-1",
        logical_clock: int = 0,
        last_push_id: int = 0,
        reset: bool = False,
        server_time: int = 1_000_000,
        expires: int | None = None,
        limits: dict[str, int] | None = None,
    ) -> Hello:
        """Hear the hello and welcome the device."""
        hello = await self.expect(Hello)
        self.say(
            Welcome(
                user,
                hello.device,
                log_id,
                logical_clock,
                last_push_id,
                reset,
                server_time,
                expires,
                limits or LIMITS,
            )
        )
        return hello

    def ready(
        self, clock: int = 0, last_push_id: int = 0, outcomes: tuple[PushOutcome, ...] = ()
    ) -> None:
        self.say(Ready(clock, last_push_id, outcomes))

    def changes(self, clock: int, *diffs: StoredDiff) -> None:
        self.say(Changes(clock, "another", Raw(encode_diffs(diffs))))

    def page(self, clock: int, *objects: SnapshotObject, head: int = 0, remaining: int = 0) -> None:
        self.say(Snapshot(clock, objects, head or clock, remaining))

    def ack(
        self,
        push: Push | int,
        clock: int,
        *,
        diffs: Sequence[StoredDiff] | None = None,
        lost: tuple[Lost, ...] = (),
        rejected: tuple[Rejected, ...] = (),
    ) -> None:
        push_id = push if isinstance(push, int) else push.push_id
        effective = UNSET if diffs is None else Raw(encode_diffs(diffs))
        self.say(Ack(push_id, clock, effective, lost, rejected))


class FakeLink:
    """The device's end."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def send(self, frame: bytes) -> None:
        await self._session.taking.wait()
        if self._session.end is not None:
            self._session.refusals -= 1
            assert self._session.refusals >= 0, "a dead link was asked again and again"
            raise self._session.end
        self._session.to_hub.put_nowait(frame)

    async def receive(self) -> bytes:
        frame = await self._session.to_device.get()
        if isinstance(frame, LinkClosed):
            raise frame
        return frame

    async def close(self) -> None:
        if self._session.end is None:
            self._session.end = LinkClosed(None, "the device left")
            self._session.to_device.put_nowait(self._session.end)
        self._session.left.set()
