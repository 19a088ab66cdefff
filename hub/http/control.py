"""The way from commands to a hub that serves: a socket beside its file, `NAME-control`.

Whoever may open it, which is the hub's own user, may say what `/admin/` takes, and read `/metrics`.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import structlog
from aiohttp import web

from hub.errors import HubError
from hub.http import admin, metrics
from hub.http.app import LINGER_SECONDS, REQUEST_SECONDS, make_app
from hub.http.bearer import Anybody
from hub.http.health import Health
from hub.hub import Hub

ANSWER_SECONDS: Final = 30.0
"""How long a command waits for the hub."""

LONGEST_NAME: Final = 100
"""Bytes of a socket's name that any system takes; unix(7) has 107."""
_FOLDERS: Final = Path("/proc/self/fd")

logger: Final = structlog.get_logger("http")


class NotReached(HubError):
    """The hub that serves a file did not answer: it just starts or stops, or has no such socket."""


@asynccontextmanager
async def controlled(hub: Hub, data: Path) -> AsyncIterator[None]:
    """Take orders at the socket for as long as this lasts. A hub without one serves all the same.

    The hub holds its file's lock, so whatever is there of that name is of a hub that was killed.
    """
    path = socket_of(data)
    health = Health(hub)
    runner = web.AppRunner(
        make_app(hub, _routes(hub, health, data), REQUEST_SECONDS),
        access_log=None,
        lingering_time=LINGER_SECONDS,
        shutdown_timeout=1.0,
    )
    async with health.asking():
        await runner.setup()
        try:
            async with _open(path, runner):
                yield
        finally:
            await runner.cleanup()


def _routes(hub: Hub, health: Health, data: Path) -> Sequence[web.RouteDef]:
    anybody = Anybody()
    return *admin.routes(hub, data, anybody), *metrics.routes(hub, health, anybody)


@asynccontextmanager
async def _open(path: Path, runner: web.AppRunner) -> AsyncIterator[None]:
    try:
        with short_name(path) as name:
            listener = _bound(Path(name))
    except OSError as error:
        remedy = "revoke over HTTP (--admin-token-file), or while the hub is stopped"
        logger.warning("no control socket", path=str(path), error=str(error), remedy=remedy)
        yield
        return
    assert runner.server is not None, "it is set up"  # noqa: S101
    server = await asyncio.get_running_loop().create_unix_server(runner.server, sock=listener)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - it is no work


def _bound(path: Path) -> socket.socket:
    """Nobody can connect before it listens, and then only its owner may."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
    except OSError:
        listener.close()
        raise
    return listener


async def order(data: Path, what: admin.Order) -> dict[str, Any]:
    """Give an order to the hub that serves a file, as `tell` does; its answer."""
    return await tell(data, admin.PATH, msgspec.json.encode(what))


async def tell(
    data: Path, path: str, body: bytes | AsyncIterable[bytes], seconds: float | None = None
) -> dict[str, Any]:
    """Post something to the hub that serves a file; its answer, within so many seconds.

    Raises:
        NotReached: there was none.
        HubError: the hub refused it.

    """
    try:
        with short_name(socket_of(data)) as name:
            async with asyncio.timeout(seconds or ANSWER_SECONDS):
                answer = await _asked(name, path, body)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise NotReached(
            f"the hub that serves {data} did not answer ({error or 'too slow'}); "
            "does it start or stop just now? Try again, or ask over HTTP"
        ) from None
    if not answer.get("success"):
        raise HubError(str(answer.get("message")))
    return answer


async def _asked(name: str, path: str, body: bytes | AsyncIterable[bytes]) -> dict[str, Any]:
    async with (
        _session(name) as session,
        session.post(f"http://hub{path}", data=body) as response,
    ):
        answer: dict[str, Any] = await response.json()
        return answer


async def reached(data: Path) -> None:
    """Make sure that the hub that serves a file answers.

    Raises:
        NotReached: it did not.

    """
    await metrics_of(data)


async def metrics_of(data: Path) -> str:
    """The metrics of the hub that serves a file, as text.

    Raises:
        NotReached: it did not answer.

    """
    try:
        with short_name(socket_of(data)) as name:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                _session(name) as session,
                session.get(f"http://hub{metrics.PATH}") as response,
            ):
                response.raise_for_status()
                return await response.text()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise NotReached(f"it did not answer at its socket ({error or 'too slow'})") from None


def _session(name: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.UnixConnector(name))


def socket_of(data: Path) -> Path:
    """Where the socket is."""
    return data.absolute().with_name(data.name + "-control")


@contextlib.contextmanager
def short_name(path: Path) -> Iterator[str]:
    """A name of a socket that the system takes: it takes 107 bytes, and paths are longer.

    On Linux its folder has a short one for as long as it is open here (proc(5)).
    """
    if len(os.fsencode(path)) <= LONGEST_NAME or not _FOLDERS.is_dir():
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield str(_FOLDERS / str(folder) / path.name)
    finally:
        os.close(folder)
