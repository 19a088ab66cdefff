"""Stands in for systemd: holds the sockets, starts the hub with them, hears what it says of itself.

What it speaks is what systemd speaks (sd_listen_fds(3), sd_notify(3)): `LISTEN_FDS` from file
descriptor 3 on, and a datagram socket. It decides nothing: whoever has it starts, stops and kills.
"""

import contextlib
import fcntl
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from hub.http.control import LONGEST_NAME

MOBYNC_HUB: Final = Path(sys.executable).with_name("mobync-hub")
NAMES: Final = ("devices", "http")
SECONDS: Final = 60.0
"""How long is waited for anything."""
ABOVE: Final = 20
"""File descriptors from here on hold what is handed down, while it is put in its place."""
BACKLOG: Final = 4096
_LONGEST: Final = 4096

_EXEC: Final = 'exec env LISTEN_PID=$$ "$@"'
"""The process that becomes the hub writes down which it is: nobody knows that before."""


class Unheard(Exception):
    """The hub did not say in time what it was to say."""


class Said(msgspec.Struct, frozen=True):
    """One datagram of the hub's, and when it came."""

    lines: Mapping[str, str]
    at: float


class StandIn:
    """Two sockets that listen, for devices and for HTTP, and an ear."""

    def __init__(self, folder: Path, *, abstract: bool = False) -> None:
        self.folder = folder
        self.sockets = tuple(socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) for _ in NAMES)
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.address = f"{folder}/notify"
        # A folder deep down, as a long TMPDIR makes it, has no room for a socket's name.
        if abstract or len(os.fsencode(self.address)) > LONGEST_NAME:
            self.address = f"@mobync-{os.getpid()}-{id(self)}"
        self._ear.bind(self.address.replace("@", "\0", 1))
        self.said: list[Said] = []

    @property
    def url(self) -> str:
        """Where devices connect."""
        return f"ws://127.0.0.1:{self.sockets[0].getsockname()[1]}/sync"

    @property
    def http_url(self) -> str:
        """Where HTTP is spoken."""
        return f"http://127.0.0.1:{self.sockets[1].getsockname()[1]}"

    def start(
        self,
        *flags: str,
        names: Sequence[str] | None = NAMES,
        watchdog: float | None = None,
        environment: Mapping[str, str] | None = None,
        program: Path = MOBYNC_HUB,
    ) -> subprocess.Popen[bytes]:
        """Start a hub that is given the sockets, by these names; it is not ready yet."""
        given = [fcntl.fcntl(each, fcntl.F_DUPFD, ABOVE) for each in self.sockets]
        places = " ".join(f"{3 + n}<&{handle} {handle}<&-" for n, handle in enumerate(given))
        spoken = {"NOTIFY_SOCKET": self.address, "LISTEN_FDS": str(len(given))}
        spoken |= {"LISTEN_FDNAMES": ":".join(names)} if names is not None else {}
        spoken |= {"WATCHDOG_USEC": str(round(watchdog * 1e6))} if watchdog is not None else {}
        try:
            with (self.folder / "hub.log").open("ab") as log:
                return subprocess.Popen(
                    ["bash", "-c", f"{_EXEC} {places}", "bash", program, "serve", *flags],
                    env={**os.environ, **spoken, **(environment or {})},
                    pass_fds=given,
                    stdout=log,
                    stderr=log,
                )
        finally:
            for handle in given:
                os.close(handle)

    def hear(self, seconds: float) -> Said | None:
        """The next datagram, if one comes in time."""
        if not select.select([self._ear], [], [], max(seconds, 0.0))[0]:
            return None
        text = self._ear.recv(_LONGEST).decode()
        said = Said(dict(line.split("=", 1) for line in text.splitlines()), time.monotonic())
        self.said.append(said)
        return said

    def wait_for(self, name: str, value: str | None = None, seconds: float = SECONDS) -> Said:
        """Hear until this is said.

        Raises:
            Unheard: it was not, in time.

        """
        ends = time.monotonic() + seconds
        while (said := self.hear(ends - time.monotonic())) is not None:
            if name in said.lines and value in (None, said.lines[name]):
                return said
        raise Unheard(f"waited {seconds:.0f} s for {name}; its log: {self.folder / 'hub.log'}")

    def close(self) -> None:
        """Let go of everything."""
        for each in (*self.sockets, self._ear):
            each.close()
        if not self.address.startswith("@"):
            Path(self.address).unlink(missing_ok=True)


@contextmanager
def standing_in(folder: Path, *, abstract: bool = False) -> Iterator[StandIn]:
    """A stand-in for as long as this lasts."""
    with contextlib.closing(StandIn(folder, abstract=abstract)) as stand_in:
        yield stand_in


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is gone afterwards, in any case."""
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait(SECONDS)
