"""A replica of a user's data that works offline and stays level with the hub by itself."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, NamedTuple, Self

from client.batch import Batch, Draft, draft
from client.connection import Connection
from client.errors import (
    DeviceClosed,
    StorageFailed,
    StorageForeign,
    SynchronizeTimeout,
    UnknownSetback,
)
from client.filters import ReadFilter
from client.link import Connect, websocket
from client.local import LocalCopy
from client.states import State
from client.status import Status
from client.storage import MemoryStorage, SqliteStorage, Storage
from client.tokens import Token, Tokens
from client.values import copied
from client.watch import Watch
from client.world import World
from protocol.diffs import MAX_DEVICE
from protocol.messages import TAKEN_DEVICES
from protocol.records import Setback

DEFAULT_WORLD: Final = World()


class _Parts(NamedTuple):
    """What exists only while the device is open."""

    name: str
    local: LocalCopy
    tokens: Tokens
    connection: Connection


class Device:
    """One device of a user, open inside its `async with` block.

    `url` is the hub's (`ws://…/sync`). `token` is a text, or an async function that is asked for
    one at each connection and again before it runs out. The data is kept in the SQLite file at
    `path`, or in any `storage`; with neither it lives as long as the block. `name` is the device's
    name at the hub (1 to 64 characters); without one it is chosen once and kept with the data.
    `connect` opens the link and `world` is time and chance, both to be replaced in tests.

    Reads come from memory. An edit returns when it is stored on the device, whether or not there
    is a hub; an edit whose caller is cancelled meanwhile may still have been made. If the storage
    fails, every call raises `StorageFailed` until the device is opened again.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token,
        path: str | Path | None = None,
        storage: Storage | None = None,
        name: str | None = None,
        connect: Connect | None = None,
        world: World = DEFAULT_WORLD,
    ) -> None:
        if path is not None and storage is not None:
            raise ValueError("give a Device either a path or a storage, not both")
        if name is not None and (not 1 <= len(name) <= MAX_DEVICE or name in TAKEN_DEVICES):
            raise ValueError(f"{name!r} cannot be a device's name: 1 to {MAX_DEVICE} characters")
        self._connect = connect or websocket(url)
        self._token = token
        if storage is None:
            storage = MemoryStorage() if path is None else SqliteStorage(path)
        self._storage = storage
        self._wanted_name = name
        self._world = world
        self._parts: _Parts | None = None
        self._exits = AsyncExitStack()

    # Opening and closing

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            await self._storage.open()
            exits.push_async_callback(self._storage.close)
            parts = await self._assembled()
            tasks = asyncio.TaskGroup()
            await tasks.__aenter__()
            # Not told of an error in the block, which it would wrap into a group.
            exits.push_async_callback(tasks.__aexit__, None, None, None)
            tasks.create_task(parts.local.journal.run())
            exits.callback(parts.local.journal.end)
            connecting = tasks.create_task(parts.connection.run())
            exits.push_async_callback(self._disconnect, parts, connecting)
            await parts.local.stored()
            self._parts = parts
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._exits.__aexit__(kind, error, traceback)

    async def _assembled(self) -> _Parts:
        kept = await self._storage.load()
        name = kept.identity.device or self._wanted_name or self._world.new_name()
        if self._wanted_name not in (None, name):
            raise StorageForeign(
                f"this is the data of device {name}, not of {self._wanted_name}: leave the name "
                "out, or give the new device a path of its own"
            )
        local = LocalCopy(kept, name, self._storage, self._world)
        tokens = Tokens(self._token)
        return _Parts(
            name, local, tokens, Connection(name, local, tokens, self._connect, self._world)
        )

    async def _disconnect(self, parts: _Parts, connecting: asyncio.Task[None]) -> None:
        self._parts = None
        parts.connection.leave()
        connecting.cancel()
        await asyncio.wait([connecting])
        parts.local.look_at_the_clock()
        parts.local.end()

    def _open(self) -> _Parts:
        """The parts of a device that works."""
        if self._parts is None:
            raise DeviceClosed("the device is closed: use it inside `async with Device(…) as it:`")
        failure = self._parts.local.failure
        if failure is not None:
            raise StorageFailed(str(failure))
        return self._parts

    # Editing

    async def create(self, model: str, fields: Mapping[str, Any]) -> None:
        """Create an object with all its fields, a string `id` among them.

        Raises:
            InvalidDiff: it is not well formed; nothing has changed.
            StorageFailed: it is not kept.

        """
        await self._make([draft("create", model, fields)])

    async def update(self, model: str, fields: Mapping[str, Any]) -> None:
        """Set these fields of the object that `id` among them names; raises as `create`."""
        await self._make([draft("update", model, fields)])

    async def delete(self, model: str, id: str) -> None:  # noqa: A002 - the protocol's word
        """Delete an object; raises as `create`."""
        await self._make([draft("delete", model, {"id": id})])

    @asynccontextmanager
    async def batch(self) -> AsyncIterator[Batch]:
        """Edits that appear, are stored and are pushed together, when the block ends.

        None is made if the block raises, or with `BatchTooLarge` if one push cannot hold them.
        """
        edits = Batch()
        yield edits
        edits.check_size(self._open().local.limits)
        if edits.drafts:
            await self._make(edits.drafts)

    async def _make(self, drafts: Sequence[Draft]) -> None:
        local = self._open().local
        local.edit(drafts)
        await local.stored()
        local.bell.ring()

    # Reading

    async def get(self, model: str, id: str) -> dict[str, Any] | None:  # noqa: A002
        """An object as the user sees it, as a copy; None: there is none."""
        fields = self._open().local.replica.show((model, id))
        return None if fields is None else copied(fields)

    async def read(self, model: str, filters: Sequence[ReadFilter] = ()) -> list[dict[str, Any]]:
        """The objects of a model that fulfil all the filters, as copies."""
        return [
            copied(fields)
            for fields in self._open().local.replica.shown(model)
            if all(condition.matches(fields) for condition in filters)
        ]

    def watch(self, model: str) -> Watch:
        """Changes of a model from this call on: `async for change in device.watch("tasks")`."""
        return self._open().local.watch(model)

    # Setbacks

    @property
    def setbacks(self) -> Mapping[int, Setback]:
        """Edits that were rejected and fields that lost, by number, kept until they are taken."""
        return MappingProxyType(self._open().local.replica.setbacks)

    async def take_setback(self, number: int) -> Setback:
        """Take a setback that has been dealt with: it is not kept any longer.

        Raises:
            UnknownSetback: there is none of this number.

        """
        local = self._open().local
        setback = local.replica.setbacks.get(number)
        if setback is None:
            raise UnknownSetback(f"there is no setback {number}: it was taken before, or never was")
        local.take_setback(number)
        await local.stored()
        local.bell.ring()
        return setback

    async def watch_setbacks(self) -> AsyncIterator[tuple[int, Setback]]:
        """Each setback with its number: those that are kept, then each new one. Takes none."""
        told = 0
        while self._parts is not None:
            local = self._open().local
            news = [item for item in local.replica.setbacks.items() if item[0] > told]
            for told, setback in news:
                yield told, setback
            if not news:
                await local.bell.heard()

    # The hub

    @property
    def name(self) -> str:
        """The device's name at the hub."""
        return self._open().name

    @property
    def status(self) -> Status:
        """Where the device stands at this moment; works after a failure, too."""
        if self._parts is None:
            raise DeviceClosed("the device is closed and has no status")
        replica, failure = self._parts.local.replica, self._parts.local.failure
        standing = self._parts.connection.standing
        return Status(
            state=State.STOPPED if failure else standing.state,
            pending=replica.pending,
            clock=replica.position.clock,
            head=replica.head,
            remaining=replica.remaining,
            setbacks=len(replica.setbacks),
            skew=replica.position.skew,
            error=str(failure) if failure else standing.trouble,
        )

    async def until(self, reached: Callable[[Status], bool]) -> Status:
        """Wait for a status, for example `lambda status: status.connected`; without a deadline."""
        while not reached(status := self.status):
            await self._open().local.bell.heard()
        return status

    async def synchronize(self, timeout: float | None = 10.0) -> None:  # noqa: ASYNC109
        """Wait until the hub has all edits made so far, and all that it has so far is stored here.

        Raises:
            SynchronizeTimeout: not within `timeout` seconds (None: wait for ever); says what is
                missing.
            DeviceStopped: the hub turned the device away, so that waiting is of no use.
            StorageFailed: the storage failed.

        """
        parts = self._open()
        mine = parts.local.replica.position.edits
        try:
            async with asyncio.timeout(timeout):
                await parts.connection.echo()
                await self._confirmed(mine)
                await parts.local.stored()
        except TimeoutError:
            raise SynchronizeTimeout(
                f"not level after {timeout} s: {self.status.missing}. Nothing is lost, "
                "and the device goes on trying"
            ) from None

    async def _confirmed(self, number: int) -> None:
        """Wait until the hub has decided the edits up to this one."""
        while True:
            parts = self._open()
            oldest = parts.local.replica.oldest
            if oldest is None or oldest > number:
                return
            parts.connection.check_hope()
            await parts.local.bell.heard()

    async def refresh(self, token: Token) -> None:
        """Use this token from now on; a device that was turned away tries again with it."""
        self._token = token
        self._open().tokens.replace(token)
