"""Where a set of keys comes from: a file, or a URL."""

import asyncio
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import aiohttp

MAX_BYTES: Final = 256 * 1024
"""A set of a hundred keys has about a fifth of that."""
FETCH_SECONDS: Final = 5.0
"""From the question for an address to the last byte of the answer."""
CHUNK_BYTES: Final = 16 * 1024


class Pace(NamedTuple):
    """How often a source is read, in seconds: by itself, and at most when somebody wants it."""

    by_itself: float
    at_most: float


class SourceFailed(Exception):
    """The set could not be had, and why."""


class Source(Protocol):
    """Where a set of keys comes from."""

    name: str
    pace: Pace

    async def read(self) -> bytes | None:
        """The set as it is now; None: it has not changed since it was last read.

        Raises:
            SourceFailed: it cannot be had.

        """


class FileSource:
    """A file, which is looked at every second, and read when it was changed or replaced."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.pace = Pace(by_itself=1.0, at_most=1.0)
        self._path = path
        self._seen: tuple[int, ...] = ()

    async def read(self) -> bytes | None:
        """The file, unless it is as it was."""
        return await asyncio.to_thread(self.read_now)

    def read_now(self) -> bytes | None:
        """As `read`, for a program that waits."""
        try:
            found = self._path.stat()
            seen = found.st_mtime_ns, found.st_size, found.st_ino
            if seen == self._seen:
                return None
            self._seen = seen
            with self._path.open("rb") as file:
                return _bounded(file.read(MAX_BYTES + 1))
        except OSError as error:
            self._seen = ()
            raise SourceFailed(f"it cannot be read: {error.strerror}") from None


class UrlSource:
    """An address of its issuer. Nothing is followed from there, and no proxy is asked."""

    def __init__(self, url: str, pace: Pace | None = None) -> None:
        self.name = url.partition("?")[0]  # for the log: what follows may be a secret
        self._url = url
        self.pace = pace or Pace(by_itself=300.0, at_most=5.0)

    async def read(self) -> bytes | None:
        """What the address answers, within a deadline and a bound."""
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                return await self._fetch()
        except TimeoutError:
            raise SourceFailed(f"no answer within {FETCH_SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SourceFailed(f"{type(error).__name__}: {error}"[:200]) from None

    async def _fetch(self) -> bytes:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with (
            aiohttp.ClientSession(auto_decompress=False, headers=headers) as session,
            session.get(self._url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise SourceFailed(f"the answer has status {response.status}")
            text = b""
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                text = _bounded(text + chunk)
            return text


def _bounded(text: bytes) -> bytes:
    if len(text) > MAX_BYTES:
        raise SourceFailed(f"it is larger than {MAX_BYTES} bytes")
    return text
