"""What those who watch cost the hub for a push: nobody, three of all pushes, three of one user's.

    .venv/bin/python -m tests.page.watching_bench

Each figure is the least of some rounds: other work on the machine can only add to it.
"""

import timeit
from types import SimpleNamespace
from typing import Any, Final

from hub.counts import Counts
from hub.limits import Limits
from hub.page.moments import Moments
from hub.page.standing import standing_of
from hub.page.watching import A_SECOND, Watch
from hub.states import State
from hub.store.interface import Incoming, Sizes, StoreCounts, Stored
from hub.user import Waiting

GROUP: Final = 25
ROUNDS: Final = 7
TIMES: Final = 20_000
CONNECTIONS: Final = 10_000
EDIT: Final = {"type": "update", "model": "tasks", "json_data": {"id": "t1", "title": "Milk"}}


def a_push(watches: list[Watch]) -> float:
    """Microseconds for one push of a group, where these look on."""
    pusher: Any = None
    run = [Waiting(Incoming("ada", "phone", n, [EDIT]), pusher, 200) for n in range(GROUP)]
    stored = [Stored(n, "phone", n, b"x" * 200) for n in range(GROUP)]
    onlookers = dict.fromkeys(watches)

    def group() -> None:
        for onlooker in onlookers:
            onlooker.hear(run, stored)

    return min(timeit.repeat(group, number=TIMES, repeat=ROUNDS)) / TIMES / GROUP * 1e6


def a_told_push() -> float:
    """Microseconds for one of those pushes of a second that a watcher is told of."""
    pusher: Any = None
    run = [Waiting(Incoming("ada", "phone", n, [EDIT]), pusher, 200) for n in range(A_SECOND)]
    stored = [Stored(n, "phone", n, b"x" * 200) for n in range(A_SECOND)]
    watch = Watch()

    def second() -> None:
        watch.hear(run, stored)
        watch.taken()
        watch.make_room()

    return min(timeit.repeat(second, number=2_000, repeat=ROUNDS)) / 2_000 / A_SECOND * 1e6


def a_hub() -> Any:
    link = SimpleNamespace(buffered=0)
    session = SimpleNamespace(link=link, state=State.LIVE)
    return SimpleNamespace(
        counts=Counts(),
        sessions=[session] * CONNECTIONS,
        users=SimpleUsers(),
        limits=Limits(),
        now=lambda: 0,
        store=SimpleNamespace(counts=StoreCounts(0, 0, 0, 0, 0)),
    )


class SimpleUsers:
    waiting = 0

    def __len__(self) -> int:
        return CONNECTIONS // 2


def main() -> None:
    nobody, three = a_push([]), a_push([Watch() for _ in range(3)])
    of_one = a_push([Watch("ben") for _ in range(3)])
    print(f"a push, in a group of {GROUP}, µs: nobody watches {nobody:.4f}, three {three:.3f}, ")
    print(f"three who watch another user {of_one:.2f}")
    print(f"a push that one watcher is told of, {A_SECOND} a second, µs: {a_told_push():.2f}")
    hub = a_hub()
    moments = Moments(hub)
    second = min(timeit.repeat(moments.take, number=1_000, repeat=ROUNDS)) / 1_000 * 1e6
    print(f"a second of the last minutes, watched or not, µs: {second:.0f}")
    count = min(timeit.repeat(lambda: standing_of(hub, Sizes(0, 0, 0)), number=10, repeat=ROUNDS))
    print(
        f"how {CONNECTIONS} connections stand, once a second while watched, ms: {count * 100:.1f}"
    )


if __name__ == "__main__":
    main()
