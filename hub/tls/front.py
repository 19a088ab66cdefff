"""What a listener is given so that it speaks TLS: the newest certificate, and no crowd at the door.

A listener keeps the context that it began with. So this one looks up, in the middle of each
handshake, which pair counts now, and has the connection go on with that one.
"""

import ssl
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakSet

from hub.errors import HandshakeFault
from hub.tls.identity import Shows

GOODBYE_SECONDS: Final = 2.0
"""How long a peer may take to say goodbye in TLS, once all is said above it."""


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
    hears of those that fail, but not of those that take too long.
    """
    if shows is None:
        return {}
    return {
        "ssl": _front_of(shows, most, refused),
        "ssl_handshake_timeout": seconds,
        "ssl_shutdown_timeout": GOODBYE_SECONDS,
    }


def _front_of(shows: Shows, most: int, refused: Callable[[HandshakeFault], None]) -> ssl.SSLContext:
    under_way: WeakSet[ssl.SSLObject] = WeakSet()

    class Handshake(ssl.SSLObject):
        """One connection, counted while its handshake lasts; one that has gone is not there."""

        def do_handshake(self) -> None:
            if self not in under_way and len(under_way) >= most:
                refused("crowded")
                raise ssl.SSLError("too many handshakes at once")
            under_way.add(self)
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError:
                refused("tls")
                raise
            under_way.discard(self)

    def turn(connection: Any, _name: str | None, _front: ssl.SSLContext) -> None:
        connection.context = shows.context

    front = shows.new_context()
    front.sslobject_class = Handshake
    front.sni_callback = turn
    return front
