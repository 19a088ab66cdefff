"""The store in one SQLite file: one writer, readers of their own, the fold behind the log.

The writer and the reader each have a connection and a thread; every method below is one hop. Two
tasks, which fold and retire, are owned by `open` and `close`.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from math import inf
from pathlib import Path
from typing import Final, TypeVar

import structlog

from hub import exports
from hub.endless import Endless
from hub.exports import Line
from hub.limits import Limits
from hub.progress import Progress, silent
from hub.revoking import Revocation
from hub.store import reading
from hub.store.errors import StoreFailed, SyncFailed
from hub.store.executor import Executor, OpenExecutor, on_thread
from hub.store.holdups import HoldUps, is_short
from hub.store.interface import (
    Cursor,
    DeviceStanding,
    Imported,
    Incoming,
    Meanwhile,
    Page,
    Sizes,
    StoreCounts,
    Stored,
    UserStanding,
    nothing,
)
from hub.store.ledger import Ledger, Rules
from hub.store.lock import FileLock
from hub.store.moving import Moving
from hub.store.opening import connect_reader, connect_writer
from hub.store.retention import hasten
from hub.store.retiring import Retiring
from hub.store.revocations import erase, read, write
from hub.store.schema import sizes_of
from hub.store.versions import check_sqlite
from hub.store.wal import SyncWatch, WalFile, kept_open
from protocol.diffs import Held, Key
from protocol.history import History

T = TypeVar("T")
NEVER: Final = HoldUps(trial=inf)
FOLD_SECONDS: Final = 0.5
"""How long objects may lie behind the log."""
FOLD_ROWS: Final = 16_000
"""How many rows of the log may wait to be folded: a start after a crash folds them, and whoever
reads a user's newest pushes reads through them."""

logger: Final = structlog.get_logger("store")


class SqliteStore:
    """A `Store` in one file. See `hub.store.interface` for what its methods promise."""

    def __init__(
        self,
        path: Path,
        rules: Rules,
        open_executor: OpenExecutor = on_thread,
        give_up: Callable[[], None] = lambda: None,
        progress: Progress = silent,
        hold_ups: HoldUps = NEVER,
    ) -> None:
        """`give_up` is called when it cannot go on, as when a sync has failed: close the store.

        `progress` is told of an upgrade. `hold_ups` says where commits may wait for the disk; the
        loop waits for no policy of an application's, nor for a program that also writes the file.
        """
        self._path = path
        self._progress = progress
        self._give_up = give_up
        self._tasks = Endless(give_up)
        self._syncs = SyncWatch()
        self._open_executor = open_executor
        self._lock = FileLock(path)
        self._rules = rules
        is_alone = rules.policy is None and rules.checkpoints
        self._hold_ups = hold_ups if is_alone else NEVER
        self._ledger = Ledger(rules)
        self._retiring = Retiring(self._ledger, self._write)
        self._moving = Moving(self._ledger, rules, self._write, self._fold, self._retiring)
        self._received: dict[tuple[str, str], int] = {}
        self._behind = asyncio.Event()
        self._pressed = asyncio.Event()

    async def open(self) -> None:
        """Open or make the file.

        Raises:
            FileInUse, FileTooNew, NotAHubFile, StoreFailed: it was left as it is.

        """
        check_sqlite(checkpoints=self._rules.checkpoints)
        async with contextlib.AsyncExitStack() as opened:
            self._lock.acquire()
            opened.callback(self._lock.release)
            now, progress = self._rules.now(), self._progress
            open_writer = partial(connect_writer, self._path, now, progress)
            self._writer = await self._open_executor(open_writer)
            opened.push_async_callback(self._close_writer)
            self._reader = await self._open_executor(partial(connect_reader, self._path))
            opened.push_async_callback(self._reader.close)
            await self._catch_up()
            self._wal = WalFile(self._path)
            opened.callback(self._wal.close)
            self._opened = opened.pop_all()
        self._tasks.start(self._keep_folding(), "fold")
        self._tasks.start(self._retiring.run(), "retire")

    async def _catch_up(self) -> None:
        """Bring the file to where its log is, before anybody asks."""
        latest = self._rules.now() + self._rules.retention.log_ms
        try:
            await self._write(partial(self._ledger.retire, 0, partial(hasten, latest)))
            await self._fold()
            if await self._write(self._ledger.begin_epoch):
                await self._moving.sweep()
        except SyncFailed:
            raise
        except StoreFailed as error:
            raise StoreFailed(
                f"cannot write {self._path}: {error}. Make room on its disk, or see to it, and "
                "start the hub again"
            ) from None

    async def close(self) -> None:
        """Fold what is left, and leave one whole file behind.

        Raises:
            SyncFailed: a sync failed, now or before. The file and its WAL are left as they are.

        """
        async with self._opened:
            await self._tasks.stop()
            with contextlib.suppress(StoreFailed):
                await self._fold()
        if self._syncs.has_failed:
            raise SyncFailed

    async def user(self, name: str) -> UserStanding:
        """How a user stands; one seen for the first time gets a new log id."""
        return await self._write(partial(self._ledger.user, name))

    async def fork(self, user: str, clock: int) -> History:
        """Open a history for a user that carries on the present one from a clock."""
        return await self._write(partial(self._ledger.fork, user, clock))

    async def take_up(self, user: str, lost: str) -> History:
        """Have a user's history carry on a lost one."""
        return await self._write(partial(self._ledger.take_up, user, lost))

    async def device(self, user: str, name: str) -> DeviceStanding:
        """How a device stands; one never seen has all zeros."""
        return await self._write(partial(self._ledger.device, user, name))

    async def commit(
        self, group: Sequence[Incoming], meanwhile: Meanwhile = nothing
    ) -> Sequence[Stored | None]:
        """Decide and store these pushes, in this order, in one durable transaction."""
        if is_short(group) and self._may_wait:
            stored = self._wait_for(partial(self._commit_here, group, meanwhile))
        else:
            stored = await self._write(partial(self._ledger.commit, group))
            meanwhile(stored)
        self._behind.set()
        if self._is_full or self._ledger.has_large or self._ledger.wal_is_long:
            self._pressed.set()
        return stored

    def _commit_here(
        self, group: Sequence[Incoming], meanwhile: Meanwhile, connection: sqlite3.Connection
    ) -> Sequence[Stored | None]:
        """Commit on the loop's thread, which has other work while the disk writes."""
        stored = self._ledger.commit(group, connection, syncs=False)
        self._wal.begin_to_write()
        meanwhile(stored)
        self._wal.sync()
        return stored

    async def log(self, user: str, after: int, max_bytes: int) -> Sequence[Stored]:
        """Pushes with the clocks after + 1, after + 2, …."""
        return await self._read(
            user, lambda connection, number: reading.read_log(connection, number, after, max_bytes)
        )

    async def first_clock(self, user: str) -> int:
        """The first clock that the log still holds; head + 1 if it holds none."""
        return await self._read(user, reading.first_clock)

    async def page(self, user: str, cursor: Cursor, skip_deleted: int, max_bytes: int) -> Page:
        """Objects changed behind the cursor."""
        return await self._read(
            user,
            lambda connection, number: reading.read_page(
                connection, number, cursor, skip_deleted, max_bytes
            ),
        )

    async def count(self, user: str, after: int) -> int:
        """How many objects changed after a clock."""
        return await self._read(
            user, lambda connection, number: reading.count_objects(connection, number, after)
        )

    async def objects(self, user: str, keys: Sequence[Key]) -> Mapping[Key, Held]:
        """Objects as they stand at the head, less those never heard of."""
        return await self._read(
            user, lambda connection, number: reading.read_objects(connection, number, keys)
        )

    async def revocations(self) -> Sequence[Revocation]:
        """All that is revoked now."""
        return await _run(self._reader, partial(reading.in_one_read, read=read))

    async def revoke(self, revocation: Revocation) -> None:
        """Keep a revocation from now on."""
        now = self._rules.now()
        await self._write(partial(self._ledger.change, partial(write, revocation, now)))

    async def reinstate(self, revocation: Revocation) -> bool:
        """Keep no revocation of this subject; whether there was one."""
        return await self._write(partial(self._ledger.change, partial(erase, revocation)))

    async def keep_to(self, limits: Limits) -> None:
        """Have every push that is decided from now on keep to these limits."""
        await self._write(partial(self._ledger.keep_to, limits))

    @property
    def counts(self) -> StoreCounts:
        """What it has done so far."""
        retiring, ledger = self._retiring, self._ledger
        return StoreCounts(
            retiring.rows, retiring.tombstones, ledger.folds, ledger.checkpoints, ledger.unfolded
        )

    async def sizes(self) -> Sizes:
        """How large the file and its WAL are."""
        return await _run(self._reader, partial(sizes_of, self._path))

    async def import_user(
        self, user: exports.User, lines: AsyncIterator[Line], *, replace: bool
    ) -> Imported:
        """Bring a whole user in, of whom these are the lines."""
        self._forget_received(user.name)
        brought = await self._moving.bring(user, lines, replace=replace)
        self._behind.set()
        return Imported(brought.objects, brought.bytes)

    async def delete_user(self, name: str) -> bool:
        """Erase a user, and all bytes of it; False: its WAL could not be cut."""
        self._forget_received(name)
        return await self._moving.erase(name)

    async def compact(self) -> bool:
        """Let go at once all that may go by now, and give its space back."""
        await self._retiring.compact()
        async with self._retiring.at_rest:
            return await self._retiring.scrub()

    def _forget_received(self, name: str) -> None:
        """Of whoever goes, nothing is noted that would have to be stored behind that."""
        self._received = {key: at for key, at in self._received.items() if key[0] != name}

    def on_line(self, tell: Callable[[str, int], None]) -> None:
        """Tell of a user's line before it is raised."""
        self._retiring.tell = tell

    def received(self, user: str, device: str, clock: int) -> None:
        """Note that a device is here, and how far; stored with the next fold."""
        known = self._received.get((user, device), 0)
        self._received[user, device] = max(known, clock)
        self._behind.set()

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._giving_up():
            return await self._writer.run(partial(self._syncs.run, work))

    @property
    def _may_wait(self) -> bool:
        """Whether the loop's thread may do a short piece of work, and wait for the disk."""
        return self._hold_ups.may_wait and self._writer.is_idle

    def _wait_for(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._giving_up():
            here = partial(self._writer.run_here, partial(self._syncs.run, work))
            return self._hold_ups.run(here)

    @contextlib.contextmanager
    def _giving_up(self) -> Iterator[None]:
        try:
            yield
        except SyncFailed:
            self._give_up()
            raise
        except sqlite3.Error as error:
            raise _failure(error) from error

    async def _close_writer(self) -> None:
        leaves_wal = self._syncs.has_failed or not self._rules.checkpoints
        with kept_open(self._path) if leaves_wal else contextlib.nullcontext():
            await self._writer.close()

    async def _read(self, user: str, work: Callable[[sqlite3.Connection, int], T]) -> T:
        def read(connection: sqlite3.Connection) -> T:
            return work(connection, reading.user_no(connection, user))

        found = await _run(self._reader, partial(reading.in_one_read, read=read))
        if self._syncs.has_failed:  # It may be of a commit that was yet to be synced.
            raise SyncFailed
        return found

    @property
    def _is_full(self) -> bool:
        return self._ledger.unfolded >= FOLD_ROWS

    async def _keep_folding(self) -> None:
        """Fold within FOLD_SECONDS of a commit, or as soon as FOLD_ROWS wait."""
        while True:
            await self._behind.wait()
            self._behind.clear()
            try:
                await self._wait_until_due()
                await self._fold()
            except SyncFailed:
                return
            except StoreFailed as error:
                # The log has it all, so nothing is lost; the next turn tries again.
                logger.warning("fold failed", error=str(error))
                self._behind.set()

    async def _wait_until_due(self) -> None:
        """Wait for the next fold, and meanwhile do what had better not wait for it."""
        loop = asyncio.get_running_loop()
        due = loop.time() + FOLD_SECONDS
        while loop.time() < due and not self._is_full:
            try:
                async with asyncio.timeout_at(due):
                    await self._pressed.wait()
            except TimeoutError:
                return
            self._pressed.clear()
            await self._fold_step(0)

    async def _fold(self) -> None:
        """Fold all that is behind by now, step by step; commits go between the steps."""
        received, self._received = self._received, {}
        row = await self._write(partial(self._ledger.note_received, received))
        while await self._fold_step(row):
            pass

    async def _fold_step(self, row: int) -> bool:
        """Fold some users who were behind at this row; whether there are more of them."""
        fold = partial(self._ledger.fold, row)
        more = self._wait_for(fold) if self._may_wait else await self._write(fold)
        if self._ledger.wal_is_long:
            await self._write(self._ledger.checkpoint)
        await asyncio.sleep(0)  # A step on the loop's thread waits for nobody: let others go now.
        return more


async def _run(executor: Executor, work: Callable[[sqlite3.Connection], T]) -> T:
    try:
        return await executor.run(work)
    except sqlite3.Error as error:
        raise _failure(error) from error


def _failure(error: sqlite3.Error) -> StoreFailed:
    return StoreFailed(f"the store failed: {error}")
