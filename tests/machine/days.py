"""Days that pass in a moment, and what the hub lets go behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.machine.keeping import MINUTE
from tests.machine.watched import written_down

if TYPE_CHECKING:
    from tests.machine.world import World

DAY = 24 * 60 * MINUTE
STEP = 0.1
"""Seconds between two steps of retention."""
LONGEST = 500
"""Steps that it takes at most."""
FOLD = 0.3


class Days:
    """The time of a world, by days."""

    def __init__(self, world: World) -> None:
        self._world = world

    def go_by(self, days: float, steps: int) -> None:
        """Everything that the hub knows is in its file; then so many steps of retention."""
        self.write_down()
        self._world.now += round(days * DAY)
        for _ in range(steps):
            self._world.pass_time(STEP)

    def write_down(self) -> None:
        """Let the hub fold, and look at what its file then knows of the devices."""
        if self._world.hub is None:
            return
        self._world.release_disks()
        self._world.disks[0].interrupt_after = None
        for _ in range(3):
            self._world.pass_time(FOLD)
        if self._world.store._ledger.has_due:
            return  # what goes meanwhile goes by what was known when it was looked at
        for user, devices in written_down(self._world.disks[0].connection).items():
            self._world.witness.record(user).keeping.write_down(devices)

    def let_go(self) -> None:
        """Retention goes on until nothing is due."""
        self.write_down()
        for _ in range(LONGEST):
            if self._world.hub is None or not self._world.store._ledger.has_due:
                break
            self._world.pass_time(STEP)
        else:
            raise AssertionError("retention does not come to an end")
        self.write_down()
        for record in self._world.witness.records.values() if self._world.hub else ():
            record.check_rest(self._world.now)
