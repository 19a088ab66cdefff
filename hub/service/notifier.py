"""The way to who runs the hub: one datagram for each thing that is said (sd_notify(3))."""

import contextlib
import socket
import time
from collections.abc import MutableMapping
from typing import Final

import structlog

ADDRESS: Final = "NOTIFY_SOCKET"
SEND_SECONDS: Final = 0.2
"""How long one datagram may wait for room; the loop waits meanwhile."""
_LONGEST_STATUS: Final = 500

logger: Final = structlog.get_logger("hub.service")


class Notifier:
    """Says how the hub is; to nobody, where there is no address."""

    def __init__(self, address: str = "") -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._is_heard = True

    @property
    def is_wanted(self) -> bool:
        """Whether anybody wants to know."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """The hub serves, or serves again."""
        self.tell("READY=1", _status(status))

    def reloading(self) -> None:
        """The settings are being read anew, until it is `ready` again."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The hub stops."""
        self.tell("STOPPING=1", _status("Stopping: letting pushes under way finish"))

    def alive(self, status: str) -> None:
        """The hub moves, and this is how it is."""
        self.tell("WATCHDOG=1", _status(status))

    def say(self, status: str) -> None:
        """How it is, for people."""
        self.tell(_status(status))

    def wants_time(self, seconds: float, status: str) -> None:
        """What is under way may take so much longer from now on."""
        self.tell(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}", _status(status))

    def tell(self, *lines: str) -> None:
        """Send some lines at once. Who does not take them stops no hub: it is said once."""
        if not self._address:
            return
        try:
            with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as way:
                way.settimeout(SEND_SECONDS)
                way.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            self._complain(str(error))
        else:
            self._is_heard = True

    def _complain(self, why: str) -> None:
        if self._is_heard:
            self._is_heard = False
            logger.warning("the service manager does not hear the hub", why=why)


def notifier_from(env: MutableMapping[str, str]) -> Notifier:
    """Who is to be told, taken out of the environment, so that no child speaks as the hub."""
    address = env.pop(ADDRESS, "")
    if address and address[0] not in "/@":
        logger.warning("the service manager is no local socket, and is told nothing")
        return Notifier()
    return Notifier(address)


def _status(text: str) -> str:
    return f"STATUS={text[:_LONGEST_STATUS]}"
