"""Tokens that operators show over HTTP, read from their files and held to what is shown."""

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from aiohttp import hdrs, web

from hub.auth.keys import LEAST_SECRET, read_file, warn_if_open
from hub.errors import SettingsError
from hub.origins import OF_THIS_MACHINE, may_talk
from hub.tokens import is_loopback


def read_token(path: Path, setting: str) -> bytes:
    """The token in a file that a setting names, less a line break at its end.

    Raises:
        SettingsError: it cannot be read, or could be guessed.

    """
    token = read_file(path, setting).rstrip(b"\r\n")
    if len(token) < LEAST_SECRET:
        raise SettingsError(
            f"the token in {path} has {len(token)} bytes; with fewer than {LEAST_SECRET} "
            "it could be guessed",
            f"make a new one, for example with: openssl rand -hex 32 > {path}",
            setting,
        )
    warn_if_open(path)
    return token


class Bearers:
    """Whoever shows one of some tokens, of which only the hashes are kept."""

    def __init__(self, tokens: Iterable[bytes], name: str) -> None:
        self._proofs = tuple(_digest(b"Bearer " + token) for token in tokens)
        self._refusal = f"unauthorized: show the {name} token as a Bearer"

    def check(self, request: web.Request) -> None:
        """Make sure that a request shows one; each is compared, so that time tells nothing.

        Raises:
            HTTPUnauthorized: it shows none of them.

        """
        shown = request.headers.get(hdrs.AUTHORIZATION, "").encode(errors="surrogateescape")
        digest = _digest(shown)
        if not sum(hmac.compare_digest(digest, proof) for proof in self._proofs):
            raise web.HTTPUnauthorized(reason=self._refusal)


class Anybody:
    """Whoever gets there at all, where that is who may."""

    def check(self, request: web.Request) -> None:
        """Let it pass."""


class Here:
    """Whoever asks on this machine, of a hub for trying, whose port nobody else reaches.

    A page from elsewhere may be open in the same browser: it is refused by where it says that it
    comes from, and one that has its own name lead here by the name that it asks for.
    """

    def check(self, request: web.Request) -> None:
        """Make sure of it.

        Raises:
            HTTPForbidden: a page from elsewhere asks.

        """
        is_ours = may_talk((OF_THIS_MACHINE,), request.headers.get(hdrs.ORIGIN))
        is_from_elsewhere = request.headers.get("Sec-Fetch-Site") == "cross-site"
        if not is_ours or is_from_elsewhere or not is_loopback(request.url.host or ""):
            raise web.HTTPForbidden(reason="under --dev only pages of this machine may ask")


Guard: TypeAlias = Bearers | Anybody | Here


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()
