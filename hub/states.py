"""The states of a session (docs/protocol.md, section 6).

A session greets its device, brings it level, and then keeps it level by handing it each push as
it is stored. A live device that reads too slowly is no longer handed anything: it goes back to
catching up from where it stopped, which costs no more than the buffer that it has already filled.
From every state a session may be closed, and from there it goes nowhere.

    GREETING ──WELCOMED──▶ CATCHING_UP ──LEVEL──▶ LIVE
                                ▲                   │
                                └───FELL_BEHIND─────┘
"""

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import Final


class State(Enum):
    """Where a session is."""

    GREETING = auto()
    CATCHING_UP = auto()
    LIVE = auto()
    CLOSED = auto()


class Event(Enum):
    """What happens to a session."""

    WELCOMED = auto()
    LEVEL = auto()
    FELL_BEHIND = auto()
    CLOSED = auto()


TRANSITIONS: Final[Mapping[State, Mapping[Event, State]]] = {
    State.GREETING: {Event.WELCOMED: State.CATCHING_UP, Event.CLOSED: State.CLOSED},
    State.CATCHING_UP: {Event.LEVEL: State.LIVE, Event.CLOSED: State.CLOSED},
    State.LIVE: {Event.FELL_BEHIND: State.CATCHING_UP, Event.CLOSED: State.CLOSED},
    State.CLOSED: {Event.CLOSED: State.CLOSED},
}


def counted(states: Iterable[State]) -> Mapping[State, int]:
    """How many there are of each: to ask each of 10,000 for its name was most of a scrape."""
    found = list(states)
    return {state: found.count(state) for state in State}
