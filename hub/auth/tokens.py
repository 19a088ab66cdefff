"""JSON Web Tokens: proved by the hub's key, read, and, for trying, made."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import jwt
import msgspec
from msgspec import UNSET, UnsetType

from hub.auth.grants import Grant, Now
from hub.auth.keyring import Keyring
from hub.auth.keys import ProvingKey, Secret, SigningKey
from hub.errors import Unauthorized
from hub.names import MAX_TOKEN_ID, MAX_USER, name_of
from protocol.diffs import MAX_DEVICE, MAX_INTEGER

MAX_TOKEN: Final = 16 * 1024
"""Characters of a token; a longer one is not even looked at."""

_jws: Final = jwt.PyJWS()


class _Claims(msgspec.Struct, frozen=True):
    sub: str
    device: str | UnsetType = UNSET
    iss: str | UnsetType = UNSET
    jti: str | UnsetType = UNSET
    exp: float | int | UnsetType = UNSET
    nbf: float | int | UnsetType = UNSET
    aud: str | Sequence[str] | UnsetType = UNSET
    scope: str = ""


class JwtAuthority:
    """Tokens are JWTs that the hub's key proves: of this issuer, for this audience, if given.

    With a keyring it is the key that the token names, and that key's own algorithm.
    """

    def __init__(
        self,
        key: Secret | ProvingKey | Keyring,
        now: Now,
        *,
        leeway_seconds: float = 0.0,
        audience: str | None = None,
        issuer: str | None = None,
    ) -> None:
        self._key = key
        self._now = now
        self._leeway = round(leeway_seconds * 1000)
        self._audience = audience
        self._issuer = issuer

    def check(self, token: object) -> Grant:
        """Prove the signature first, then read the claims."""
        claims = _read_claims(_prove(_text(token), self._key))
        self._check_issuer(claims)
        self._check_audience(claims)
        self._check_begun(claims)
        return Grant(
            user=name_of(claims.sub, "sub", MAX_USER),
            device=None if claims.device is UNSET else name_of(claims.device, "device", MAX_DEVICE),
            expires=self._expires(claims),
            read_only=_is_read_only(claims.scope),
            token_id=None if claims.jti is UNSET else name_of(claims.jti, "jti", MAX_TOKEN_ID),
        )

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[None]:
        """Keep the keys fresh for as long as this lasts, if an issuer may change them."""
        if isinstance(self._key, Keyring):
            async with self._key.fresh():
                yield
        else:
            yield

    @property
    def is_empty(self) -> bool:
        """Whether there is no key to prove a token with."""
        return isinstance(self._key, Keyring) and self._key.is_empty

    def look(self) -> None:
        """Have the issuer asked for its keys soon, if there is one."""
        if isinstance(self._key, Keyring):
            self._key.look()

    def _check_issuer(self, claims: _Claims) -> None:
        if self._issuer is not None and claims.iss != self._issuer:
            raise Unauthorized("the token is of another issuer", "issuer")

    def _check_audience(self, claims: _Claims) -> None:
        named = () if claims.aud is UNSET else claims.aud
        audiences = (named,) if isinstance(named, str) else named
        if self._audience is None and claims.aud is UNSET:
            return
        if self._audience not in audiences:
            raise Unauthorized("the token is for another audience", "audience")

    def _check_begun(self, claims: _Claims) -> None:
        if claims.nbf is not UNSET and self._now() < _ms(claims.nbf) - self._leeway:
            raise Unauthorized("the token does not count yet", "not_yet")

    def _expires(self, claims: _Claims) -> int | None:
        if claims.exp is UNSET:
            return None
        expires = min(_ms(claims.exp) + self._leeway, MAX_INTEGER)
        if self._now() >= expires:
            raise Unauthorized("the token has run out", "expired")
        return expires


def _text(token: object) -> str:
    if not isinstance(token, str) or len(token) > MAX_TOKEN or not token.isascii():
        raise Unauthorized("the token is not a JWT")
    return token


def _prove(token: str, keys: Secret | ProvingKey | Keyring) -> bytes:
    try:
        key = keys.find(_key_id(token)) if isinstance(keys, Keyring) else keys
        payload: bytes = _jws.decode(token, key.material, [key.algorithm])
    except (jwt.PyJWTError, ValueError, RecursionError):
        problem = "the token is not a JWT that the hub's key proves"
        raise Unauthorized(problem, "not_proved") from None
    return payload


def _key_id(token: str) -> str | None:
    """Which key the token says that it was made with; nothing else of its head is asked."""
    kid: str | None = _jws.get_unverified_header(token).get("kid")
    return kid


def _read_claims(payload: bytes) -> _Claims:
    try:
        return msgspec.json.decode(payload, type=_Claims)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Unauthorized("the token's claims are not what they should be") from None


def _ms(seconds: float) -> int:
    """Any number of seconds as milliseconds within the protocol's integers."""
    return round(min(max(seconds, 0), MAX_INTEGER // 1000) * 1000)


def _is_read_only(scope: str) -> bool:
    words = scope.split()
    return "read" in words and "write" not in words


def make_token(
    key: Secret | SigningKey,
    grant: Grant,
    audience: str | None = None,
    issuer: str | None = None,
    key_id: str | None = None,
) -> str:
    """A token that gives this grant, for trying a hub: applications make their own.

    Raises:
        Unauthorized: the user or the device is no name that a hub takes.

    """
    claims: dict[str, Any] = {"sub": name_of(grant.user, "the user", MAX_USER)}
    if grant.device is not None:
        claims["device"] = name_of(grant.device, "the device", MAX_DEVICE)
    if grant.expires is not None:
        claims["exp"] = grant.expires / 1000
    if grant.read_only:
        claims["scope"] = "read"
    if grant.token_id is not None:
        claims["jti"] = name_of(grant.token_id, "the token's id", MAX_TOKEN_ID)
    claims |= {"aud": audience} if audience is not None else {}
    claims |= {"iss": issuer} if issuer is not None else {}
    headers = {"kid": key_id} if key_id is not None else None
    return jwt.encode(claims, key.material, algorithm=key.algorithm, headers=headers)
