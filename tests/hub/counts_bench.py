"""What counting costs: a push, a group, and a scrape of many connections.

    .venv/bin/python -m tests.hub.counts_bench

Each figure is the least of some rounds: other work on the machine can only add to it.
"""

import timeit
from collections.abc import Callable
from time import monotonic
from types import SimpleNamespace
from typing import Any, Final

import msgspec
from prometheus_client.exposition import choose_encoder

from hub.counts import Counts
from hub.metrics.exposition import _Collected
from hub.metrics.families import families
from hub.states import State
from hub.store.interface import Incoming, Sizes, StoreCounts, Stored
from hub.user import Waiting

GROUP: Final = 25
CONNECTIONS: Final = 10_000
ROUNDS: Final = 7


class Untimed(msgspec.Struct, frozen=True):
    """A push that waits, without the moment in which it came."""

    incoming: Incoming
    pusher: Any
    size: int


def least(work: Callable[[], object], times: int) -> float:
    """Microseconds of one run."""
    return min(timeit.repeat(work, number=times, repeat=ROUNDS)) / times * 1e6


def main() -> None:
    incoming, pusher = Incoming("ada", "phone", 1, [{}]), SimpleNamespace()
    run = [Waiting(incoming, pusher, 200) for _ in range(GROUP)]
    stored = [Stored(n, "phone", n, b"x" * 200) for n in range(GROUP)]
    counts, now = Counts(), monotonic() + 0.003
    group = least(lambda: counts.handed_out(run, stored, now), 5_000) + 3 * least(monotonic, 5_000)
    came = least(lambda: Waiting(incoming, pusher, 200), 50_000)
    came -= least(lambda: Untimed(incoming, pusher, 200), 50_000)
    print(
        f"a push, in a group of {GROUP}: {group / GROUP + came:.2f} µs, {came:.2f} of it the time"
    )
    link = SimpleNamespace(buffered=0)
    hub: Any = SimpleNamespace(
        counts=counts,
        sessions=dict.fromkeys(SimpleSession(link) for _ in range(CONNECTIONS)),
        users=Users(),
        store=SimpleNamespace(counts=StoreCounts(0, 0, 0, 0, 0)),
    )
    looking = least(lambda: families(hub, Sizes(0, 0, 0)), 20)
    print(f"a scrape of {CONNECTIONS} connections, on the loop: {looking / 1000:.1f} ms")
    encode, _ = choose_encoder("")
    collected = _Collected(families(hub, Sizes(0, 0, 0)))
    print(f"and as text, on a thread: {least(lambda: encode(collected), 20) / 1000:.1f} ms")


class SimpleSession:
    state = State.LIVE

    def __init__(self, link: object) -> None:
        self.link = link


class Users:
    waiting = 0

    def __len__(self) -> int:
        return 5_000


if __name__ == "__main__":
    main()
