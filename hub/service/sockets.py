"""Sockets that are there before the hub and after it: who runs it holds them (sd_listen_fds(3)).

Whoever connects while the hub is down waits in the kernel until it is up again, and is not refused.
"""

import os
import socket
from collections.abc import MutableMapping, Sequence
from typing import Final, NamedTuple

from hub.errors import SettingsError
from hub.tokens import is_loopback

COUNT: Final = "LISTEN_FDS"
WHOSE: Final = "LISTEN_PID"
NAMES: Final = "LISTEN_FDNAMES"
FIRST: Final = 3
"""The first of the file descriptors that are handed down."""
DEVICES, HTTP = "devices", "http"
ORDER: Final = (DEVICES, HTTP)
"""What sockets are for that have no name which says so."""
_INTERNET: Final = (socket.AF_INET, socket.AF_INET6)


class Sockets(NamedTuple):
    """What the hub was given to listen on; None: it listens where its settings say."""

    devices: socket.socket | None = None
    http: socket.socket | None = None


NO_SOCKETS: Final = Sockets()


def sockets_from(env: MutableMapping[str, str]) -> Sockets:
    """The sockets that the environment speaks of, taken out of it: no child may take them for its.

    Raises:
        SettingsError: they are not what a hub listens on.

    """
    count, whose, names = (env.pop(name, "") for name in (COUNT, WHOSE, NAMES))
    if whose != str(os.getpid()) or not count.isdecimal():
        return NO_SOCKETS
    handles = range(FIRST, FIRST + int(count))
    return Sockets(
        **{
            name: _taken(handle, name)
            for name, handle in zip(_named(names.split(":"), len(handles)), handles, strict=True)
        }
    )


def _named(names: Sequence[str], count: int) -> Sequence[str]:
    """What each socket is for: by the names, if any of them says so, and else by the order."""
    wanted = list(names) if set(names) & set(ORDER) else list(ORDER[:count])
    if len(wanted) != count or len(set(wanted)) != count or not set(wanted) <= set(ORDER):
        raise SettingsError(
            f"the service manager gives {count} sockets, called {':'.join(names)!r}, and the hub "
            f"knows one for {DEVICES} and one for {HTTP}",
            f"write FileDescriptorName={DEVICES} or {HTTP} into the socket units, one address each",
        )
    return wanted


def _taken(handle: int, name: str) -> socket.socket:
    try:
        taken = socket.socket(fileno=handle)
    except OSError as error:
        raise _useless(name, f"is none: {error.strerror}") from None
    listens = taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if taken.family not in _INTERNET or taken.type is not socket.SOCK_STREAM or not listens:
        taken.close()
        raise _useless(name, "does not listen for TCP")
    taken.set_inheritable(False)
    taken.settimeout(0)
    return taken


def check_loopback(sockets: Sockets) -> None:
    """Make sure that only this machine reaches them, for a hub where anybody may be anybody.

    Raises:
        SettingsError: another one does, too.

    """
    for given in sockets:
        if given is not None and not is_loopback(given.getsockname()[0]):
            raise SettingsError(
                f"the service manager listens on {given.getsockname()[0]}, which other machines "
                "may reach, and with dev on anybody there could be any user",
                "let the socket units listen on 127.0.0.1, or use tokens instead of dev",
                "dev",
            )


def _useless(name: str, why: str) -> SettingsError:
    return SettingsError(
        f"the socket for {name} that the service manager gives {why}",
        "let the socket unit have ListenStream= with an address and a port",
    )
