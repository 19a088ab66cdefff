"""What a listener is given so that it speaks TLS: the newest certificate, and no crowd at the door.

A listener keeps the context that it began with. So this one looks up, in the middle of each
handshake, which pair counts now, and has the connection go on with that one.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary, ref

from hub.errors import HandshakeFault
from hub.tls.identity import Shows

GOODBYE_SECONDS: Final = 2.0
"""How long a peer may take to say goodbye in TLS, once all is said above it."""
COUNTED_BEFORE_SECONDS: Final = 0.25
"""How long before the loop cuts a handshake off it is counted: of that the loop tells nobody."""


def _unheard(_fault: HandshakeFault) -> None:
    """Nobody counts."""


def tls_options(
    shows: Shows | None,
    *,
    most: int,
    seconds: float,
    refused: Callable[[HandshakeFault], None] = _unheard,
) -> dict[str, Any]:
    """What `create_server` has to know: nothing, where there is no certificate.

    So many handshakes may be under way at once, and none of them longer than `seconds`. `refused`
    hears of those that fail or take too long, but not of those whose peer hangs up.
    """
    if shows is None:
        return {}
    return {
        "ssl": _front_of(shows, _Door(most, seconds, refused)),
        "ssl_handshake_timeout": seconds + COUNTED_BEFORE_SECONDS,
        "ssl_shutdown_timeout": GOODBYE_SECONDS,
    }


def _front_of(shows: Shows, door: "_Door") -> ssl.SSLContext:
    class Handshake(ssl.SSLObject):
        """One connection, counted while its handshake lasts; one that has gone is not there."""

        def do_handshake(self) -> None:
            door.enter(self)
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError:
                door.leave(self)
                door.refused("tls")
                raise
            door.leave(self)

    def turn(connection: Any, _name: str | None, _front: ssl.SSLContext) -> None:
        connection.context = shows.context

    front = shows.new_context()
    front.sslobject_class = Handshake
    front.sni_callback = turn
    return front


class _Door:
    """The handshakes that are under way: so many at most, each for so many seconds."""

    def __init__(
        self, most: int, seconds: float, refused: Callable[[HandshakeFault], None]
    ) -> None:
        self._most = most
        self._seconds = seconds
        self.refused = refused
        self._deadlines: WeakKeyDictionary[ssl.SSLObject, asyncio.TimerHandle] = WeakKeyDictionary()

    def enter(self, handshake: ssl.SSLObject) -> None:
        """Begin to count one; one that goes on is counted already. SSLError: there are too many."""
        if handshake in self._deadlines:
            return
        if len(self._deadlines) >= self._most:
            self.refused("crowded")
            raise ssl.SSLError("too many handshakes at once")
        # By a weak reference, for one whose peer has hung up is not there any more.
        late = asyncio.get_running_loop().call_later(self._seconds, self._late, ref(handshake))
        self._deadlines[handshake] = late

    def leave(self, handshake: ssl.SSLObject) -> None:
        """It is over."""
        self._deadlines.pop(handshake).cancel()

    def _late(self, handshake: ref[ssl.SSLObject]) -> None:
        if handshake() is not None:
            self.refused("too_slow")
