"""The token that a device shows: a text, or a function of the application that gives one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from client.errors import TokenFailed

Token: TypeAlias = str | Callable[[], Awaitable[str]]

PATIENCE: Final = 30.0
"""Seconds that the application's function may take."""


class Tokens:
    """Where a device gets its token from; `replaced` is set when the application gave another."""

    def __init__(self, token: Token) -> None:
        self.replaced = asyncio.Event()
        self._token = token

    @property
    def renewable(self) -> bool:
        """Whether asking again can give another token."""
        return not isinstance(self._token, str)

    def has_other_than(self, shown: str) -> bool:
        """Whether a token can be had beside the one that was shown in a hello."""
        return self.renewable or self._token != shown

    def replace(self, token: Token) -> None:
        """Use this one from now on."""
        self._token = token
        self.replaced.set()

    async def ask(self) -> str:
        """A token to show to the hub.

        Raises:
            TokenFailed: the application's function gave none.

        """
        self.replaced.clear()
        if isinstance(self._token, str):
            return self._token
        try:
            async with asyncio.timeout(PATIENCE):
                token: object = await self._token()
        except Exception as error:
            raise TokenFailed(f"no token: {type(error).__name__}: {error}") from error
        if not isinstance(token, str):
            raise TokenFailed(f"no token: the function gave {type(token).__name__}, not a text")
        return token
