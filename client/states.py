"""Where the connection of a device stands.

A device begins offline and connects at once. It opens a link (connecting), says hello and waits
for the welcome (greeting), takes what it missed (catching up) until the hub says that it is ready,
and then hears of each push as it is stored (live). A hub that finds the device too slow sends it
pages again: it falls back from live to catching up, and another ready ends that. Whenever the link
is lost it waits, then connects again. When the hub turns it away for good it stops, until it is
given another token; when the storage fails it stops, until the device is opened again.

Edits are made and kept in every state; they are pushed from the first ready to the end of the
link. What the table does not list is a fault of the hub: the device hangs up and comes back later,
for a new connection always makes it level.
"""

import asyncio
from collections.abc import Mapping
from enum import Enum
from typing import Final

from client.waiting import Bell
from protocol.errors import ProtocolError


class State(Enum):
    """Where the connection stands."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    GREETING = "greeting"
    CATCHING_UP = "catching up"
    LIVE = "live"
    WAITING = "waiting"
    STOPPED = "stopped"


class Event(Enum):
    """What moves it."""

    DUE = "time to connect"
    OPENED = "link opened"
    WELCOME = "welcome"
    HISTORY = "changes or ack"
    PAGE = "snapshot"
    READY = "ready"
    LOST = "link lost"
    TURNED_AWAY = "turned away"
    FAILED = "the storage failed"
    LEFT = "the application leaves"


NEXT: Final[Mapping[State, Mapping[Event, State]]] = {
    State.OFFLINE: {
        Event.DUE: State.CONNECTING,
        Event.FAILED: State.STOPPED,
        Event.LEFT: State.OFFLINE,
    },
    State.CONNECTING: {
        Event.OPENED: State.GREETING,
        Event.LOST: State.WAITING,
        Event.TURNED_AWAY: State.STOPPED,
        Event.FAILED: State.STOPPED,
        Event.LEFT: State.OFFLINE,
    },
    State.GREETING: {
        Event.WELCOME: State.CATCHING_UP,
        Event.LOST: State.WAITING,
        Event.TURNED_AWAY: State.STOPPED,
        Event.FAILED: State.STOPPED,
        Event.LEFT: State.OFFLINE,
    },
    State.CATCHING_UP: {
        Event.HISTORY: State.CATCHING_UP,
        Event.PAGE: State.CATCHING_UP,
        Event.READY: State.LIVE,
        Event.LOST: State.WAITING,
        Event.TURNED_AWAY: State.STOPPED,
        Event.FAILED: State.STOPPED,
        Event.LEFT: State.OFFLINE,
    },
    State.LIVE: {
        Event.HISTORY: State.LIVE,
        Event.PAGE: State.CATCHING_UP,
        Event.READY: State.LIVE,
        Event.LOST: State.WAITING,
        Event.TURNED_AWAY: State.STOPPED,
        Event.FAILED: State.STOPPED,
        Event.LEFT: State.OFFLINE,
    },
    State.WAITING: {
        Event.DUE: State.CONNECTING,
        Event.FAILED: State.STOPPED,
        Event.LEFT: State.OFFLINE,
    },
    State.STOPPED: {
        Event.DUE: State.CONNECTING,
        Event.FAILED: State.STOPPED,
        Event.LEFT: State.OFFLINE,
    },
}


class OutOfTurn(ProtocolError):
    """The hub's fault: a message where the protocol has none. Connect again."""


class Standing:
    """The state of one connection, since when (seconds of the loop's clock), and what is wrong.

    `trouble` says in words why the device is not live, or what will soon end that; None: nothing.
    """

    def __init__(self, bell: Bell) -> None:
        self.state = State.OFFLINE
        self.since = 0.0
        self.trouble: str | None = None
        self._bell = bell

    def after(self, event: Event) -> State:
        """Which state an event leads to.

        Raises:
            OutOfTurn: to none; the hub does not keep to the protocol.

        """
        state = NEXT[self.state].get(event)
        if state is None:
            raise OutOfTurn(f"the hub sent {event.value} to a device that is {self.state.value}")
        return state

    def enter(self, state: State) -> None:
        """Be in a state; to be live ends all trouble."""
        if state is not self.state:
            self.state = state
            self.since = asyncio.get_running_loop().time()
            self.note(None if state is State.LIVE else self.trouble)

    def note(self, trouble: str | None) -> None:
        """Say what is wrong; None: nothing any more."""
        self.trouble = trouble
        self._bell.ring()

    def step(self, event: Event, trouble: str | None = None) -> None:
        """Go where an event leads, because of some trouble or of none."""
        state = self.after(event)
        self.trouble = trouble or self.trouble
        self.enter(state)
