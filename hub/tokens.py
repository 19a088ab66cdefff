"""Whose tokens count, beyond a secret and a key of the hub's own: the table `[tokens]`.

The names, types and texts here are also those of the flags, of the environment and of that table of
the TOML file: see hub/settings.py.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from hub.errors import SettingsError

LONGEST_NAME: Final = 2_048


class JwksPlace:
    """Where a JSON Web Key Set is: a file, or an address that only its owner can answer for."""

    def __init__(self, text: str, path: Path | None = None) -> None:
        self.text = text
        self.path = path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JwksPlace) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.text, self.path))

    def __str__(self) -> str:
        return self.text


def read_place(folder: Path, value: str) -> JwksPlace:
    """A place as an operator writes it; a path counts from the folder. ValueError: it is none."""
    if "://" not in value:
        return JwksPlace(value, folder / value)
    parts = urlsplit(value)
    host = parts.hostname or ""
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    if not is_safe or not host or parts.username or len(value) > LONGEST_NAME:
        raise ValueError(value)
    return JwksPlace(value)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """Who issues the tokens, and who may revoke them."""

    token_issuer: Annotated[
        str | None,
        Meta(description="What a token's iss must be. Without it that is not looked at."),
    ] = None
    token_jwks: Annotated[
        JwksPlace | None,
        Meta(
            description="Tokens are JWTs that a key of this set (JWKS) proves, by their kid; the "
            "set is read again when it changes (a file) or every five minutes (an https address).",
        ),
    ] = None
    admin_token_file: Annotated[
        Path | None,
        Meta(
            description="Whoever shows the token in this file (32 bytes up) may revoke, look at "
            "what users have, bring lost values back, and export, import and delete whole users, "
            "below /admin/, where the live page is; without it that is off.",
        ),
    ] = None


def check_one(ways: Mapping[str, Any]) -> None:
    """Make sure that exactly one way says whose tokens count.

    Raises:
        SettingsError: none does, or two do.

    """
    chosen = [name for name, value in ways.items() if value]
    if not chosen:
        raise SettingsError(
            "nothing says whose tokens count, so nobody could connect",
            "give --token-secret-file, --token-key-file or --token-jwks, or --dev to try the hub "
            "here",
        )
    if len(chosen) > 1:
        raise SettingsError(
            f"{' and '.join(chosen)} say two things about whose tokens count",
            "keep one of them",
            *chosen,
        )
