"""A device that pushes in a closed loop, keeps what it hears, and comes back when it is closed."""

import asyncio
import contextlib
import sqlite3
import time
from enum import Enum, auto
from pathlib import Path
from typing import Final

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from protocol import closing
from tests.crash.processes import PlainDevice, a_device
from tests.hub.fakes import Frame, create

TEXT: Final = "x" * 4000
PAUSE_SECONDS: Final = 0.02
"""Between two tries; a device waits longer."""
ROUND_SECONDS: Final = 30.0


class Went(Enum):
    """How a round of pushing ended."""

    DONE = auto()
    REFUSED = auto()
    """The hub closed with 1013 as often as the device had tries."""
    GONE = auto()
    """The hub is no more."""


class Writer:
    """`heard` is the device of each clock from 1 on and its push id, `acked` clocks by push ids."""

    def __init__(self, name: str = "phone", user: str = "ada") -> None:
        self.name = name
        self.user = user
        self.heard: list[tuple[str, int]] = []
        self.acked: dict[int, int] = {}
        self.refusals = 0
        self._log_id: str | None = None

    def twin(self, name: str) -> "Writer":
        """Another device of the user, that is where this one is."""
        twin = Writer(name, self.user)
        twin.heard = [(self.name, 0)] * len(self.heard)
        twin._log_id = self._log_id
        return twin

    async def push(self, url: str, until: int, tries: int = 5) -> Went:
        """Push up to the push id `until`."""
        async with asyncio.timeout(ROUND_SECONDS):
            for _try in range(tries):
                try:
                    return await self._connected(url, until)
                except (OSError, InvalidMessage, InvalidHandshake):
                    return Went.GONE
                except ConnectionClosed as closed:
                    if _is_farewell(closed):
                        return Went.GONE
                    self.refusals += 1
                    await asyncio.sleep(PAUSE_SECONDS)
        return Went.REFUSED

    async def _connected(self, url: str, until: int) -> Went:
        clock, log_id = len(self.heard), self._log_id
        async with a_device(url, self.name, self.user, clock=clock, log_id=log_id) as device:
            welcome = await _hear(device)
            assert welcome["type"] == "welcome"
            assert welcome["reset"] is False
            assert welcome["last_push_id"] >= max(self.acked, default=0), "an acked push is lost"
            self._log_id = welcome["log_id"]
            while (frame := await _hear(device))["type"] != "ready":
                self._take(frame)
            for push_id in range(max(self.acked, default=0) + 1, until + 1):
                diff = create(f"t{push_id % 3}", n=push_id, text=TEXT)
                await device.push(push_id, {**diff, "id": f"e{push_id}"})
                while push_id not in self.acked:
                    self._take(await _hear(device))
        return Went.DONE

    def _take(self, frame: Frame) -> None:
        assert frame["logical_clock"] == len(self.heard) + 1, "a clock came twice, or was left out"
        if frame["type"] == "ack":
            self.heard.append((self.name, frame["push_id"]))
            self.acked[frame["push_id"]] = frame["logical_clock"]
        else:
            assert frame["type"] == "changes"
            self.heard.append((frame["device"], 0))


def _is_farewell(closed: ConnectionClosed) -> bool:
    """Whether the hub is gone, rather than one whose store failed."""
    code = closed.rcvd.code if closed.rcvd else None
    assert code in (closing.SERVER_BUSY.code, closing.SHUTTING_DOWN.code, None), closed
    return code != closing.SERVER_BUSY.code


async def _hear(device: PlainDevice) -> Frame:
    """The next frame but for the error that goes before a close."""
    frame = await device.hear()
    while frame["type"] == "error":
        frame = await device.hear()
    return frame


def wait_until_folded(data: Path, writer: Writer, seconds: float = ROUND_SECONDS) -> bool:
    """Whether the objects come to where the log is; the hub folds behind its acks."""
    query = "SELECT head FROM users WHERE name = ?"
    deadline = time.monotonic() + seconds
    with reading(data) as file:
        while file.execute(query, (writer.user,)).fetchone() != (len(writer.heard),):
            if time.monotonic() > deadline:
                return False
            time.sleep(PAUSE_SECONDS / 4)
    return True


def reading(data: Path) -> contextlib.closing[sqlite3.Connection]:
    """A connection that, as the last to close, does not move the WAL into the file."""
    return contextlib.closing(sqlite3.connect(f"{data.as_uri()}?mode=ro", uri=True))


def check_file(data: Path, writer: Writer) -> None:
    """The file is sound, its clocks have no hole, and each acked push is there, and once."""
    with reading(data) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = file.execute(
            "SELECT clock, devices.name, push_id FROM log JOIN devices USING (device_no) "
            "JOIN users ON users.user_no = log.user_no WHERE users.name = ? ORDER BY clock",
            (writer.user,),
        ).fetchall()
    assert [clock for clock, _name, _push in rows] == list(range(1, len(rows) + 1))
    stored = {(name, push_id): clock for clock, name, push_id in rows}
    assert len(stored) == len(rows), "a push is stored twice"
    for push_id, clock in writer.acked.items():
        assert stored.get((writer.name, push_id)) == clock, f"push {push_id} was acked, and is lost"
