"""An authority in whose place another one can be put while the hub serves."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from hub.auth.grants import Authority, Grant
from hub.auth.tokens import JwtAuthority
from hub.errors import SettingsError


class ChangingAuthority:
    """Whoever asks for grants asks this one, and it the one that counts just then."""

    def __init__(self, first: Authority) -> None:
        self._current = first
        self._freshness = AsyncExitStack()

    def check(self, token: object) -> Grant:
        """Say what a token gives by the keys of today."""
        return self._current.check(token)

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[None]:
        """Keep the keys fresh for as long as this lasts, if an issuer may change them."""
        self._freshness = await _kept_fresh(self._current)
        try:
            yield
        finally:
            await self._freshness.aclose()

    async def change(self, other: Authority) -> None:
        """Have another one count from now on. Who is connected stays.

        Raises:
            SettingsError: it has no keys to prove a token with, so the one before goes on.

        """
        freshness = await _kept_fresh(other)
        if isinstance(other, JwtAuthority) and other.is_empty:
            await freshness.aclose()
            raise SettingsError(
                "the keys that tokens are to be proved with cannot be had",
                "see why in the log, and have the settings read again",
                "token_jwks",
            )
        before, self._freshness, self._current = self._freshness, freshness, other
        await before.aclose()

    def look(self) -> None:
        """Have the issuer asked for its keys soon, if there is one."""
        if isinstance(self._current, JwtAuthority):
            self._current.look()


async def _kept_fresh(authority: Authority) -> AsyncExitStack:
    """What ends the freshness of its keys, which begins here."""
    stack = AsyncExitStack()
    if isinstance(authority, JwtAuthority):
        await stack.enter_async_context(authority.fresh())
    return stack
