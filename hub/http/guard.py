"""Who may ask for what only an operator may: whoever shows the admin token."""

import hashlib
import hmac

from aiohttp import hdrs, web


class Guard:
    """Lets pass who shows a token; without one, whoever gets here at all."""

    def __init__(self, token: bytes | None) -> None:
        self._proof = None if token is None else _digest(b"Bearer " + token)

    def check(self, request: web.Request) -> None:
        """Let a request pass.

        Raises:
            HTTPUnauthorized: it does not show the token.

        """
        if self._proof is None:
            return
        shown = request.headers.get(hdrs.AUTHORIZATION, "").encode(errors="surrogateescape")
        if not hmac.compare_digest(_digest(shown), self._proof):
            raise web.HTTPUnauthorized(reason="unauthorized: show the admin token as a Bearer")


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()
