"""A store under test: what may happen to it, and what can be asked of it."""

import abc
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import orjson
from msgspec import UnsetType

from hub.retention import Retention
from hub.store.interface import Cursor, Incoming, Page, Store, Stored
from protocol.diffs import Held, Key, Object
from protocol.messages import SnapshotObject
from tests.hub.fakes import Frame

ALL = 10**9
"""More bytes than any answer here has."""
KEEPS: Final = Retention(
    log_days=7, log_rows=40, held_log_rows=80, device_days=30, tombstone_days=91
)
"""What a store on the bench keeps, once time passes."""


class Bench(abc.ABC):
    """One store under test, and what may happen to it."""

    store: Store

    def __init__(self, *, folds: bool) -> None:
        self.folds = folds

    async def pause(self) -> None:
        """Let time pass, if this is a run in which things are written behind the log."""
        if self.folds:
            await self.fold()

    @abc.abstractmethod
    async def reopen(self) -> Store:
        """Close the store in good order and open it again."""

    @abc.abstractmethod
    async def crash(self) -> Store:
        """Open what the store would leave behind if it were killed now."""

    @abc.abstractmethod
    async def fold(self) -> None:
        """Write everything that is written behind the log."""

    @abc.abstractmethod
    async def later(self, days: float) -> None:
        """Let days pass, and what may go be gone: not a moment passes between the two."""

    @abc.abstractmethod
    def break_at_after(self, step: int, days: float) -> None:
        """Let days pass, and then a write fail as `break_at` says."""

    @abc.abstractmethod
    async def space(self) -> int:
        """The bytes that the data takes, once all of it is where it shall lie."""

    @abc.abstractmethod
    def break_at(self, step: int) -> None:
        """Let the write after `step` further ones fail as on a full disk, once."""

    @abc.abstractmethod
    def break_commits(self) -> None:
        """Let the next end of a transaction fail as on a full disk, once."""

    @abc.abstractmethod
    def is_broken(self) -> bool:
        """Whether a failure is still to come."""

    @abc.abstractmethod
    async def move_line(self, user: str, line: int) -> Store:
        """Open the store as it is once tombstones up to `line` have been dropped."""


def push(
    push_id: int, *diffs: Any, user: str = "ada", device: str = "phone", **more: Any
) -> Incoming:
    return Incoming(user, device, push_id, diffs, **more)  # fmt: skip


async def stored(bench: Bench, *pushes: Incoming) -> list[Stored]:
    """Store pushes one by one, with a pause after each."""
    answers = []
    for incoming in pushes:
        [answer] = await bench.store.commit([incoming])
        assert answer is not None
        answers.append(answer)
        await bench.pause()
    return answers


async def now_and_after(bench: Bench) -> AsyncIterator[Store]:
    """The store as it is, after a crash, and after a restart in good order."""
    yield bench.store
    yield await bench.crash()
    yield await bench.reopen()


def names(diffs: bytes) -> list[str]:
    return [diff["json_data"]["id"] for diff in orjson.loads(diffs)]


def told(entry: SnapshotObject) -> Any:
    """An object's fields, or the id of one that is deleted."""
    if isinstance(entry.json_data, UnsetType):
        return entry.id
    return orjson.loads(bytes(entry.json_data))


async def pages(store: Store, clock: int, skip_deleted: int, max_bytes: int) -> list[Page]:
    cursor: Cursor | None = Cursor(clock)
    found = []
    while cursor is not None:
        found.append(await store.page("ada", cursor, skip_deleted, max_bytes))
        cursor = found[-1].cursor
    return found


async def whole(store: Store, keys: Sequence[Key]) -> dict[str, Any]:
    """All that can be asked of a store about one user, less how it holds the bytes of it."""
    head = (await store.user("ada")).head
    objects = await store.objects("ada", keys)
    return {
        "user": (await store.user("ada"))[:3],
        "devices": [tuple(await store.device("ada", name)) for name in ("phone", "laptop")],
        "log": await store.log("ada", 0, ALL),
        "first": await store.first_clock("ada"),
        "missing": await store.log("ada", head, ALL),
        "objects": {key: without_size(held) for key, held in objects.items()},
    }


def without_size(held: Held) -> Any:
    """An object less its size, which is only an upper bound."""
    if not isinstance(held, Object):
        return held
    past = (held.refilled, held.seen) if held.refilled or held.seen else ()
    return held.created, held.clock, held.fields, held.stamps, *past


KEYS: Sequence[Key] = [("tasks", name) for name in "abcdefgh"]


def sent(frame: Frame) -> Frame:
    """A diff as it goes out: without its base."""
    return {name: value for name, value in frame.items() if name != "logical_clock"}
