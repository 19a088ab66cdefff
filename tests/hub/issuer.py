"""An issuer in a test's hand: what it answers when its keys are asked for, and how often it was."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from hub.auth.sources import Pace, SourceFailed


class ListedSource:
    """A source without I/O: it gives what the test says, or fails."""

    name = "issuer"
    pace = Pace(by_itself=300.0, at_most=5.0)

    def __init__(self, text: bytes = b'{"keys": []}') -> None:
        self.text: bytes | None = text
        self.bug: Exception | None = None
        self.asked: list[float] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def read(self) -> bytes | None:
        self.asked.append(asyncio.get_running_loop().time())
        await self.answers.wait()
        if self.bug is not None:
            raise self.bug
        if self.text is None:
            raise SourceFailed("the issuer is down")
        return self.text


class Issuer:
    """A real server that publishes a set of keys, and counts who asks."""

    def __init__(self) -> None:
        self.url = ""
        self.text = b'{"keys": []}'
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def answer(self, _request: web.Request) -> web.Response:
        self.asked += 1
        await self.answers.wait()
        return web.Response(body=self.text, status=self.status, headers=self.headers)


@asynccontextmanager
async def an_issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/jwks", issuer.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
        yield issuer
    finally:
        issuer.answers.set()
        await runner.cleanup()
