"""The hub's last minutes, second by second, in a few numbers each.

They are kept whether or not anybody looks: who opens the page when something goes wrong wants to
see how it came to that. A second costs the hub the same however many are connected.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import accumulate, takewhile
from time import monotonic
from typing import Any, Final

import msgspec

from hub.counts import Counts, Spread
from hub.hub import Hub

SECOND: Final = 1.0
KEPT: Final = 300
"""Moments that are kept: five minutes."""
_MS: Final = 1000.0


class Moment(msgspec.Struct, frozen=True):
    """What the hub did in the second (about: `seconds`) that ended `at` (ms since 1970).

    `users` and `connections` are of its end. Times are in ms, and None where there was nothing to
    measure; they are as exact as the bounds of hub/counts.py.
    """

    number: int
    at: int
    seconds: float
    connections: int
    users: int
    pushes: int
    diffs: int
    rejected: int
    lost: int
    failed: int
    log_bytes: int
    slowed: int
    refused_tokens: int
    ack_p50: float | None
    ack_p99: float | None
    commit_p99: float | None
    broadcast_p99: float | None
    loop_lag: float | None


class _Reading(msgspec.Struct, frozen=True):
    """What the hub had counted at a time (s, of the monotonic clock)."""

    time: float
    numbers: dict[str, int]
    spreads: Mapping[str, Sequence[int]]


class Moments:
    """Takes one a second, for as long as `taking` goes on."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._kept: deque[Moment] = deque(maxlen=KEPT)
        self._before = _read(hub.counts)
        self.began = hub.now()

    async def taking(self) -> None:
        """Take them, until cancelled."""
        while True:
            await asyncio.sleep(SECOND)
            self.take()

    def take(self) -> None:
        """Take the one that ends now."""
        before, now = self._before, _read(self._hub.counts)
        self._before = now
        more = {name: value - before.numbers[name] for name, value in now.numbers.items()}
        moment = Moment(
            number=self._kept[-1].number + 1 if self._kept else 1,
            at=self._hub.now(),
            seconds=round(now.time - before.time, 3),
            connections=len(self._hub.sessions),
            users=len(self._hub.users),
            **more,
            **_times(self._hub.counts, before, now),
        )
        self._kept.append(moment)

    def after(self, number: int) -> Sequence[Moment]:
        """Those behind the one of this number, as far as they are kept."""
        behind = takewhile(lambda moment: moment.number > number, reversed(self._kept))
        return list(behind)[::-1]


def _read(counts: Counts) -> _Reading:
    numbers = {
        "pushes": counts.pushes,
        "diffs": counts.diffs,
        "rejected": counts.rejected.total(),
        "lost": counts.lost,
        "failed": counts.failed,
        "log_bytes": counts.log_bytes,
        "slowed": counts.slowed,
        "refused_tokens": counts.unauthorized.total(),
    }
    spreads = {name: tuple(spread.counts) for name, spread in _spreads(counts).items()}
    return _Reading(monotonic(), numbers, spreads)


def _spreads(counts: Counts) -> dict[str, Spread]:
    return {
        "ack": counts.ack_seconds,
        "commit": counts.commit_seconds,
        "broadcast": counts.broadcast_seconds,
        "lag": counts.loop_lag_seconds,
    }


def _times(counts: Counts, before: _Reading, now: _Reading) -> dict[str, Any]:
    """The times of a moment, of what was counted between two readings."""

    def at(name: str, share: float) -> float | None:
        pairs = zip(now.spreads[name], before.spreads[name], strict=True)
        seconds = quantile(_spreads(counts)[name].bounds, [new - old for new, old in pairs], share)
        return None if seconds is None else round(seconds * _MS, 3)

    return {
        "ack_p50": at("ack", 0.5),
        "ack_p99": at("ack", 0.99),
        "commit_p99": at("commit", 0.99),
        "broadcast_p99": at("broadcast", 0.99),
        "loop_lag": at("lag", 1.0),
    }


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """The value that this share of all is at most, if they lie evenly between their bounds.

    None: there are none. Beyond the last bound it is that bound.
    """
    wanted = share * sum(counts)
    if not wanted:
        return None
    place = next(i for i, below in enumerate(accumulate(counts)) if below >= wanted)
    if place == len(bounds):
        return bounds[-1]
    least = bounds[place - 1] if place else 0.0
    inside = (wanted - sum(counts[:place])) / counts[place]
    return least + (bounds[place] - least) * inside
