"""A hub with its store, devices, lines between them, and everything that can go wrong."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from hub.auth import DevAuthority
from hub.hub import Hub
from hub.limits import Limits
from hub.store.ledger import Rules
from protocol.messages import (
    Error,
    Push,
    Received,
    decode_from_device,
    encode,
)
from tests.folders import IN_MEMORY
from tests.machine.days import STEP, Days
from tests.machine.disk import Disk
from tests.machine.files import Backup, carry_histories_on, empty_file
from tests.machine.line import Line
from tests.machine.phone import Phone, Sketch
from tests.machine.polls import Polls
from tests.machine.sizes import MAX_OBJECT_BYTES, NORMAL, Sizes
from tests.machine.stillness import StillLoop
from tests.machine.watched import Watched
from tests.machine.witness import Witness

T = TypeVar("T")

START = 1_790_000_000_000
MINUTE = 60_000
ALL = 10**9
"""More frames than there are."""
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
        self.phones: dict[str, Phone] = {}
        self.ghosts: list[Line] = []
        self.hub: Hub | None = None
        self.disks: list[Disk] = []
        self.backup: Backup | None = None
        self.loop = StillLoop()
        self.troubles: list[BaseException] = []
        self._dying = False
        self.witness = Witness(self)
        self.polls = Polls(self)
        self.days = Days(self)
        self.numbers = itertools.count(1)
        self._cleaning = ExitStack()
        self._prepare()

    def _prepare(self) -> None:
        self._cleaning.callback(self.loop.close)
        folder = tempfile.TemporaryDirectory(prefix="machine-", dir=IN_MEMORY)
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
        if self.troubles:
            raise self.troubles[0]

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do what needs neither a frame nor time; fail if it does."""
        task = self.loop.create_task(work)
        self.settle()
        if not task.done():
            raise AssertionError(f"{work} waits for what never comes")
        return task.result()

    def _on_trouble(self, _loop: object, context: dict[str, Any]) -> None:
        if not self._dying:
            self.troubles.append(context.get("exception") or AssertionError(context["message"]))

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
        unheard = self.witness.unheard
        self._kill_hub()
        self._cut_all()
        self.start_hub()
        self.witness.observe_unheard(unheard)
        self.witness.check_log()

    def back_up(self) -> None:
        """The operator copies the file, as a backup does."""
        if self.hub is not None:
            self.backup = Backup(
                self._copy_file(),
                {user: record.copy() for user, record in self.witness.records.items()},
                {(p.user, p.name): p.reported for p in self.phones.values()},
            )

    def restore_hub(self, *, by_hand: bool) -> None:
        """The operator goes back to the backup: as one should, or by putting the file back."""
        if self.hub is None or self.backup is None:
            return
        backup, self.backup = self.backup, None
        self._kill_hub()
        self._cut_all()
        self.path, self.witness.records = backup.path, backup.records
        if not by_hand:
            carry_histories_on(self.path, lambda: f"log-{next(self.numbers)}", self.now)
        for phone in self.phones.values():
            record = self.witness.record(phone.user)
            phone.leave_history(backup.reported.get((phone.user, phone.name), 0), record)
        self.happened["hub put back by hand" if by_hand else "hub restored"] += 1
        self.start_hub()
        self.witness.check_log()

    def _kill_hub(self) -> None:
        self._dying = True
        self.troubles.clear()
        self.witness.greeted.clear()
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
        self.witness.record(user)
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
        greet = partial(self.witness.greet, phone.user, phone.name)
        line = Line(self.sizes.send_buffer, greet, self.loop.time())
        self.serve(self.hub.serve(line))
        phone.say_hello(line)

    def serve(self, work: Coroutine[Any, Any, None]) -> None:
        """A connection or a request of which the hub must be rid in the end."""
        task = self.loop.create_task(work)
        self._serving.add(task)
        task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        if not task.cancelled() and task.exception() is not None and not self._dying:
            self.troubles.append(task.exception())  # type: ignore[arg-type]  # it is not None

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
                self.witness.check(phone)
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
        self.witness.check_all()
