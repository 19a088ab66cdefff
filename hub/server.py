"""The process: start, serve, stop."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import structlog
import uvloop

from hub.auth import JwtAuthority, authority_from
from hub.errors import SettingsError
from hub.forwarded import proxies_of
from hub.http.app import listening as listening_http
from hub.http.control import controlled
from hub.hub import Hub
from hub.policy import load_policy
from hub.process import (
    allow_files,
    keep_files_private,
    let_sockets_go_first,
    spare_the_collector,
)
from hub.progress import for_whom_it_is, lines
from hub.rates import NO_RATES
from hub.settings import Settings
from hub.store.interface import Store
from hub.store.ledger import Rules
from hub.store.sqlite import SqliteStore
from hub.tls.identity import Identity, showing
from hub.websocket.handshake import Terms
from hub.websocket.listener import Listener
from protocol.messages import PATH

SHARE_OF_PEERS: Final = 0.7
"""Of the time to stop, what peers may take to say goodbye; the rest is for those cut off."""

logger: Final = structlog.get_logger("hub")


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    keep_files_private()
    spare_the_collector()
    let_sockets_go_first()
    allow_files(settings.limits.max_connections)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))
    return 0


def now() -> int:
    """The hub's clock: milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


def new_log_id() -> str:
    """A name for a history, which no other has."""
    return os.urandom(16).hex()


async def _serve(settings: Settings) -> None:
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
    async with serving(settings, give_up=stopped.set) as (websocket_url, http_url):
        print(f"ready {websocket_url} {http_url}", flush=True)  # noqa: T201 - others wait for it
        logger.info("ready", websocket=websocket_url, http=http_url, data=str(settings.data))
        await stopped.wait()
        logger.info("stopping")
    logger.info("stopped")


@asynccontextmanager
async def serving(
    settings: Settings, give_up: Callable[[], None] = lambda: None
) -> AsyncIterator[tuple[str, str]]:
    """A hub that serves for as long as this lasts; its two addresses.

    `give_up` is called when the store cannot go on; the end of this then raises why.
    """
    async with AsyncExitStack() as stack:
        store = open_store(settings, give_up)
        await store.open()
        stack.push_async_callback(store.close)
        authority = authority_from(settings, now)
        if isinstance(authority, JwtAuthority):
            await stack.enter_async_context(authority.fresh())
        rates = NO_RATES if settings.dev else settings.rates
        hub = Hub(store, authority, settings.limits, now, rates, proxies_of(settings.edge))
        await stack.enter_async_context(hub.running(give_up))
        identity = await stack.enter_async_context(showing(settings.edge))
        websocket_url = await stack.enter_async_context(_listening(hub, settings, identity))
        http_url = await stack.enter_async_context(listening_http(hub, settings, identity))
        await stack.enter_async_context(controlled(hub, settings.data))
        yield websocket_url, http_url


def open_store(settings: Settings, give_up: Callable[[], None] = lambda: None) -> Store:
    """The store that these settings name, not yet open."""
    limits = settings.limits
    rules = Rules(
        now=now,
        new_log_id=new_log_id,
        new_epoch=lambda: os.urandom(8).hex(),
        max_ahead=int(limits.max_clock_ahead_seconds * 1000),
        max_object_bytes=limits.max_object_bytes,
        max_depth=limits.max_depth,
        max_objects=limits.max_objects_per_user,
        max_bytes=limits.max_bytes_per_user,
        policy=load_policy(settings.policy) if settings.policy else None,
        refill=settings.refill == "on",
        retention=settings.retention,
        checkpoints=settings.checkpoints == "hub",
    )
    return SqliteStore(settings.data, rules, give_up=give_up, progress=for_whom_it_is(lines))


@asynccontextmanager
async def _listening(hub: Hub, settings: Settings, identity: Identity | None) -> AsyncIterator[str]:
    """Listen for devices; at the end, stop in good order and within the deadline."""
    listener = listener_for(hub, settings, identity)
    async with AsyncExitStack() as stack:
        listening = listener.listening(settings.host, settings.port)
        try:
            host, port = await stack.enter_async_context(listening)
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {settings.host}, port {settings.port}: {error.strerror}",
                "stop what listens there, or choose another address or port",
                "host",
                "port",
            ) from None
        stack.push_async_callback(_stop, hub, listener, settings.limits.stop_seconds)
        yield f"{'wss' if identity else 'ws'}://{_address(host, port)}{PATH}"


def listener_for(hub: Hub, settings: Settings, identity: Identity | None = None) -> Listener:
    """What listens for a hub's devices, not yet open."""
    limits = settings.limits
    terms = Terms(
        pages=settings.pages,
        proxies=proxies_of(settings.edge),
        compression=settings.compression,
        max_frame_bytes=limits.max_frame_bytes,
        send_buffer_bytes=limits.send_buffer_bytes,
        seconds=limits.hello_seconds,
    )
    return Listener(
        hub.serve,
        terms,
        hub.addresses,
        max_handshakes=limits.max_ungreeted,
        ping_seconds=limits.ping_seconds,
        ping_timeout_seconds=limits.ping_timeout_seconds,
        identity=identity,
    )


async def _stop(hub: Hub, listener: Listener, seconds: float) -> None:
    """Stop within `seconds`, with peers that answer nothing, too."""
    listener.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds * SHARE_OF_PEERS):
            await hub.stop()
            await listener.served()
            return
    listener.abort()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds * (1 - SHARE_OF_PEERS) / 2):
            await listener.served()


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
