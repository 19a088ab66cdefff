"""A hub that serves over real HTTP and WebSockets, and what a test says to it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from hub.server import serving
from hub.settings import Settings

Json = dict[str, Any]


class Reply(NamedTuple):
    status: int
    json: Json
    headers: Json


class ServedHub:
    """Both addresses of a hub, and one client session."""

    def __init__(self, websocket_url: str, http_url: str, session: aiohttp.ClientSession) -> None:
        self.websocket_url = websocket_url
        self.url = http_url
        self.session = session

    async def post(self, request: Json) -> Json:
        """What a polling client is told, whatever the status is."""
        return (await self.ask("POST", "/sync", json=request)).json

    async def ask(self, method: str, path: str, **options: Any) -> Reply:
        async with self.session.request(method, self.url + path, **options) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status, json.loads(await response.read()), headers)

    @asynccontextmanager
    async def live_device(self, token: str, device: str = "phone") -> AsyncIterator["LiveDevice"]:
        """A device on a plain WebSocket that has been told `ready`."""
        subprotocol = Subprotocol("mobync.v1")
        async with connect(self.websocket_url, subprotocols=[subprotocol]) as connection:
            phone = LiveDevice(connection)
            await phone.say(
                type="hello", token=token, device=device, logical_clock=0, log_id=None, half=None
            )
            while (await phone.hear())["type"] != "ready":
                pass
            yield phone


class LiveDevice:
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def say(self, **message: Any) -> None:
        await self._connection.send(json.dumps(message))

    async def hear(self) -> Json:
        frame: Json = json.loads(await self._connection.recv())
        return frame


@asynccontextmanager
async def serve(settings: Settings) -> AsyncIterator[ServedHub]:
    async with serving(settings) as (websocket_url, http_url), aiohttp.ClientSession() as session:
        yield ServedHub(websocket_url, http_url, session)


def dev_settings(folder: Path, **changes: Any) -> Settings:
    return Settings(dev=True, port=0, http_port=0, data=folder / "hub.db", **changes)
