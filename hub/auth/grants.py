"""What a token gives, and who decides that."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import msgspec

from hub.errors import HubError, Unauthorized
from hub.names import MAX_USER, name_of

Now: TypeAlias = Callable[[], int]
"""The hub's clock: milliseconds since 1970-01-01 UTC."""


class Grant(msgspec.Struct, frozen=True):
    """What a token gives: who it is, on which device only, until when (ms), and how far.

    The hub stops honouring it at `expires`, the leeway included; None is never. `token_id` is the
    token's own name (its `jti`), by which it can be revoked.
    """

    user: str
    device: str | None = None
    expires: int | None = None
    read_only: bool = False
    token_id: str | None = None


class Authority(Protocol):
    """Who decides what a token is worth."""

    def check(self, token: object) -> Grant:
        """Say what a token gives, whatever JSON stood in its place.

        Raises:
            Unauthorized: nothing; the message may be told to the device.
            KeyNotKnown: nothing as yet; `admit` waits until that is sure.

        """


class KeyNotKnown(Unauthorized):
    """No key that the hub has proves the token, but its issuer may have a new one.

    `looked_up` waits until the issuer was asked, and raises `KeysNotHad` if it has not answered.
    """

    def __init__(self, looked_up: Callable[[], Awaitable[None]]) -> None:
        super().__init__("the token's key is none of the issuer's", "unknown_key")
        self.looked_up = looked_up


class KeysNotHad(HubError):
    """The issuer's fault, or the network's: whether a token counts cannot be said now."""

    def __init__(self) -> None:
        super().__init__("the keys that prove tokens cannot be had now; try again later")


async def admit(authority: Authority, token: object) -> Grant:
    """Say what a token gives, and ask its issuer first if only that can tell.

    Raises:
        Unauthorized: nothing.
        KeysNotHad: nobody can say now.

    """
    try:
        return authority.check(token)
    except KeyNotKnown as unknown:
        await unknown.looked_up()
    return authority.check(token)


class DevAuthority:
    """For trying: a token is the user's name, and anybody may be anybody."""

    def check(self, token: object) -> Grant:
        """Take the token for the name of the user."""
        return Grant(name_of(token, "the token, which is the user's name under --dev,", MAX_USER))
