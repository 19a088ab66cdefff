"""The process: start, serve, stop."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from math import inf
from typing import Final, NamedTuple

import structlog
import uvloop

from hub import logs
from hub.auth import ChangingAuthority, authority_from
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
from hub.rates import NO_RATES, Rates
from hub.reloading import Reloading, keys_of
from hub.service.notifier import Notifier, notifier_from
from hub.service.sockets import NO_SOCKETS, Sockets, check_loopback, sockets_from
from hub.service.starting import asking_for_time
from hub.service.watchdog import Watchdog, patience_from
from hub.settings import DiskWait, Settings
from hub.store.holdups import HoldUps
from hub.store.interface import Store
from hub.store.ledger import Rules, bounds_of
from hub.store.sqlite import SqliteStore
from hub.tls.identity import Identity, showing
from hub.websocket.handshake import Terms
from hub.websocket.listener import Listener
from protocol.messages import PATH

SHARE_OF_PEERS: Final = 0.7
"""Of the time to stop, what peers may take to say goodbye; the rest is for those cut off."""

SHARE_OF_NEW: Final = 0.05
"""Of the time to stop, what those may take to become devices who were connecting just then."""

HOLD_UPS: Final[Mapping[DiskWait, Callable[[], HoldUps]]] = {
    "auto": HoldUps,
    "loop": partial(HoldUps, trial=0.0, paid_back=0.0),
    "thread": partial(HoldUps, trial=inf),
}
"""Where commits wait for the disk, by the operator's word."""

logger: Final = structlog.get_logger("hub")


def run(settings: Settings, read: Callable[[], Settings]) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. SIGHUP has the settings read again."""
    keep_files_private()
    spare_the_collector()
    let_sockets_go_first()
    allow_files(settings.limits.max_connections)
    service = _service_of(settings, os.environ)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, service, read))
    return 0


def now() -> int:
    """The hub's clock: milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


def new_log_id() -> str:
    """A name for a history, which no other has."""
    return os.urandom(16).hex()


class Service(NamedTuple):
    """Who runs the hub, what it was given by them, and how long they wait for a sign of life."""

    notifier: Notifier
    sockets: Sockets
    patience: float | None


def _service_of(settings: Settings, env: MutableMapping[str, str]) -> Service:
    sockets = sockets_from(env)
    if settings.dev:
        check_loopback(sockets)
    return Service(notifier_from(env), sockets, patience_from(env))


class Served(NamedTuple):
    """A hub that serves, and where."""

    websocket_url: str
    http_url: str
    hub: Hub
    listener: Listener
    authority: ChangingAuthority
    identity: Identity | None


async def _serve(settings: Settings, service: Service, read: Callable[[], Settings]) -> None:
    stopped, asked = _on(signal.SIGTERM, signal.SIGINT), _on(signal.SIGHUP)
    notifier = service.notifier
    async with AsyncExitStack() as stack:
        async with asking_for_time(notifier):
            starting = _served(settings, stopped.set, service.sockets)
            served = await stack.enter_async_context(starting)
        watchdog = Watchdog(served.hub, notifier, service.patience)
        await stack.enter_async_context(watchdog.watching())
        reloading = Reloading(settings, read, partial(_keep_to, served))
        _say_ready(served, settings)
        notifier.ready(watchdog.status())
        await stack.enter_async_context(reloading.on_demand(asked, notifier, watchdog.status))
        await stopped.wait()
        notifier.stopping()
        logger.info("stopping")
    logger.info("stopped")


def _on(*signals: signal.Signals) -> asyncio.Event:
    """What is set when one of these signals comes."""
    came = asyncio.Event()
    for each in signals:
        asyncio.get_running_loop().add_signal_handler(each, came.set)
    return came


async def _keep_to(served: Served, old: Settings, new: Settings) -> None:
    """Have what serves keep to new settings, of which only those differ that may."""
    await _renew_keys(served.authority, old, new)
    await served.hub.keep_to(new.limits, _rates_of(new))
    limits = new.limits
    served.listener.keep_to(terms_of(new), limits.ping_seconds, limits.ping_timeout_seconds)
    allow_files(limits.max_connections)
    logs.configure(new.log_level, new.log_format)
    if served.identity is not None:
        served.identity.ask()


def _rates_of(settings: Settings) -> Rates:
    return NO_RATES if settings.dev else settings.rates


async def _renew_keys(authority: ChangingAuthority, old: Settings, new: Settings) -> None:
    """A file is read again; so is an issuer's set, of which the one before counts until then."""
    if new.tokens.token_jwks is not None and keys_of(new) == keys_of(old):
        authority.look()
    else:
        await authority.change(await asyncio.to_thread(authority_from, new, now))


def _say_ready(served: Served, settings: Settings) -> None:
    websocket_url, http_url = served.websocket_url, served.http_url
    print(f"ready {websocket_url} {http_url}", flush=True)  # noqa: T201 - others wait for it
    logger.info("ready", websocket=websocket_url, http=http_url, data=str(settings.data))


@asynccontextmanager
async def serving(
    settings: Settings, give_up: Callable[[], None] = lambda: None
) -> AsyncIterator[tuple[str, str]]:
    """A hub that serves for as long as this lasts; its two addresses.

    `give_up` is called when the store cannot go on; the end of this then raises why.
    """
    async with _served(settings, give_up, NO_SOCKETS) as served:
        yield served.websocket_url, served.http_url


@asynccontextmanager
async def _served(
    settings: Settings, give_up: Callable[[], None], sockets: Sockets
) -> AsyncIterator[Served]:
    async with AsyncExitStack() as stack:
        store = open_store(settings, give_up)
        await store.open()
        stack.push_async_callback(store.close)
        authority = ChangingAuthority(authority_from(settings, now))
        await stack.enter_async_context(authority.fresh())
        rates, proxies = _rates_of(settings), proxies_of(settings.edge)
        hub = Hub(store, authority, settings.limits, now, rates, proxies)
        await stack.enter_async_context(hub.running(give_up))
        identity = await stack.enter_async_context(showing(settings.edge))
        listener = listener_for(hub, settings, identity)
        websocket_url = await stack.enter_async_context(
            _listening(hub, listener, settings, sockets.devices)
        )
        http_url = await stack.enter_async_context(
            listening_http(hub, settings, identity, sockets.http)
        )
        await stack.enter_async_context(controlled(hub, settings.data))
        yield Served(websocket_url, http_url, hub, listener, authority, identity)


def open_store(settings: Settings, give_up: Callable[[], None] = lambda: None) -> Store:
    """The store that these settings name, not yet open."""
    rules = Rules(
        now=now,
        new_log_id=new_log_id,
        new_epoch=lambda: os.urandom(8).hex(),
        **bounds_of(settings.limits),
        policy=load_policy(settings.policy) if settings.policy else None,
        refill=settings.refill == "on",
        retention=settings.retention,
        checkpoints=settings.checkpoints == "hub",
    )
    return SqliteStore(
        settings.data,
        rules,
        give_up=give_up,
        progress=for_whom_it_is(lines),
        hold_ups=HOLD_UPS[settings.disk_wait](),
    )


@asynccontextmanager
async def _listening(
    hub: Hub, listener: Listener, settings: Settings, given: socket.socket | None
) -> AsyncIterator[str]:
    """Listen for devices; at the end, stop in good order and within the deadline."""
    async with AsyncExitStack() as stack:
        listening = listener.listening(settings.host, settings.port, given)
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
        yield f"{'wss' if settings.edge.tls_cert_file else 'ws'}://{_address(host, port)}{PATH}"


def listener_for(hub: Hub, settings: Settings, identity: Identity | None = None) -> Listener:
    """What listens for a hub's devices, not yet open."""
    limits = settings.limits
    return Listener(
        hub.serve,
        terms_of(settings),
        hub.gate,
        hub.addresses,
        hub.counts.refused_handshake,
        max_handshakes=limits.max_ungreeted,
        ping_seconds=limits.ping_seconds,
        ping_timeout_seconds=limits.ping_timeout_seconds,
        identity=identity,
    )


def terms_of(settings: Settings) -> Terms:
    """What a connection has to keep to."""
    limits = settings.limits
    return Terms(
        pages=settings.pages,
        proxies=proxies_of(settings.edge),
        compression=settings.compression,
        max_frame_bytes=limits.max_frame_bytes,
        send_buffer_bytes=limits.send_buffer_bytes,
        seconds=limits.hello_seconds,
    )


async def _stop(hub: Hub, listener: Listener, seconds: float) -> None:
    """Stop within `seconds`, with peers that answer nothing, too."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds * SHARE_OF_PEERS):
            await listener.let_in(seconds * SHARE_OF_NEW)
            listener.close()
            await hub.stop()
            await listener.served()
            return
    listener.abort()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds * (1 - SHARE_OF_PEERS) / 2):
            await listener.served()


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
