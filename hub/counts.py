"""What the hub counts of itself: plain numbers that know nobody who reads them.

They are written by the loop alone, once a group of pushes or more seldom, and read where somebody
asks (hub/metrics). No user, device or address is in them, and each name that is counted by is one
of few.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import compress
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from hub.store.interface import Stored
from hub.user import Waiting

if TYPE_CHECKING:
    from hub.errors import Doubt, HandshakeFault

SECONDS: Final = (
    *(0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032),
    *(0.064, 0.128, 0.256, 0.512, 1.0, 2.5, 5.0, 10.0),
)
"""Bounds of what is counted by its time."""
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
"""Bounds of what is counted by its number."""
CODES: Final = frozenset(
    {
        *("invalid_diff", "too_large", "over_quota", "forbidden", "too_old", "object_deleted"),
        *("no_such_object", "no_refill", "unknown_history"),
    }
)
"""Why a diff is rejected, as the protocol has it; what an application's rules say is `OTHER`."""
OTHER: Final = "other"

Way: TypeAlias = Literal["level", "log", "objects", "reset"]
"""How a device is brought level: it misses nothing, from the log, from the objects, or anew."""


class Spread:
    """How many values were at most as great as each bound, and no smaller one; and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add_all(self, values: list[float]) -> None:
        """Count some at once, at least one; sorted, so that most bounds need not be looked at."""
        values.sort()
        first = bisect_left(self.bounds, values[0])
        last = bisect_left(self.bounds, values[-1])
        below = 0
        for place in range(first, last):
            up_to = bisect_right(values, self.bounds[place])
            self.counts[place] += up_to - below
            below = up_to
        self.counts[last] += len(values) - below
        self.sum += sum(values)


class Counts:
    """One hub's, since it started."""

    def __init__(self) -> None:
        self.connections = 0
        self.handshakes_refused: Counter[HandshakeFault] = Counter()
        """Connections that did not become WebSockets; who leaves by himself is not among them."""
        self.closed: Counter[int] = Counter()
        """Connections that the hub closed, by the code."""
        self.unauthorized: Counter[Doubt] = Counter()
        """Tokens that did not count."""
        self.requests = 0
        """Over HTTP, and by the socket beside the file."""
        self.polls: Counter[int] = Counter()
        """Answers to polling clients, by the status."""
        self.slowed = 0
        """How often somebody above a rate was read more slowly."""
        self.catch_ups: Counter[Way] = Counter()
        self.fell_behind = 0
        """Live devices that took so little that they went back to catching up."""
        self.stalled = 0
        """Connections that were cut off, for they took nothing."""
        self.pushes = 0
        self.repeated = 0
        """Pushes that had been stored before."""
        self.failed = 0
        """Pushes that the store could not take."""
        self.diffs = 0
        """Those of stored pushes, as they came."""
        self.log_bytes = 0
        """Of the effective pushes, as the log has them."""
        self.rejected: Counter[str] = Counter()
        self.lost = 0
        """Diffs of which fields lost."""
        self.lost_fields = 0
        self.ack_seconds = Spread(SECONDS)
        """From a push's frame to its being stored and handed out."""
        self.group_pushes = Spread(SIZES)
        self.commit_seconds = Spread(SECONDS)
        """As the loop waits for a group to be durable, the hop to the store and back included."""
        self.broadcast_seconds = Spread(SECONDS)
        """From a group's being durable to the last live device having its frames in the socket."""
        self.loop_lag_seconds = Spread(SECONDS)
        """How late the sweep, which is due each second, comes."""

    def refused_handshake(self, fault: "HandshakeFault") -> None:
        """Count a connection that did not become a WebSocket."""
        self.handshakes_refused[fault] += 1

    def handed_out(
        self, run: Sequence[Waiting], stored: Sequence[Stored | None], now: float
    ) -> None:
        """Count a group that was stored and handed out by now; None: it had been stored before."""
        self.group_pushes.add(len(run))
        self.ack_seconds.add_all([now - waiting.came for waiting in run])
        news = list(filter(None, stored))
        self.pushes += len(news)
        self.repeated += len(run) - len(news)
        diffs = [len(waiting.incoming.diffs) for waiting in run]
        self.diffs += sum(diffs if len(news) == len(run) else compress(diffs, stored))
        self.log_bytes += sum([len(each.diffs) for each in news])
        for each in [each for each in news if each.lost or each.rejected]:
            self._refused(each)

    def _refused(self, stored: Stored) -> None:
        self.lost += len(stored.lost)
        self.lost_fields += sum(len(each.fields) for each in stored.lost)
        self.rejected.update(each.code if each.code in CODES else OTHER for each in stored.rejected)
