"""The keys of an issuer, kept in memory and fresh.

The set is read by itself now and then, and when a token names a key that is not in it, but only so
often, and never for two devices at once: they wait for the same reading, with a deadline. A reading
that fails leaves the last good set as it is. Whoever is asked for a key never waits.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Final

import structlog

from hub.auth.grants import KeyNotKnown, KeysNotHad
from hub.auth.jwks import KeySet, NoKeySet, read_key_set
from hub.auth.keys import ProvingKey
from hub.auth.sources import FileSource, Source, SourceFailed, UrlSource
from hub.endless import meanwhile
from hub.errors import SettingsError, Unauthorized
from hub.tokens import JwksPlace

WAIT_SECONDS: Final = 10.0
"""How long a device waits whose key is not known."""
JITTER: Final = 0.5
"""By which part a wait may be longer, so that many hubs do not ask at the same moment."""

logger: Final = structlog.get_logger("hub.auth")


class Keyring:
    """The keys of one source."""

    def __init__(self, source: Source, chance: Random | None = None) -> None:
        self._source = source
        self._chance = chance or Random()  # noqa: S311 - for waits
        self._keys: KeySet | None = None
        self._text: bytes | None = None
        self._trouble = ""
        self._waiters: list[asyncio.Future[None]] = []
        self._wanted = asyncio.Event()

    def find(self, key_id: str | None) -> ProvingKey:
        """The key of this name.

        Raises:
            KeyNotKnown: there is none now.
            Unauthorized: it has no name, and there are several.

        """
        key = self._keys.find(key_id) if self._keys else None
        if key is None and key_id is None and not self.is_empty:
            problem = "the token does not say which key proves it (kid)"
            raise Unauthorized(problem, "unknown_key")
        if key is None:
            raise KeyNotKnown(self.looked_up)
        return key

    def take(self, text: bytes) -> None:
        """Use this set from now on.

        Raises:
            NoKeySet: it is none.

        """
        if text == self._text:
            return
        self._keys, self._text = read_key_set(text), text
        logger.info("keys", source=self._source.name, count=len(self._keys.keys))
        if self._keys.passed_over:
            why = list(self._keys.passed_over)
            logger.warning("keys of no use", source=self._source.name, why=why)

    @property
    def is_empty(self) -> bool:
        """Whether no token can be proved."""
        return self._keys is None or not self._keys.keys

    def look(self) -> None:
        """Have the source read as soon as that may be again."""
        self._wanted.set()

    async def looked_up(self) -> None:
        """Wait until the source was read once from its beginning.

        Raises:
            KeysNotHad: it could not be, or not in time.

        """
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self.look()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await waiter
        except TimeoutError:
            raise KeysNotHad from None
        finally:
            with contextlib.suppress(ValueError):
                self._waiters.remove(waiter)

    async def refresh(self) -> bool:
        """Read the source once, and tell those who waited when it began; whether that went well."""
        self._wanted.clear()
        waiters, self._waiters = self._waiters, []
        is_good = await self._read()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None) if is_good else waiter.set_exception(KeysNotHad())
        return is_good

    async def keep_fresh(self) -> None:
        """Read the source again and again; after a failure as soon as if somebody wanted it."""
        pace, is_good = self._source.pace, not self.is_empty
        while True:
            await asyncio.sleep(self._jittered(pace.at_most))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._jittered(pace.by_itself) if is_good else 0):
                    await self._wanted.wait()
            is_good = await self.refresh()

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[None]:
        """Have the keys, if they can be had, and keep them fresh for as long as this lasts."""
        if self.is_empty:
            await self.refresh()
        async with meanwhile(self.keep_fresh(), "keys"):
            yield

    async def _read(self) -> bool:
        try:
            text = await self._source.read()
            if text is None:
                return not self._trouble
            self.take(text)
        except (SourceFailed, NoKeySet) as failure:
            self._warn(str(failure))
            return False
        except Exception:
            # Whatever it is, the next reading may go well, and no key is lost meanwhile.
            logger.exception("keys not read", source=self._source.name)
            return False
        if self._trouble:
            self._trouble = ""
            logger.info("keys read again", source=self._source.name)
        return True

    def _warn(self, trouble: str) -> None:
        """Say what is wrong, once for as long as it is so."""
        if trouble != self._trouble:
            self._trouble = trouble
            now = "nobody can connect" if self.is_empty else "the last good set counts"
            logger.warning("keys not read", source=self._source.name, why=trouble, meanwhile=now)

    def _jittered(self, seconds: float) -> float:
        return seconds * self._chance.uniform(1, 1 + JITTER)


def keyring_from(place: JwksPlace) -> Keyring:
    """The keys of a file, which has to be good, or of an address that is yet to be asked.

    Raises:
        SettingsError: the file cannot be read, or holds no key of use.

    """
    if place.path is None:
        return Keyring(UrlSource(place.text))
    source = FileSource(place.path)
    keyring = Keyring(source)
    try:
        keyring.take(source.read_now() or b"")
    except (SourceFailed, NoKeySet) as failure:
        raise _unusable(place, str(failure)) from None
    if keyring.is_empty:
        raise _unusable(place, "it holds no public key that the hub knows")
    return keyring


def _unusable(place: JwksPlace, why: str) -> SettingsError:
    return SettingsError(
        f"{place} is no set of keys that the hub could use: {why}",
        "name a file with a JSON Web Key Set: public keys for RS256, ES256 or EdDSA",
        "token_jwks",
    )
