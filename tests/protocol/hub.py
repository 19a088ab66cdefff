"""A hub of one user in memory that says what sections 5 and 6 say, message by message.

Whoever holds a `Session` decides what reaches the device and when: `out` holds the frames that
are on their way, and `go_on` makes the next one of the catch-up, so that a push of another device
can come between any two, and the line can drop anywhere.
"""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Raw

from protocol.diffs import Key, Object, Tombstone
from protocol.history import Continued
from protocol.messages import (
    Ack,
    Changes,
    FromHub,
    Half,
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
    decode_from_hub,
    encode,
    encode_diffs,
)
from tests.protocol.ledger import NOW, Ledger

if TYPE_CHECKING:
    from collections.abc import Generator


LAST = "\U0010ffff"
"""Sorts after every model."""


class Stored(NamedTuple):
    """A push in the log."""

    clock: int
    device: str
    push_id: int
    diffs: bytes
    lost: tuple[Lost, ...]
    rejected: tuple[Rejected, ...]

    def ack(self, *, whole: bool) -> Ack:
        """What its device hears; `whole`: with what remained of it."""
        diffs = {"diffs": Raw(self.diffs)} if whole else {}
        return Ack(self.push_id, self.clock, lost=self.lost, rejected=self.rejected, **diffs)

    def changes(self) -> Changes:
        """What the others hear."""
        return Changes(self.clock, self.device, Raw(self.diffs))


class Session:
    """One connection of one device, from its hello on."""

    def __init__(self, hub: Hub, hello: Hello, *, objects: bool, page: int) -> None:
        self.hub = hub
        self.device = hello.device
        self.live = False
        self.out: deque[FromHub] = deque()
        self.told: set[int] = set()
        reset = hub.is_other_history(hello)
        clock, half = (0, None) if reset else (hello.logical_clock, hello.half)
        self.out.append(hub.welcome(self.device, reset=reset))
        self._way = self._catch_up(clock, half, objects=objects, page=page)

    @property
    def greeting(self) -> bool:
        """Whether the welcome has not yet arrived."""
        return any(isinstance(message, Welcome) for message in self.out)

    def go_on(self) -> None:
        """Make the next frame of the catch-up."""
        if not self.live:
            self.out.append(next(self._way))

    def deliver(self) -> FromHub:
        """The oldest frame under way, as it comes out at the other end of the line."""
        message = self.out.popleft()
        if isinstance(message, Ack):
            self.told.add(message.push_id)
        return decode_from_hub(encode(message))

    def fall_behind(self, clock: int, half: Half | None, *, objects: bool, page: int = 1) -> None:
        """The device reads too slowly: what is under way is dropped, and it goes back to step 2.

        `clock` and `half` are where the last frame has left it that reached it.
        """
        self.live = False
        self.out.clear()
        self._way = self._catch_up(clock, half, objects=objects, page=page)

    def _catch_up(
        self, clock: int, half: Half | None, *, objects: bool, page: int
    ) -> Generator[FromHub, None, None]:
        hub = self.hub
        if half or objects or clock + 1 < hub.first_clock:
            clock = yield from self._pages(clock, half, page)
        while clock < hub.ledger.head:
            stored = hub.log[clock]
            clock = stored.clock
            yield self._say(stored, whole=True)
        self.live = True
        yield self._ready()

    def _pages(self, clock: int, half: Half | None, most: int) -> Generator[FromHub, None, int]:
        """Pages in the order of last changes until one leaves nothing over.

        Invariant: the clock of a page is the last that it finishes, and the objects that one push
        changed may lie on two pages.
        """
        held = self.hub.ledger.held
        head = half.head if half else self.hub.ledger.head
        newcomer = clock == 0 and half is None
        cursor: tuple[int, Key] = (clock, (LAST, LAST))
        over: list[tuple[int, Key]] = [cursor]
        while over:
            due = sorted(
                (what.clock, key)
                for key, what in held.items()
                if (what.clock, key) > cursor
                and not (newcomer and isinstance(what, Tombstone) and what.clock <= head)
            )
            over = due[most:]
            cursor = due[:most][-1] if due else cursor
            clock = over[0][0] - 1 if over else self.hub.ledger.head
            entries = [self.hub.entry(key) for _, key in due[:most]]
            yield Snapshot(clock, entries, head, len(over))
        return clock

    def _say(self, stored: Stored, *, whole: bool) -> FromHub:
        if stored.device != self.device:
            return stored.changes()
        return stored.ack(whole=whole)

    def _ready(self) -> Ready:
        outcomes = self.hub.outcomes.get(self.device, {})
        untold = [outcomes[push_id] for push_id in sorted(outcomes) if push_id not in self.told]
        last = self.hub.ledger.last_push_ids.get(self.device, 0)
        return Ready(self.hub.ledger.head, last, tuple(untold))

    def hear(self, stored: Stored, *, differs: bool) -> None:
        """A push was stored: a live device hears of it."""
        if self.live:
            self.out.append(self._say(stored, whole=differs))


class Hub:
    """The log, the objects, and the sessions of one user."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.log: list[Stored] = []
        self.log_id = "log-1"
        self.continues: tuple[Continued, ...] = ()
        self.first_clock = 1
        self.line = 0
        self.now = NOW
        self.limits = {"max_diffs": 1000, "max_frame_bytes": 2**20}
        self.ever: set[str] = set()
        self.sessions: dict[str, Session] = {}
        self.outcomes: dict[str, dict[int, PushOutcome]] = {}

    @property
    def objects(self) -> dict[Key, Any]:
        """Every object that is there."""
        held = self.ledger.held
        return {key: o.fields for key, o in held.items() if isinstance(o, Object)}

    def greet(self, hello: Hello, *, objects: bool = False, page: int = 1000) -> Session:
        """Answer a hello; `objects`: too much is missing, `page`: objects on a page."""
        heard = decode_from_device(encode(hello))
        assert heard == hello
        session = Session(self, hello, objects=objects, page=page)
        self.sessions[hello.device] = session
        return session

    def welcome(self, device: str, *, reset: bool) -> Welcome:
        """The answer to a hello."""
        return Welcome(
            user="alice",
            device=device,
            log_id=self.log_id,
            logical_clock=self.ledger.head,
            last_push_id=self.ledger.last_push_ids.get(device, 0),
            reset=reset,
            server_time=self.now,
            expires=None,
            limits=self.limits,
            continues=self.continues,
        )

    def is_other_history(self, hello: Hello) -> bool:
        """Whether the device has to begin again (section 6, `reset`)."""
        half, clock = hello.half, hello.logical_clock
        other = hello.log_id != self.log_id
        if hello.log_id is None and clock == 0 and half is None:
            other = False
        seen = half.head if half and half.from_ == 0 else clock
        above = max(clock, half.head if half else 0) > self.ledger.head
        return other or above or seen < self.line

    def push(self, session: Session, push: Push) -> None:
        """Store a push that waited until the device was live, once; tell everybody."""
        heard = decode_from_device(encode(push))
        assert isinstance(heard, Push)
        self.store(session.device, heard.push_id, list(heard.diffs), again=heard.again)

    def store(self, device: str, push_id: int, diffs: list[Any], *, again: bool = False) -> None:
        """Decide and store a push of a device that may be gone by now."""
        outcome = self.ledger.push(
            device, push_id, diffs, now=self.now, again=again, first_clock=self.first_clock
        )
        if outcome is None:
            return
        self.ever.update(outcome.ids)
        lost, rejected = tuple(outcome.lost), tuple(outcome.rejected)
        stored = Stored(
            self.ledger.head, device, push_id, encode_diffs(outcome.diffs), lost, rejected
        )
        self.log.append(stored)
        if lost or rejected:
            told = PushOutcome(push_id, lost, rejected)
            self.outcomes.setdefault(device, {})[push_id] = told
        for session in list(self.sessions.values()):
            session.hear(stored, differs=outcome.differs)

    def received(self, device: str, clock: int) -> None:
        """Everything up to this clock is safe on the device: its outcomes are told."""
        clocks = {stored.push_id: stored.clock for stored in self.log if stored.device == device}
        outcomes = self.outcomes.get(device, {})
        self.outcomes[device] = {
            push_id: outcome for push_id, outcome in outcomes.items() if clocks[push_id] > clock
        }

    def forget_log(self, before: int) -> None:
        """Drop the pushes before this clock from the log, and what it knows of their diffs."""
        self.first_clock = max(self.first_clock, min(before, self.ledger.head + 1))
        for clock in range(1, self.first_clock):
            self.ledger.ids.pop(clock, None)

    def forget_tombstones(self, through: int) -> None:
        """Drop tombstones: who has not seen the newest of them begins again (section 6)."""
        for key, held in list(self.ledger.held.items()):
            if isinstance(held, Tombstone) and held.clock <= through:
                del self.ledger.held[key]
                self.line = max(self.line, held.clock)

    def restored(self, log_id: str) -> Hub:
        """This hub as it stands, under another log id and with nobody connected."""
        copy = Hub()
        copy.ledger = deepcopy(self.ledger)
        copy.log = list(self.log)
        copy.log_id, copy.continues = log_id, self.continues
        copy.first_clock, copy.line = self.first_clock, self.line
        copy.now, copy.limits = self.now, self.limits
        copy.ever = set(self.ever)
        copy.outcomes = deepcopy(self.outcomes)
        return copy

    def carried_on(self, log_id: str) -> Hub:
        """The same, as one that says which history it continues."""
        copy = self.restored(log_id)
        copy.continues = (Continued(self.log_id, self.ledger.head), *self.continues)
        return copy

    def entry(self, key: Key) -> SnapshotObject:
        """An object as a page says it."""
        held = self.ledger.held[key]
        if isinstance(held, Tombstone):
            return SnapshotObject(key[0], held.clock, id=key[1], deleted=True)
        return SnapshotObject(key[0], held.clock, Raw(msgspec.json.encode(held.fields)))
