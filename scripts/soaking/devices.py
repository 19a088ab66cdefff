"""Devices that lose their lines: each goes on where it stood, and hears each clock once, in order.

What a device heard outlives its links: `clock`, `log_id` and `half` are what it says in its next
`hello` (docs/protocol.md, section 6). A page of objects moves it on by many clocks at once; all
others must come one by one, live and in a catch-up.
"""

import asyncio
import re
import time
from typing import Any, Final

import msgspec
import orjson
from websockets.uri import WebSocketURI

from scripts.loading.faults import Faults, LoadError
from scripts.loading.link import Link, connect
from scripts.loading.pushes import Templates

REPORT: Final = 100
"""Clocks from one `received` to the next."""

LEVEL_SECONDS: Final = 60.0
"""That a device may take to be level. A soak is about growth: on a machine that has other things to
do a hub is slow, which is no fault of it."""

_CLOCK: Final = re.compile(rb'"logical_clock":(\d+)')
_PUSH_ID: Final = re.compile(rb'"push_id":(\d+)')
_OUTCOMES: Final = (b'"lost":', b'"rejected":')


class Account(msgspec.Struct):
    """What the devices went through, counted over all of them."""

    pushed: int = 0
    acked: int = 0
    heard: int = 0
    pages: int = 0
    came: int = 0
    cut: int = 0
    left: int = 0
    replaced: int = 0
    began_anew: int = 0
    slow: int = 0
    fell_behind: int = 0
    visitors: int = 0


class Device:
    """A device that listens."""

    def __init__(
        self, uri: WebSocketURI, user: str, name: str, faults: Faults, account: Account
    ) -> None:
        self.user = user
        self.name = name
        self.clock = 0
        self.account = account
        self.link: Link | None = None
        self._uri = uri
        self._faults = faults
        self._log_id: str | None = None
        self._half: dict[str, int] | None = None
        self._ready = asyncio.Event()

    # Coming and going

    async def come(self) -> None:
        """Connect and be caught up; an older link of this device is replaced by it.

        Raises:
            LoadError: the hub took too long.

        """
        link = await connect(self._uri, self.user, self.name, self._faults, narrow=True)
        older, self.link = self.link, link
        if older is not None:
            older.give_up()
        self._ready.clear()
        link.take = self._take
        link.send(self._hello())
        self.account.came += 1
        try:
            async with asyncio.timeout(LEVEL_SECONDS):
                await self._ready.wait()
        except TimeoutError:
            raise LoadError(
                f"{self.user}/{self.name} was not level in {LEVEL_SECONDS:.0f} s: at clock "
                f"{self.clock}, half-way {self._half}, {link.how_it_is()}"
            ) from None

    def cut(self) -> None:
        """Lose the line."""
        link, self.link = self.link, None
        if link is not None:
            link.take = _ignore
            link.cut()

    async def leave(self) -> None:
        """Say goodbye."""
        link, self.link = self.link, None
        if link is not None:
            link.take = _ignore
            await link.leave()

    def forget(self) -> None:
        """Begin anew, as a device that was reinstalled."""
        self.clock, self._log_id, self._half = 0, None, None

    def _hello(self) -> bytes:
        hello = {"type": "hello", "token": self.user, "device": self.name}
        place = {"logical_clock": self.clock, "log_id": self._log_id, "half": self._half}
        return orjson.dumps(hello | place)

    # What it hears

    def _take(self, payload: bytes) -> None:
        kind = payload[9 : payload.index(b'"', 9)]
        match kind:
            case b"changes":
                self._next(payload)
                self.account.heard += 1
            case b"ack":
                self._next(payload)
                self._acked(payload)
            case b"welcome" | b"snapshot" | b"ready":
                getattr(self, f"_take_{kind.decode()}")(orjson.loads(payload))
            case _:
                self._fault(payload)

    def _next(self, payload: bytes) -> None:
        found = _CLOCK.search(payload)
        clock = int(found[1]) if found else 0
        if clock != self.clock + 1:
            self._fault(payload)
        self.clock = clock
        if clock % REPORT == 0 and self._ready.is_set() and self.link is not None:
            self.link.send(b'{"type":"received","logical_clock":%d}' % clock)

    def _acked(self, payload: bytes) -> None:
        self._fault(payload)  # a listener pushes nothing

    def _take_welcome(self, welcome: dict[str, Any]) -> None:
        if welcome["reset"]:
            self._fault(orjson.dumps(welcome))
        self._log_id = welcome["log_id"]

    def _take_snapshot(self, page: dict[str, Any]) -> None:
        if page["logical_clock"] < self.clock:
            self._fault(orjson.dumps(page))
        level = self._half["from"] if self._half else self.clock
        self.clock = page["logical_clock"]
        self._half = {"from": level, "head": page["head"]}
        self.account.pages += 1

    def _take_ready(self, ready: dict[str, Any]) -> None:
        """The first on a link ends its catch-up; each further one, a falling behind."""
        hole = self._half is None and ready["logical_clock"] != self.clock
        if hole or ready.get("outcomes"):
            self._fault(orjson.dumps(ready))
        self.clock, self._half = ready["logical_clock"], None
        self.account.fell_behind += self._ready.is_set()
        self._ready.set()

    def _fault(self, payload: bytes) -> None:
        self._faults.add(
            f"{self.user}/{self.name}: after clock {self.clock} came {payload[:200]!r}"
        )


class Writer(Device):
    """A device that pushes, online or not: what is not acked goes out again when it comes back."""

    def __init__(
        self,
        uri: WebSocketURI,
        user: str,
        name: str,
        faults: Faults,
        account: Account,
        frames: Templates,
    ) -> None:
        super().__init__(uri, user, name, faults, account)
        self.unacked: dict[int, bytes] = {}
        self._frames = frames
        self._push_id = 0
        self._timestamp = 0

    def push(self) -> None:
        """Create the next object, or, when all are there, update it."""
        push_id = self._push_id = self._push_id + 1
        made = len(self._frames.creates)
        kind = self._frames.creates if push_id <= made else self._frames.updates
        self._timestamp = max(self._timestamp + 1, time.time_ns() // 1_000_000)
        frame = kind[push_id % made] % (
            push_id, push_id, self.clock, self._timestamp, time.perf_counter_ns()
        )  # fmt: skip
        self.unacked[push_id] = frame
        self.account.pushed += 1
        if self.link is not None and self._ready.is_set():
            self.link.send(frame)

    def forget(self) -> None:
        """A writer keeps what it has: to begin anew it would need a name of its own."""

    def _acked(self, payload: bytes) -> None:
        found = _PUSH_ID.search(payload)
        known = found and self.unacked.pop(int(found[1]), None)
        if known is None or any(outcome in payload for outcome in _OUTCOMES):
            self._fault(payload)
        self.account.acked += 1

    def _take_ready(self, ready: dict[str, Any]) -> None:
        """Drop what is stored already, and send the rest again under the same ids."""
        again = not self._ready.is_set()
        super()._take_ready(ready)
        for push_id in [name for name in self.unacked if name <= ready["last_push_id"]]:
            del self.unacked[push_id]
            self.account.acked += 1
        if again and self.link is not None:
            for frame in self.unacked.values():
                self.link.send(frame)


def _ignore(_payload: bytes) -> None:
    """What an old link still says is of no interest."""
