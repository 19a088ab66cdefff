"""How a hub stands now, as far as that has to be counted up: only while somebody watches."""

import msgspec

from hub.hub import Hub
from hub.states import State, counted
from hub.store.interface import Sizes


class Standing(msgspec.Struct, frozen=True):
    """Sessions by their state, those that read slowly, what waits, and the file; sizes in bytes.

    `file`, `wal` and `free` are None where the store does not answer; `trouble` says so.
    """

    live: int
    catching_up: int
    greeting: int
    closing: int
    slow: int
    buffered: int
    most_buffered: int
    waiting: int
    unfolded: int
    file: int | None
    wal: int | None
    free: int | None
    trouble: str


def standing_of(hub: Hub, sizes: Sizes | None) -> Standing:
    """How a hub stands; `sizes` is None if its store does not say."""
    states = counted(session.state for session in hub.sessions)
    buffered = [each for each in (session.link.buffered for session in hub.sessions) if each]
    file, wal, free = sizes or (None, None, None)
    return Standing(
        live=states[State.LIVE],
        catching_up=states[State.CATCHING_UP],
        greeting=states[State.GREETING],
        closing=states[State.CLOSED],
        slow=len(buffered),
        buffered=sum(buffered),
        most_buffered=max(buffered, default=0),
        waiting=hub.users.waiting,
        unfolded=hub.store.counts.unfolded,
        file=file,
        wal=wal,
        free=free,
        trouble="" if sizes is not None else "the store does not answer",
    )
