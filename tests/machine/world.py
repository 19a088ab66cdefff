"""A hub with its store, devices, lines between them, and everything that can go wrong."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sqlite3
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from hub.auth import DevAuthority
from hub.hub import Hub
from hub.limits import Limits
from hub.store.interface import Incoming, Stored
from hub.store.ledger import Rules
from protocol.messages import (
    Error,
    Push,
    Received,
    decode_from_device,
    encode,
)
from tests.machine.days import STEP, Days
from tests.machine.disk import Disk
from tests.machine.files import Backup, carry_histories_on, empty_file
from tests.machine.keeping import Gone
from tests.machine.line import Line
from tests.machine.phone import Phone, Sketch, server_state, shown
from tests.machine.polls import Polls
from tests.machine.record import Record
from tests.machine.sizes import NORMAL, Sizes
from tests.machine.stillness import StillLoop
from tests.machine.watched import Watched

T = TypeVar("T")

START = 1_790_000_000_000
MINUTE = 60_000
ALL = 10**9
"""More frames than there are."""
MAX_OBJECT_BYTES = 400
FOLD = 0.3
"""Seconds after which the objects are no longer behind the log."""
LONG = 90.0
"""Seconds after which a silent or a stalled peer is cut off."""


class World:
    """Everything, in one thread, where nothing moves unless it is told to."""

    def __init__(self, sizes: Sizes = NORMAL) -> None:
        self.sizes = sizes
        self.now = START
        self.happened: Counter[str] = Counter()
        self.records: dict[str, Record] = {}
        self.phones: dict[str, Phone] = {}
        self.ghosts: list[Line] = []
        self.greeted: dict[tuple[str, str], Line] = {}
        self.hub: Hub | None = None
        self.disks: list[Disk] = []
        self.backup: Backup | None = None
        self.unheard: Sequence[Incoming] = ()
        self.loop = StillLoop()
        self._troubles: list[BaseException] = []
        self._dying = False
        self.polls = Polls(self)
        self.days = Days(self)
        self.numbers = itertools.count(1)
        self._cleaning = ExitStack()
        self._prepare()

    def _prepare(self) -> None:
        self._cleaning.callback(self.loop.close)
        folder = tempfile.TemporaryDirectory(prefix="machine-")
        self._folder = Path(self._cleaning.enter_context(folder))
        sizes = self.sizes
        for name, value in (
            ("hub.catchup.PAGE_BYTES", sizes.page_bytes),
            ("hub.catchup.LAST_STEP", sizes.last_step),
            ("hub.store.sqlite.FOLD_ROWS", sizes.fold_rows),
            ("hub.store.retiring.RETIRE_SECONDS", FOLD),
            ("hub.store.retiring.PAUSE_SECONDS", STEP),
            ("hub.store.retiring.STEP_ROWS", 2),
        ):
            self._cleaning.enter_context(patch(name, value))
        self.loop.set_exception_handler(self._on_trouble)
        self.path = self._folder / "hub.db"
        self.path.write_bytes(empty_file())
        self.start_hub()

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_error: object) -> None:
        """Whatever still runs is killed, so that a failure is told as it was."""
        with self._cleaning:
            if self.hub is not None:
                self._kill_hub()

    # Time

    def pass_time(self, seconds: float) -> None:
        self.now += round(seconds * 1000)
        self.loop.pass_time(seconds)
        self.settle()

    def settle(self) -> None:
        """Let everything run until it waits for a frame, a disk or the time."""
        self.loop.run_until_complete(self.loop.settle())
        if self._troubles:
            raise self._troubles[0]

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do what needs neither a frame nor time; fail if it does."""
        task = self.loop.create_task(work)
        self.settle()
        if not task.done():
            raise AssertionError(f"{work} waits for what never comes")
        return task.result()

    def _on_trouble(self, _loop: object, context: dict[str, Any]) -> None:
        if not self._dying:
            self._troubles.append(context.get("exception") or AssertionError(context["message"]))

    # The hub

    def start_hub(self) -> None:
        if self.hub is not None:
            return
        self.disks = []
        self.store = Watched(self.path, self._rules(), self._open_disk, world=self)
        self.do(self.store.open())
        self.hub = Hub(self.store, DevAuthority(), self._limits(), lambda: self.now)
        self._stopping = asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()
        self._running = self.loop.create_task(self._run_hub(self.hub))
        self.settle()

    def _rules(self) -> Rules:
        return Rules(
            now=lambda: self.now,
            new_log_id=lambda: f"log-{next(self.numbers)}",
            new_epoch=lambda: f"start-{next(self.numbers)}",
            max_ahead=MINUTE,
            max_object_bytes=MAX_OBJECT_BYTES,
            max_depth=64,
            retention=self.sizes.keeps,
        )

    def _limits(self) -> Limits:
        return Limits(
            max_object_bytes=MAX_OBJECT_BYTES,
            max_log_pushes=self.sizes.log_pushes,
            send_buffer_bytes=self.sizes.send_buffer,
            max_pushes_under_way=self.sizes.under_way,
        )

    async def _run_hub(self, hub: Hub) -> None:
        async with hub.running():
            await self._stopping.wait()

    async def _open_disk(self, connect_it: Callable[[], sqlite3.Connection]) -> Disk:
        disk = Disk(connect_it())
        self.disks.append(disk)
        return disk

    def stop_hub(self, down: int = 0) -> None:
        """As on SIGTERM: what is under way finishes; so many frames still reach each device."""
        if self.hub is None:
            return
        self.release_disks()
        self.do(self.hub.stop())
        for phone in self.phones.values():
            self.deliver(phone, up=0, down=down)
        for session in tuple(self.hub.sessions):
            session.link.abort()
        self.settle()
        assert not self._serving, "a session outlives its line"
        self._stopping.set()
        self.settle()
        self._running.result()
        self.do(self.store.close())
        self.hub = None
        self._cut_all()

    def crash_hub(self, *, after_commit: bool = False) -> None:
        """As on `kill -9`, and started again: what the disk has is all that is left.

        `after_commit`: the last that the writer did is stored, but nobody has heard of it.
        """
        if self.hub is None:
            return
        if after_commit:
            self.disks[0].mute = True
            for phone in self.phones.values():
                self.deliver(phone, up=ALL, down=0)
        unheard = self.unheard
        self._kill_hub()
        self._cut_all()
        self.start_hub()
        self._observe_unheard(unheard)
        self.check_log()

    def back_up(self) -> None:
        """The operator copies the file, as a backup does."""
        if self.hub is not None:
            self.backup = Backup(
                self._copy_file(),
                {user: record.copy() for user, record in self.records.items()},
                {phone.name: phone.reported for phone in self.phones.values()},
            )

    def restore_hub(self, *, by_hand: bool) -> None:
        """The operator goes back to the backup: as one should, or by putting the file back."""
        if self.hub is None or self.backup is None:
            return
        backup, self.backup = self.backup, None
        self._kill_hub()
        self._cut_all()
        self.path, self.records = backup.path, backup.records
        if not by_hand:
            carry_histories_on(self.path, lambda: f"log-{next(self.numbers)}", self.now)
        for phone in self.phones.values():
            record = self.record(phone.user)
            phone.leave_history(backup.reported.get(phone.name, 0), record)
        self.happened["hub put back by hand" if by_hand else "hub restored"] += 1
        self.start_hub()
        self.check_log()

    def _kill_hub(self) -> None:
        self._dying = True
        self._troubles.clear()
        self.greeted.clear()
        for disk in self.disks:
            disk.die()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.settle()
        self._dying = False
        self.hub = None
        self._leave_file_behind()

    def _cut_all(self) -> None:
        for line in (*self.ghosts, *(phone.line for phone in self.phones.values() if phone.line)):
            line.cut()

    def _leave_file_behind(self) -> None:
        """Closing the connections would move the WAL into the file; a dead process does not."""
        left = self._copy_file()
        for disk in self.disks:
            disk.connection.close()
        self.store._lock.release()
        self.path = left

    def _copy_file(self) -> Path:
        left = self._folder / f"hub-{next(self.numbers)}.db"
        for suffix in ("", "-wal"):
            if Path(f"{self.path}{suffix}").exists():
                shutil.copyfile(f"{self.path}{suffix}", f"{left}{suffix}")
        return left

    def observe(self, group: Sequence[Incoming], stored: Sequence[Stored | None]) -> None:
        self.happened["group of several"] += len(group) > 1
        self.happened["group of two users"] += len({incoming.user for incoming in group}) > 1
        for incoming, what in zip(group, stored, strict=True):
            self._check_fence(incoming, what)
            self._current(incoming.user).observe(incoming, what, self.now)

    def _current(self, user: str) -> Record:
        """A user's record, which is told in which history the hub decides."""
        record = self.record(user)
        record.history = self.store.history_of(user)
        return record

    def _check_fence(self, incoming: Incoming, stored: Stored | None) -> None:
        """Nothing that an older socket had under way is stored after a newer one's welcome."""
        line = self.greeted.get((incoming.user, incoming.device))
        if line is not None and stored is not None:
            assert incoming.push_id in line.pushed

    def _observe_unheard(self, group: Sequence[Incoming]) -> None:
        """A group that was being committed at the end is there as a whole, or not at all."""
        logs = {
            user: deque(row for row in self._rows(user) if row.clock > self.record(user).head)
            for user in {incoming.user for incoming in group}
        }
        if not any(logs.values()):
            return
        self.happened["stored unheard"] += 1
        for incoming in group:
            log = logs[incoming.user]
            row = log[0] if log else None
            if self._current(incoming.user).observe_row(incoming, row, self.now):
                log.popleft()

    def observe_gone(self, found: Mapping[str, Gone]) -> None:
        """What the store has let go; the task that did it is not to die of what the test says."""
        try:
            for user, what in found.items():
                self.record(user).let_go(what, self.now)
        except AssertionError as error:
            self._troubles.append(error)

    def record(self, user: str) -> Record:
        if user not in self.records:
            self.records[user] = Record(MAX_OBJECT_BYTES, self.happened, self.sizes.keeps)
        return self.records[user]

    # The disk

    def hold_disk(self, which: int) -> None:
        if self.hub is not None:
            self.disks[which].held = True

    def release_disks(self) -> None:
        if self.hub is not None:
            for disk in self.disks:
                disk.release()
            self.settle()

    def fail_next_write(self, steps: int) -> None:
        if self.hub is not None:
            self.disks[0].interrupt_after = steps

    # Devices

    def add_phone(self, user: str, name: str, place: str = "") -> Phone:
        self.record(user)
        phone = self.phones[place or f"{user}/{name}"] = Phone(user, name, self.happened)
        return phone

    def edit(self, phone: Phone, *sketches: Sketch) -> None:
        names = [f"{phone.name}-{next(self.numbers)}" for _ in sketches]
        phone.edit(list(sketches), self.now, names)
        phone.speak()

    def connect(self, phone: Phone) -> None:
        """A new line; an older one is left as it is, and the hub may still believe in it."""
        self.drop(phone)
        if self.hub is None:
            return
        line = Line(self.sizes.send_buffer, partial(self._greet, phone.user, phone.name))
        self.serve(self.hub.serve(line))
        phone.say_hello(line)

    def serve(self, work: Coroutine[Any, Any, None]) -> None:
        """A connection or a request of which the hub must be rid in the end."""
        task = self.loop.create_task(work)
        self._serving.add(task)
        task.add_done_callback(self._served)

    def _greet(self, user: str, device: str, line: Line) -> None:
        self.greeted[user, device] = line
        assert line.hello is not None
        keeping = self.record(user).keeping
        self.happened["reset below the line"] += keeping.check_reset(line.hello, line.welcome)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        if not task.cancelled() and task.exception() is not None and not self._dying:
            self._troubles.append(task.exception())  # type: ignore[arg-type]  # it is not None

    def drop(self, phone: Phone) -> None:
        """The device gives its line up; the hub does not know."""
        if phone.line is not None:
            self.ghosts = [*self.ghosts[-3:], phone.line]
            phone.line = None

    def deliver(self, phone: Phone, up: int = ALL, down: int = ALL, *, save: bool = True) -> int:
        """Carry frames both ways; how many."""
        line = phone.line
        if line is None:
            return 0
        moved = line.carry_up(up)
        self.settle()
        while down > 0 and (frame := line.carry_down()) is not None:
            # A hub that ends a line before its welcome has not said which history it has.
            if not isinstance(phone.hear(frame, self.now), Error):
                self.check(phone)
            down -= 1
            moved += 1
        if save:
            phone.save()
        if line.over:
            line.cut()
            phone.hang_up()
        phone.speak()
        self.settle()
        return moved

    def cut(self, phone: Phone, up: int, down: int, *, save: bool) -> None:
        """The line breaks: so many frames still come through."""
        line = phone.line
        if line is not None:
            self.deliver(phone, up, down, save=save)
            line.cut()
            phone.line = None
            self.settle()

    def ghost_speaks(self, line: Line, up: int) -> None:
        """What a dead socket still had under way arrives at the hub."""
        if line.carry_up(up):
            self.happened["ghost spoke"] += 1
        self.settle()

    def say_twice(self, phone: Phone) -> None:
        """The last push on its way is sent once more."""
        if phone.line is not None and phone.line.up:
            frame = phone.line.up[-1]
            if isinstance(decode_from_device(frame), Push):
                phone.line.up.append(frame)

    def report(self, phone: Phone) -> None:
        """Say how far everything is safe, as a device does that is not half-way."""
        position = phone.kept.position
        if phone.line is not None and phone.replica.ready and position.half is None:
            phone.reported = max(phone.reported, position.clock)
            phone.line.speak(encode(Received(position.clock)))

    # What must hold at every moment

    def check(self, phone: Phone) -> None:
        """A device that is not half-way holds the fold of the log up to its clock."""
        record, position = self.record(phone.user), phone.replica.position
        held = server_state(phone)
        phone.line_seen = record.lineage[: phone.level]
        if position.half is None:
            assert held == record.states[position.clock]
            return
        for key, clock in record.changed[record.head].items():
            if clock <= position.clock:
                assert held.get(key) == record.states[record.head][key]

    # What must hold once all is said

    def calm(self) -> None:
        """Everybody comes online and hears everything; then all agree and nothing is missing."""
        self.release_disks()
        self.start_hub()
        for disk in self.disks:
            disk.interrupt_after = None
        for _ in range(100):
            for phone in self.phones.values():
                if phone.line is None:
                    self.connect(phone)
            moved = sum(self.deliver(phone) for phone in self.phones.values())
            if not moved and all(phone.line for phone in self.phones.values()):
                break
        else:
            raise AssertionError("it does not come to rest")
        self.happened["calm"] += 1
        self.check_all()

    def check_all(self) -> None:
        self.check_log()
        for phone in self.phones.values():
            record = self.record(phone.user)
            self._check_level(phone, record)
            record.check_claims(phone.kept.claims)
            record.check_told(phone.name, phone.own_setbacks(), phone.exempt)

    def _check_level(self, phone: Phone, record: Record) -> None:
        assert phone.line is not None
        assert phone.replica.ready
        assert phone.replica.pending == 0
        assert phone.replica.position.clock == record.head
        assert phone.replica.position.half is None
        assert shown(phone) == record.states[-1]
        clocks = {key: phone.kept.objects[key].clock for key in record.states[-1]}
        assert clocks == record.changed[-1]

    def check_log(self) -> None:
        """What the store says of itself is what the model says."""
        for user, record in self.records.items():
            record.check_log(self._rows(user))
            record.check_objects(self.do(self.store.objects(user, record.keys)))
            assert self.do(self.store.user(user)).head == record.head
            assert self.do(self.store.first_clock(user)) == record.keeping.gone.dropped + 1
            for name in {phone.name for phone in self.phones.values() if phone.user == user}:
                standing = self.do(self.store.device(user, name))
                assert standing.last_push_id == record.model.last_push_id(name)

    def _rows(self, user: str) -> list[Stored]:
        return list(self.do(self.store.log(user, 0, 10**9)))
