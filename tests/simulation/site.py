"""The hub's process: started, stopped in good order, killed, and cut off from its power."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from hub.auth import Grant
from hub.errors import Unauthorized
from hub.http.polling import Poll, poll
from hub.limits import Limits
from hub.server import HOLD_UPS
from hub.store import copying
from hub.store.ledger import Ledger, Rules
from hub.store.retiring import Retiring
from hub.store.schema import connect
from hub.store.sqlite import SqliteStore
from hub.store.wal import WalFile
from tests.machine.files import empty_file
from tests.simulation.disk import SlowDisk, copy_file
from tests.simulation.strands import MAX_OBJECT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hub.store.interface import Incoming, Stored
    from hub.store.memory import Memory
    from hub.store.retention import Horizon, Looked
    from tests.simulation.line import Line
    from tests.simulation.simulation import Simulation

T = TypeVar("T")


class Tokens:
    """An authority whose tokens say the user and until when (ms): `ada|1790000000000`."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now

    def check(self, token: object) -> Grant:
        user, _, expires = str(token).partition("|")
        if expires and int(expires) <= self._now():
            raise Unauthorized("the token has run out")
        return Grant(user, expires=int(expires) if expires else None)


class WatchedLedger(Ledger):
    """Tells the account of each group in the moment in which it is in the file."""

    def __init__(self, rules: Rules, simulation: Simulation) -> None:
        super().__init__(rules)
        self._simulation = simulation

    def commit(
        self, group: Sequence[Incoming], connection: sqlite3.Connection, *, syncs: bool = True
    ) -> Sequence[Stored | None]:
        with self._simulation.site.striking(connection):
            stored = super().commit(group, connection, syncs=syncs)
        users = (self._remember(connection).user(incoming.user) for incoming in group)
        histories = {user.name: user.history for user in users}
        self._simulation.account.stored(group, stored, self._simulation.now(), histories)
        return stored

    def begin_epoch(self, connection: sqlite3.Connection) -> bool:
        left = super().begin_epoch(connection)
        self._simulation.account.strands.begun(self._remember(connection).starts.current)
        return left

    def fold(self, up_to: int, connection: sqlite3.Connection) -> bool:
        more = super().fold(up_to, connection)
        if self._remember(connection).behind:
            self._simulation.account.half_folded()
        return more

    def look(
        self, horizon: Horizon, after: tuple[int, int], connection: sqlite3.Connection
    ) -> Looked:
        looked = super().look(horizon, after, connection)
        self._simulation.account.looked(looked, horizon, connection)
        return looked

    def retire(
        self, pages: int, work: Callable[[sqlite3.Connection, Memory], T], connection: Any
    ) -> T:
        done = super().retire(pages, work, connection)
        self._simulation.account.kept(connection)
        return done


class WatchedWal(WalFile):
    """Tells the disk of each sync that SQLite does not know of."""

    def __init__(self, wal: WalFile, site: Site) -> None:
        self._handle = wal._handle
        self._site = site

    def sync(self) -> None:
        super().sync()
        self._site.disks[0].note_synced()


class WatchedStore(SqliteStore):
    """The real store over that ledger."""

    ledger_class: type[WatchedLedger] = WatchedLedger

    def __init__(self, simulation: Simulation, *args: Any) -> None:
        super().__init__(*args)
        if simulation.mood.waits_for_disk:
            self._hold_ups = HOLD_UPS["loop"]()
        self._ledger = self.ledger_class(args[1], simulation)
        self._retiring = Retiring(self._ledger, self._write)
        self._site = simulation.site

    async def open(self) -> None:
        await super().open()
        self._wal = WatchedWal(self._wal, self._site)


class Site:
    """One hub at a time, and the file that it leaves to the next."""

    def __init__(self, simulation: Simulation) -> None:
        self.is_up = False
        self.is_begun = False
        self.life = 0
        self.party = ""
        self.disks: list[SlowDisk] = []
        self.lines: list[Line] = []
        self.fail_commit: int | None = None
        self.refuse_commit = False
        self._simulation = simulation
        self._loop = simulation.loop
        self._chance = simulation.branch("hub")
        self.path = simulation.folder / "hub.db"
        self.path.write_bytes(empty_file())
        self._names = 0
        self._copies = 0
        self._synced: Path | None = None

    def start(self) -> None:
        if self.is_begun:
            return
        self.is_begun = True
        self.life += 1
        self.party = f"hub#{self.life}"
        self.disks, self.lines, self._synced = [], [], None
        self._stopping = asyncio.Event()
        self._serving: dict[asyncio.Task[None], None] = {}
        self._polls: dict[asyncio.Task[Poll], None] = {}
        self._simulation.note(f"{self.party} starts")
        self.task = self._loop.start(self.party, self._run())

    async def _run(self) -> None:
        simulation = self._simulation
        self.store = simulation.store_class(simulation, self.path, self._rules(), self._open_disk)
        await self.store.open()
        authority = Tokens(simulation.now)
        self.hub = simulation.hub_class(self.store, authority, self._limits(), simulation.now)
        async with self.hub.running():
            self.is_up = True
            await self._stopping.wait()
            await self.hub.stop()
            await self._part()
        self.is_up = False
        await self.store.close()

    async def _part(self) -> None:
        if self._serving:
            await asyncio.wait(self._serving, timeout=10)
        for session in tuple(self.hub.sessions):
            session.link.abort()
        for polling in tuple(self._polls):
            polling.cancel()
        if self._serving or self._polls:
            await asyncio.wait((*self._serving, *self._polls), timeout=1)
        assert not self._serving, "a session outlives its line"

    def _rules(self) -> Rules:
        return Rules(
            now=self._simulation.now,
            new_log_id=self._new_log_id,
            new_epoch=self._new_log_id,
            max_ahead=60_000,
            max_object_bytes=MAX_OBJECT_BYTES,
            max_depth=64,
            retention=self._simulation.mood.keeps,
        )

    def _new_log_id(self) -> str:
        self._names += 1
        return f"log-{self._names}"

    def _limits(self) -> Limits:
        sizes = self._simulation.mood.sizes
        return Limits(
            max_object_bytes=MAX_OBJECT_BYTES,
            max_log_pushes=sizes.log_pushes,
            send_buffer_bytes=sizes.send_buffer,
            max_pushes_under_way=sizes.under_way,
        )

    async def _open_disk(self, connect: Callable[[], sqlite3.Connection]) -> SlowDisk:
        disk = SlowDisk(connect(), self._chance, self._on_sync)
        self.disks.append(disk)
        return disk

    @contextmanager
    def striking(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Let the commit fail that comes now, if one has to: after so many steps of SQLite's."""
        steps, self.fail_commit = self.fail_commit, None
        if steps is not None:
            connection.set_progress_handler(self.disks[0]._striker(steps), 1)
        if self.refuse_commit:
            connection.set_authorizer(self._refuse_once)
        try:
            yield
        finally:
            if steps is not None:
                connection.set_progress_handler(None, 0)
            connection.set_authorizer(None)

    def _refuse_once(self, action: int, what: str | None, *_: object) -> int:
        """SQLite says no to the first COMMIT, and the transaction stays as it is."""
        if action != sqlite3.SQLITE_TRANSACTION or what != "COMMIT" or not self.refuse_commit:
            return sqlite3.SQLITE_OK
        self.refuse_commit = False
        self._simulation.account.happened["commit refused"] += 1
        return sqlite3.SQLITE_DENY

    def _on_sync(self) -> None:
        """What the disk holds at the last sync is what a power cut leaves."""
        if self._simulation.mood.has_power_cuts:
            self._synced = copy_file(self.path, self.path.with_suffix(f".{self.life}-synced"))

    def serve(self, line: Line) -> None:
        self.lines.append(line)
        task = self._loop.start(self.party, self.hub.serve(line))
        self._serving[task] = None
        done = partial(self._served, self._serving)
        task.add_done_callback(done, context=self._loop.context_of(self.party))

    def poll(self, body: bytes) -> asyncio.Task[Poll]:
        """As over HTTP: the hub goes on with it though nobody may wait for the answer any more."""
        task = self._loop.start(self.party, poll(self.hub, body))
        self._polls[task] = None
        done = partial(_polled, self._polls)
        task.add_done_callback(done, context=self._loop.context_of(self.party))
        return task

    def _served(self, serving: dict[asyncio.Task[None], None], task: asyncio.Task[None]) -> None:
        del serving[task]
        task.result()

    async def stop(self) -> None:
        """As on SIGTERM."""
        if self.is_up:
            self._simulation.note(f"{self.party} stops")
            self._stopping.set()
            task, party = self.task, self.party
            await asyncio.wait([task], timeout=60)
            if self.party != party or not self.is_begun:
                return
            assert task.done(), "the hub does not stop"
            task.result()
            assert not self._loop.tasks_of(party), "a task outlives its hub"
            self.is_begun = False

    def kill(self, *, power: bool = False) -> None:
        """As on `kill -9`; or the power is cut, and what was not synced is gone."""
        if not self.is_begun or self.task.done():
            return
        self._simulation.note(f"{self.party} dies, power {not power}")
        self._simulation.account.happened["power cut" if power else "hub killed"] += 1
        self._loop.kill(self.party)
        self._simulation.account.hub_died()
        self.is_up = self.is_begun = False
        for line in self.lines:
            line.cut(0.0, self._simulation.after_death())
        self._leave_file_behind(power=power)

    # Copies of its file

    def back_up(self) -> Path:
        """As `mobync-hub backup` does, be the hub up or not."""
        to = self._new_path("copy")
        copying.back_up(self.path, to, _unheard)
        return to

    def users_in(self, copy: Path) -> set[str]:
        """Of whom a copy knows: a user who came later begins anew where the hub is restored."""
        with closing(connect(copy, "ro&immutable=1")) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM users")}

    def restore(self, copy: Path) -> None:
        """As `mobync-hub restore` does, when the hub is down."""
        now = self._simulation.now()
        copying.restore(copy, self.path, _unheard, self._new_log_id, now)

    def put_back(self, copy: Path) -> None:
        """Somebody puts a copy in the place of the file, and says nothing."""
        self.path = copy_file(copy, self._new_path("put-back"))

    def _new_path(self, name: str) -> Path:
        self._copies += 1
        return self.path.with_name(f"{name}-{self._copies}.db")

    def _leave_file_behind(self, *, power: bool) -> None:
        """Closing the connections would move the WAL into the file; a dead process does not."""
        synced = self._synced if power else None
        left = copy_file(synced or self.path, self.path.with_name(f"hub-{self.life}.db"))
        for disk in self.disks:
            disk.die()
            disk.connection.close()
        self.store._lock.release()
        self.path = left


def _unheard(_what: str, _done: int, _total: int) -> None:
    """Nobody looks at the progress bar."""


def _polled(polls: dict[asyncio.Task[Poll], None], task: asyncio.Task[Poll]) -> None:
    """What became of it is for who polled to hear, if that one is still there."""
    del polls[task]
    if not task.cancelled():
        task.exception()
