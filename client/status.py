"""What a device tells of itself."""

import msgspec

from client.clock import wrongness
from client.states import State


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A device at one moment.

    `pending` edits are not yet confirmed by the hub. `clock` is how far the device is, `head` the
    newest clock of the hub that it has heard of, and `remaining` how many objects are still to
    come while pages are sent. `setbacks` wait for the application. `skew` (ms) is what the hub's
    clock shows beyond the device's own, as it was last measured. `error` says why the device is
    not live, or what will soon end that; None: all is well.
    """

    state: State
    pending: int
    clock: int
    head: int
    remaining: int
    setbacks: int
    skew: int
    error: str | None

    @property
    def connected(self) -> bool:
        """Whether the hub knows that the device is there."""
        return self.state in (State.CATCHING_UP, State.LIVE)

    @property
    def wrong_clock(self) -> str | None:
        """What is wrong with the device's clock, in words; None: at most a minute.

        Edits are stamped by the hub's time all the same; a person may want to set the clock.
        """
        return wrongness(self.skew)

    @property
    def missing(self) -> str:
        """What this device lacks to be level with the hub, in words."""
        parts = [] if self.connected else [self._absence]
        if self.state is State.CATCHING_UP:
            left = f", {self.remaining} objects to come" if self.remaining else ""
            parts.append(f"catching up (clock {self.clock} of {self.head}{left})")
        elif self.clock < self.head:
            parts.append(f"clock {self.clock} of {self.head}")
        if self.pending:
            edits = "1 edit" if self.pending == 1 else f"{self.pending} edits"
            parts.append(f"{edits} not yet stored by the hub")
        return "; ".join(parts) or "the hub has not answered"

    @property
    def _absence(self) -> str:
        why = f": {self.error}" if self.error else ""
        return f"not connected ({self.state.value}{why})"
