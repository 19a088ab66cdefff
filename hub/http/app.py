"""The HTTP listener: `POST /sync` for mobync's polling clients, `/healthz` and `/readyz`.

And `/metrics` for those who may read it, and what only an operator may ask, below `/admin/`, where
there is an admin token; the live page is there, too. Every other answer is JSON. Whatever a peer
sends or fails to take ends its own request and no other: a request has a largest body and its
deadlines, and there are only so many at once.
"""

import asyncio
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from http import HTTPStatus
from typing import Final, TypeAlias

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware
from structlog.contextvars import bind_contextvars, clear_contextvars

from hub.addresses import TooManyFromThere
from hub.counts import Counts
from hub.endless import meanwhile
from hub.errors import SettingsError
from hub.forwarded import proxies_of
from hub.http import admin, live, metrics, page, repairs
from hub.http.answers import DEADLINE, address_of, as_json, refusal
from hub.http.bearer import Bearers, Here, read_token
from hub.http.health import Health
from hub.http.live import Live
from hub.http.pages import of_pages
from hub.http.peers import knowing_peers
from hub.http.polling import PollRefused, poll
from hub.http.site import Silent, Site
from hub.hub import Hub
from hub.settings import Settings
from hub.store.errors import StoreFailed
from hub.tls.identity import Shows
from protocol.messages import PATH, POLLING_DEVICE

REQUEST_SECONDS: Final = 60.0
"""From the head of a request to its answer; a phone with little signal is slow, too."""
ANSWER_SECONDS: Final = 60.0
"""How long a peer may take to take its answer."""
IDLE_SECONDS: Final = 30.0
"""How long a connection may be without a request."""
LINGER_SECONDS: Final = 3.0
"""How long the rest of a refused body is read, so that its sender sees why."""
SHARE_OF_STOP: Final = 0.1
"""Of the time to stop, what requests under way may take to end; they are stopped first."""

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

logger: Final = structlog.get_logger("http")


@asynccontextmanager
async def listening(
    hub: Hub,
    settings: Settings,
    identity: Shows | None = None,
    given: socket.socket | None = None,
) -> AsyncIterator[str]:
    """Serve HTTP for as long as this lasts; its address. A socket that is given listens already."""
    health, silent, watched = Health(hub), Silent(hub.limits), Live(hub)
    whose = [knowing_peers(proxies_of(settings.edge), silent), of_pages(settings.pages)]
    runner = web.AppRunner(
        make_app(hub, routes_of(hub, health, settings, watched), REQUEST_SECONDS, whose),
        access_log=None,
        auto_decompress=False,  # nobody needs it, and a bomb would keep everybody waiting
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=LINGER_SECONDS,
        # aiohttp waits that long twice: before it cancels what is under way, and after.
        shutdown_timeout=settings.limits.stop_seconds * SHARE_OF_STOP / 2,
    )
    async with health.asking(), _keeping(watched, settings):
        await runner.setup()
        try:
            await _listen(runner, settings, silent, identity, given)
            yield _url("https" if identity else "http", *runner.addresses[0][:2])
        finally:
            watched.watchers.leave()
            await runner.cleanup()


def _keeping(watched: Live, settings: Settings) -> AbstractAsyncContextManager[None]:
    """Keep the last minutes for whoever opens the live page, if anybody can."""
    is_on = settings.dev or settings.tokens.admin_token_file is not None
    return meanwhile(watched.moments.taking(), "moments") if is_on else nullcontext()


async def _listen(
    runner: web.AppRunner,
    settings: Settings,
    silent: Silent,
    identity: Shows | None,
    given: socket.socket | None,
) -> None:
    host, port = settings.http_address
    try:
        await Site(runner, (host, port), silent, settings.limits, identity, given).start()
    except OSError as error:
        raise SettingsError(
            f"cannot listen for HTTP on {host}, port {port}: {error.strerror}",
            "stop what listens there, or choose another address or port",
            "http_host",
            "http_port",
        ) from None


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def routes_of(
    hub: Hub, health: Health, settings: Settings, watched: Live
) -> Sequence[web.RouteDef]:
    """All routes that these settings open."""
    desk, admin_token = Desk(hub, health), _admin_token(settings)
    return [
        web.post(PATH, desk.sync),
        web.get("/healthz", desk.healthz),
        web.get("/readyz", desk.readyz),
        *metrics.routes_by(settings, admin_token, hub, health),
        *_admin_routes(hub, health, settings, admin_token, watched),
    ]


def _admin_routes(
    hub: Hub, health: Health, settings: Settings, token: Sequence[bytes], watched: Live
) -> Sequence[web.RouteDef]:
    """What an operator may ask; a hub for trying lets whoever is there look, and change nothing."""
    if token:
        guard = Bearers(token, "admin")
        looking = live.routes(hub, health, watched, guard)
        here = page.routes(is_on=True, needs_token=True)
        return *here, *looking, *admin.routes(hub, settings.data, guard)
    if settings.dev:
        looking = live.routes(hub, health, watched, Here())
        here = page.routes(is_on=True, needs_token=False)
        return *here, *looking, *repairs.looking_routes(hub, settings.data, Here())
    return page.routes(is_on=False, needs_token=True)


def _admin_token(settings: Settings) -> Sequence[bytes]:
    path = settings.tokens.admin_token_file
    return () if path is None else (read_token(path, "admin_token_file"),)


def make_app(
    hub: Hub, routes: Sequence[web.RouteDef], seconds: float, whose: Sequence[Middleware] = ()
) -> web.Application:
    """Some routes, and around them what holds for every request; `whose` asks who makes it.

    Each is answered within so many `seconds`, but for those that move whole users.
    """
    middlewares = [_numbered(hub.counts), _in_time(seconds), *whose, _as_json]
    app = web.Application(middlewares=middlewares, client_max_size=hub.limits.max_body_bytes)
    app.add_routes(routes)
    app.on_response_prepare.append(_without_server_name)
    app.on_response_prepare.append(partial(_count, hub.counts))
    return app


class Desk:
    """Takes requests, and no more at once than there may be connections yet to say who they are."""

    def __init__(self, hub: Hub, health: Health) -> None:
        self._hub = hub
        self._health = health
        self._under_way = 0

    async def sync(self, request: web.Request) -> web.Response:
        """One poll of a mobync client."""
        if self._hub.stopping or self._under_way >= self._hub.limits.max_ungreeted:
            return refusal(
                request, HTTPStatus.SERVICE_UNAVAILABLE, "the hub is busy; try again later"
            )
        self._under_way += 1
        try:
            with self._hub.addresses.visit(address_of(request)) as address:
                done = await poll(self._hub, await _body_of(request), address)
        except TooManyFromThere as error:
            return refusal(request, HTTPStatus.TOO_MANY_REQUESTS, str(error))
        finally:
            self._under_way -= 1
        logger.info(
            "poll", user=done.user, device=POLLING_DEVICE, clock=done.clock, pushed=done.pushed,
            head=done.head, address=address_of(request),
        )  # fmt: skip
        return web.Response(body=done.body, content_type="application/json")

    async def healthz(self, _request: web.Request) -> web.Response:
        """Whether the process is alive: it is, or nobody would answer."""
        return as_json({"alive": True})

    async def readyz(self, _request: web.Request) -> web.Response:
        """Whether the hub serves and its store answers."""
        trouble = await self._health.trouble()
        if trouble is None:
            return as_json({"ready": True})
        return as_json({"ready": False, "message": trouble}, HTTPStatus.SERVICE_UNAVAILABLE)


async def _body_of(request: web.Request) -> bytes:
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise web.HTTPUnsupportedMediaType(reason="a compressed body is not taken")
    most = request.client_max_size
    if (request.content_length or 0) > most:
        raise web.HTTPRequestEntityTooLarge(most)
    return await request.read()


def _numbered(counts: Counts) -> Middleware:
    """Give each request a number, by which the log tells its lines from another's."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        clear_contextvars()  # those of the request before it on this connection
        counts.requests += 1
        bind_contextvars(request=counts.requests)
        return await handler(request)

    return middleware


def _in_time(seconds: float) -> Middleware:
    """Bound a request in time: what the peer sends, what the hub does, what the peer takes."""

    @web.middleware
    async def bound(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            async with asyncio.timeout(seconds) as request[DEADLINE]:
                response = await handler(request)
        except TimeoutError:
            response = _too_late(request)
        await _write(response, request)
        return response

    return bound


def _too_late(request: web.Request) -> web.Response:
    if request.content.is_eof():
        return refusal(
            request, HTTPStatus.SERVICE_UNAVAILABLE, "the hub was too slow; try again later"
        )
    response = refusal(request, HTTPStatus.REQUEST_TIMEOUT, "the request did not arrive in time")
    response.force_close()
    return response


async def _write(response: web.StreamResponse, request: web.Request) -> None:
    """Write an answer here, and not where aiohttp would wait for its peer for ever."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await response.prepare(request)
            await response.write_eof()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    except ConnectionError:
        logger.debug("peer gone", route=_route(request))


@web.middleware
async def _as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Say every refusal as JSON, with a line in the log; a bug ends one request only."""
    try:
        return await handler(request)
    except PollRefused as refused:
        return refusal(request, refused.status, str(refused), _retry_after(refused.retry_after))
    except StoreFailed:
        return refusal(request, HTTPStatus.SERVICE_UNAVAILABLE, "the store failed; try again later")
    except web.RequestPayloadError as error:
        return refusal(request, HTTPStatus.BAD_REQUEST, f"malformed: {error}")
    except web.HTTPRequestEntityTooLarge:
        message = f"the body is larger than {request.client_max_size} bytes"
        return refusal(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
    except web.HTTPException as error:
        allow = error.headers.get("Allow")
        headers = {"Allow": allow} if allow is not None else None
        return refusal(request, HTTPStatus(error.status), error.reason, headers)
    except ConnectionError:
        return refusal(request, HTTPStatus.BAD_REQUEST, "the peer went away")
    except Exception:
        logger.exception("request failed", route=_route(request))
        return refusal(request, HTTPStatus.INTERNAL_SERVER_ERROR, "the hub failed; this was logged")


def _route(request: web.Request) -> str:
    """Which of the hub's own addresses it is; what a peer wrote there may be a token."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"


def _retry_after(seconds: float | None) -> Mapping[str, str] | None:
    return None if seconds is None else {"Retry-After": str(math.ceil(seconds))}


async def _count(counts: Counts, request: web.Request, response: web.StreamResponse) -> None:
    if _route(request) == PATH:
        counts.polls[response.status] += 1
    elif response.status == HTTPStatus.UNAUTHORIZED:
        counts.unauthorized["operator"] += 1


async def _without_server_name(_request: web.Request, response: web.StreamResponse) -> None:
    """Which versions run here is nobody's business."""
    del response.headers["Server"]
