"""What retention may let go of one user, and what it must, as docs/design.md says: a second time.

It is told what the store is told, and what the store then let go. A device that was here is known
to the hub at the latest when all is folded; a crash before that may lose it. So there are two
accounts of the devices: `told` is the most that the hub can know, `sure` what its file knew last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from protocol.messages import Welcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hub.retention import Retention
    from protocol.messages import Hello

MINUTE = 60_000
HOUR = 60 * MINUTE
BLUR = 2 * HOUR
"""When a device was seen is written down once an hour: nothing here is decided by less."""
SLACK = 8
"""The log is cut when it is by this part above its bound."""


class Gone(NamedTuple):
    """Up to which clocks the log and the tombstones of a user were let go."""

    dropped: int = 0
    line: int = 0


class Sight(NamedTuple):
    """When (ms) a device was last here, and what it said that it has received."""

    seen: int = 0
    received: int = 0

    def later(self, other: Sight) -> Sight:
        return Sight(max(self.seen, other.seen), max(self.received, other.received))


class Keeping:
    """One user's log and tombstones over time, whose rules are `keeps`."""

    def __init__(self, keeps: Retention) -> None:
        self.keeps = keeps
        self.gone = Gone()
        self.announced = 0
        self.stored_at: dict[int, int] = {}
        self.told: dict[str, Sight] = {}
        self.sure: dict[str, Sight] = {}

    def see(self, device: str, now: int, received: int = 0) -> None:
        """The store was told that a device is here."""
        self.told[device] = self.told.get(device, Sight()).later(Sight(now, received))

    def write_down(self, devices: Mapping[str, Sight]) -> None:
        """All that the hub knows of the devices is in its file."""
        for name, sight in devices.items():
            told = self.told.get(name, Sight())
            assert sight.received <= told.received, f"{name} has never said so"
            # A start that folds a device's last pushes takes it for seen then: it waits longer.
            self.see(name, sight.seen)
        self.sure = dict(devices)

    def check_reset(self, hello: Hello, welcome: object) -> bool:
        """A device that missed a deletion which is forgotten begins again; whether it did so."""
        assert isinstance(welcome, Welcome)
        has_half_from_0 = hello.half is not None and not hello.half.from_
        knows = hello.half.head if hello.half and has_half_from_0 else hello.logical_clock
        is_below = knows < self.gone.line
        assert welcome.reset or not is_below, "a device below the line goes on as if it were not"
        return is_below

    # What may go

    def let_go(self, gone: Gone, head: int, tombstones: Iterable[int], now: int) -> None:
        """The store has let go so much; `tombstones` are the clocks of those there were."""
        assert gone.dropped >= self.gone.dropped
        assert gone.line >= self.gone.line
        for clock in range(self.gone.dropped + 1, gone.dropped + 1):
            assert self._may_go(clock, head, now), f"the row {clock} goes too early"
        for clock in tombstones:
            if clock <= gone.line:
                assert clock <= self.announced, f"the line {clock} was not announced"
                assert self._may_be_forgotten(clock, now), f"the tombstone {clock} goes too early"
        self.gone = gone

    def _may_go(self, clock: int, head: int, now: int) -> bool:
        is_over = self._age(clock, now) > self.keeps.log_ms - BLUR
        if not is_over and clock > head - self.keeps.log_rows:
            return False
        return clock <= head - self.keeps.held_log_rows or all(
            clock <= self.told[name].received
            for name, sight in self._near(self.sure, now + BLUR)
            if sight.received
        )

    def _may_be_forgotten(self, clock: int, now: int) -> bool:
        return self._age(clock, now) > self.keeps.tombstone_ms - BLUR or all(
            clock <= self.told[name].received for name, _ in self._near(self.sure, now + BLUR)
        )

    # What must go

    def check_rest(self, head: int, tombstones: Iterable[int], now: int) -> None:
        """Nothing is due any more, and the file knows all: what need not stay is gone."""
        held = self._sure_received(now)
        needed = min((clock for clock in held if clock), default=head)
        for clock in range(self.gone.dropped + 1, min(needed, head) + 1):
            assert not self._is_over(clock, head, now), f"the row {clock} stays"
        passed = min(held, default=head)
        for clock in tombstones:
            age = self._age(clock, now) - BLUR
            must_go = age > self.keeps.log_ms if clock <= passed else age > self.keeps.tombstone_ms
            assert not must_go, f"the tombstone {clock} stays"

    def _is_over(self, clock: int, head: int, now: int) -> bool:
        rows = self.keeps.log_rows
        is_old = self._age(clock, now) > self.keeps.log_ms + BLUR
        return is_old or clock < head - rows - rows // SLACK

    def _sure_received(self, now: int) -> list[int]:
        """Of each device that may be waited for, how far the hub is sure to know it is."""
        return [
            self.sure.get(name, Sight()).received for name, _ in self._near(self.told, now - BLUR)
        ]

    def _near(self, devices: Mapping[str, Sight], now: int) -> Iterator[tuple[str, Sight]]:
        return (
            (name, sight)
            for name, sight in devices.items()
            if sight.seen + self.keeps.device_ms > now
        )

    def _age(self, clock: int, now: int) -> int:
        return now - self.stored_at[clock]
