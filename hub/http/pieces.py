"""An export over HTTP: piece by piece, read on a thread of its own, no faster than it is taken.

For as long as that goes on the hub's WAL is not written over, so who takes nothing is cut off.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Final

from aiohttp import web

from hub.exports import encode_line
from hub.progress import silent
from hub.store.beside import looking
from hub.store.exporting import export, names_of

PIECE_SECONDS: Final = 60.0
"""How long a peer may take to send some of a body, or to take a piece of an answer."""
PIECE_BYTES: Final = 256 * 1024


async def sent(request: web.Request, pieces: AsyncGenerator[bytes, None]) -> web.StreamResponse:
    """Send JSON Lines; what is wrong with the first piece is raised before anything is sent.

    An answer that breaks off takes its connection with it: half an export must not look whole.
    """
    async with aclosing(pieces):
        piece = await anext(pieces)
        response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        await response.prepare(request)
        try:
            while piece:
                await _take(response, piece)
                piece = await anext(pieces, b"")
        except BaseException:
            if request.transport is not None:
                request.transport.abort()
            raise
    return response


async def _take(response: web.StreamResponse, piece: bytes) -> None:
    try:
        async with asyncio.timeout(PIECE_SECONDS):
            await response.write(piece)
    except TimeoutError:
        raise ConnectionAbortedError("the peer took nothing") from None


async def export_in_pieces(data: Path, user: str | None) -> AsyncGenerator[bytes, None]:
    """An export of a user, or of all of them; all of it is true of one moment.

    Raises:
        NoSuchUser: there is none of that name.

    """
    thread, pieces = ThreadPoolExecutor(1, "export"), _pieces(data, user)
    try:
        while piece := await asyncio.get_running_loop().run_in_executor(thread, next, pieces, b""):
            yield piece
    finally:
        thread.submit(pieces.close)  # behind what is being read
        thread.shutdown(wait=False)


def _pieces(data: Path, user: str | None) -> Generator[bytes]:
    piece = bytearray()
    with looking(data) as file, silent() as tell:
        for line in export(file, names_of(file, user), time.time_ns() // 1_000_000, tell):
            piece += encode_line(line)
            if len(piece) >= PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
    yield bytes(piece)
