"""Whose token it is: the user, and what the token allows.

Under `--dev` a token is the user's name. Otherwise it is a JWT (RFC 7519) whose algorithm is fixed
by the hub's own key, never by the token (RFC 8725, section 3.1). Its claims:

| claim    |                                                                                     |
|----------|-------------------------------------------------------------------------------------|
| `sub`    | the user, 1 to 128 characters; required                                             |
| `device` | the only device that may use the token, 1 to 64 characters; without it, any         |
| `exp`    | when it runs out, seconds since 1970 UTC; without it, never                         |
| `nbf`    | from when on it counts, likewise; without it, at once                               |
| `aud`    | for whom it is, a text or a list; must be there and name `token_audience` if that   |
|          | is set, and must not be there otherwise (RFC 7519, section 4.1.3)                   |
| `scope`  | words between spaces (RFC 8693, section 4.2): with `read` and without `write` the   |
|          | token may only read; any other scope, or none, says nothing about that              |

A claim that is null or of another type makes the token worthless; all other claims are ignored.
"""

import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeAlias
from unicodedata import category

import jwt
import msgspec
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from jwt.algorithms import HMACAlgorithm
from msgspec import UNSET, UnsetType

from hub.errors import SettingsError, Unauthorized
from hub.settings import Settings
from protocol.diffs import MAX_DEVICE, MAX_INTEGER

MAX_USER: Final = 128
MAX_TOKEN: Final = 16 * 1024
"""Characters of a token; a longer one is not even looked at."""
LEAST_SECRET: Final = 32
"""Bytes; RFC 7518, section 3.2: no fewer than the hash of HS256 has."""
LEAST_RSA_BITS: Final = 2048
"""RFC 7518, section 3.3."""

Now: TypeAlias = Callable[[], int]
"""The hub's clock: milliseconds since 1970-01-01 UTC."""

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
PrivateKey: TypeAlias = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey

_log = structlog.stdlib.get_logger(__name__)
_jws: Final = jwt.PyJWS()


class Grant(msgspec.Struct, frozen=True):
    """What a token gives: who it is, on which device only, until when (ms), and how far.

    The hub stops honouring it at `expires`, the leeway included; None is never.
    """

    user: str
    device: str | None = None
    expires: int | None = None
    read_only: bool = False


class Authority(Protocol):
    """Who decides what a token is worth."""

    def check(self, token: object) -> Grant:
        """Say what a token gives, whatever JSON stood in its place.

        Raises:
            Unauthorized: nothing; the message may be told to the device.

        """


class DevAuthority:
    """For trying: a token is the user's name, and anybody may be anybody."""

    def check(self, token: object) -> Grant:
        """Take the token for the name of the user."""
        return Grant(_name(token, "the token, which is the user's name under --dev,", MAX_USER))


class Secret(NamedTuple):
    """What both makes and proves a token."""

    algorithm: str
    material: bytes

    def __repr__(self) -> str:
        return f"Secret({self.algorithm!r}, ...)"


class ProvingKey(NamedTuple):
    """What proves a token, and the one algorithm that it is for."""

    algorithm: str
    material: PublicKey


class SigningKey(NamedTuple):
    """What makes a token, and the one algorithm that it is for."""

    algorithm: str
    material: PrivateKey


class _Claims(msgspec.Struct, frozen=True):
    sub: str
    device: str | UnsetType = UNSET
    exp: float | int | UnsetType = UNSET
    nbf: float | int | UnsetType = UNSET
    aud: str | Sequence[str] | UnsetType = UNSET
    scope: str = ""


class JwtAuthority:
    """Tokens are JWTs that the hub's key proves, for this audience if one is given."""

    def __init__(
        self,
        key: Secret | ProvingKey,
        now: Now,
        *,
        leeway_seconds: float = 0.0,
        audience: str | None = None,
    ) -> None:
        self._key = key
        self._now = now
        self._leeway = round(leeway_seconds * 1000)
        self._audience = audience

    def check(self, token: object) -> Grant:
        """Prove the signature first, then read the claims."""
        claims = _read_claims(_prove(token, self._key))
        self._check_audience(claims)
        self._check_begun(claims)
        return Grant(
            user=_name(claims.sub, "sub", MAX_USER),
            device=None if claims.device is UNSET else _name(claims.device, "device", MAX_DEVICE),
            expires=self._expires(claims),
            read_only=_is_read_only(claims.scope),
        )

    def _check_audience(self, claims: _Claims) -> None:
        named = () if claims.aud is UNSET else claims.aud
        audiences = (named,) if isinstance(named, str) else named
        if self._audience is None and claims.aud is UNSET:
            return
        if self._audience not in audiences:
            raise Unauthorized("the token is for another audience")

    def _check_begun(self, claims: _Claims) -> None:
        if claims.nbf is not UNSET and self._now() < _ms(claims.nbf) - self._leeway:
            raise Unauthorized("the token does not count yet")

    def _expires(self, claims: _Claims) -> int | None:
        if claims.exp is UNSET:
            return None
        expires = min(_ms(claims.exp) + self._leeway, MAX_INTEGER)
        if self._now() >= expires:
            raise Unauthorized("the token has run out")
        return expires


def _prove(token: object, key: Secret | ProvingKey) -> bytes:
    if not isinstance(token, str) or len(token) > MAX_TOKEN or not token.isascii():
        raise Unauthorized("the token is not a JWT")
    try:
        payload: bytes = _jws.decode(token, key.material, [key.algorithm])
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise Unauthorized("the token is not a JWT that the hub's key proves") from None
    return payload


def _read_claims(payload: bytes) -> _Claims:
    try:
        return msgspec.json.decode(payload, type=_Claims)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Unauthorized("the token's claims are not what they should be") from None


def _name(value: object, what: str, most: int) -> str:
    """Text that can be stored and shown: no half of a surrogate pair, no control character."""
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        raise Unauthorized(f"{what} must be a text of 1 to {most} characters")
    if any(category(character) in ("Cc", "Cs") for character in value):
        raise Unauthorized(f"{what} has a character that is no text")
    return value


def _ms(seconds: float) -> int:
    """Any number of seconds as milliseconds within the protocol's integers."""
    return round(min(max(seconds, 0), MAX_INTEGER // 1000) * 1000)


def _is_read_only(scope: str) -> bool:
    words = scope.split()
    return "read" in words and "write" not in words


def make_token(key: Secret | SigningKey, grant: Grant, audience: str | None = None) -> str:
    """A token that gives this grant, for trying a hub: applications make their own.

    Raises:
        Unauthorized: the user or the device is no name that a hub takes.

    """
    claims: dict[str, Any] = {"sub": _name(grant.user, "the user", MAX_USER)}
    if grant.device is not None:
        claims["device"] = _name(grant.device, "the device", MAX_DEVICE)
    if grant.expires is not None:
        claims["exp"] = grant.expires / 1000
    if grant.read_only:
        claims["scope"] = "read"
    if audience is not None:
        claims["aud"] = audience
    return jwt.encode(claims, key.material, algorithm=key.algorithm)


def authority_from(settings: Settings, now: Now) -> Authority:
    """The authority that the settings name.

    Raises:
        SettingsError: its file cannot be read, or holds no key that is good enough.

    """
    if settings.dev:
        return DevAuthority()
    return JwtAuthority(
        _key_of(settings),
        now,
        leeway_seconds=settings.token_leeway_seconds,
        audience=settings.token_audience,
    )


def _key_of(settings: Settings) -> Secret | ProvingKey:
    if settings.token_secret_file is not None:
        return read_secret(settings.token_secret_file)
    assert settings.token_key_file is not None, "Settings makes sure of exactly one"  # noqa: S101
    return read_public_key(settings.token_key_file)


def read_secret(path: Path) -> Secret:
    """The secret of HS256: what the file holds, less a line break at its end.

    Raises:
        SettingsError: it cannot be read, is too short, or is a key of another kind.

    """
    secret = _read_file(path, "token_secret_file").rstrip(b"\r\n")
    if _is_another_kind_of_key(secret):
        raise SettingsError(
            f"{path} holds a PEM or SSH key; as a secret, whoever knows it could make tokens",
            "name it as token_key_file, or name a file with a secret",
            "token_secret_file",
        )
    if len(secret) < LEAST_SECRET:
        raise SettingsError(
            f"the secret in {path} has {len(secret)} bytes; with fewer than {LEAST_SECRET} "
            "it could be guessed",
            f"make a new one, for example with: openssl rand -base64 48 > {path}",
            "token_secret_file",
        )
    _warn_if_open(path)
    return Secret("HS256", secret)


def _is_another_kind_of_key(secret: bytes) -> bool:
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except jwt.InvalidKeyError:
        return True
    return False


def read_public_key(path: Path) -> ProvingKey:
    """The public key in a PEM file.

    Raises:
        SettingsError: it cannot be read, or holds no public key of a kind that the hub takes.

    """
    pem = _read_file(path, "token_key_file")
    if b"PRIVATE KEY-----" in pem:
        raise SettingsError(
            f"{path} holds a private key, which the hub must not have: with it one makes tokens",
            f"take the public half: openssl pkey -in {path} -pubout -out public.pem",
            "token_key_file",
        )
    try:
        public = load_pem_public_key(pem)
        algorithm = _algorithm_of(public)
    except (ValueError, UnsupportedAlgorithm):
        raise _no_key(path, "public", "token_key_file") from None
    return ProvingKey(algorithm, public)  # type: ignore[arg-type]  # _algorithm_of knows only these


def read_private_key(path: Path) -> SigningKey:
    """The private key in a PEM file, to make tokens with; the hub itself never needs it.

    Raises:
        SettingsError: it cannot be read, has a password, or is of a kind that the hub knows not.

    """
    try:
        private = load_pem_private_key(_read_file(path), password=None)
        algorithm = _algorithm_of(private.public_key())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _no_key(path, "private") from None
    return SigningKey(algorithm, private)  # type: ignore[arg-type]  # as above


def _algorithm_of(public: object) -> str:
    match public:
        case RSAPublicKey(key_size=bits) if bits >= LEAST_RSA_BITS:
            return "RS256"
        case EllipticCurvePublicKey(curve=SECP256R1()):
            return "ES256"
        case Ed25519PublicKey():
            return "EdDSA"
    raise ValueError(public)


def _no_key(path: Path, half: str, *settings: str) -> SettingsError:
    return SettingsError(
        f"{path} holds no {half} key that the hub knows",
        f"give a {half} key as PEM without a password: RSA of {LEAST_RSA_BITS} bits up, EC P-256 "
        "or Ed25519",
        *settings,
    )


def _read_file(path: Path, *settings: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{_called(path)} cannot be read: {error.strerror}",
            "name a file that is there and that you may read",
            *settings,
        ) from None


def _called(path: Path) -> str:
    """The file as it was named, unless somebody may have given the secret itself for its name."""
    if len(path.name) < LEAST_SECRET and path.parent.is_dir():
        return str(path)
    return "the file that is named there (not shown, for it may be the secret itself)"


def _warn_if_open(path: Path) -> None:
    if path.stat().st_mode & stat.S_IROTH:
        _log.warning(
            "every user of this machine can read the token secret and be anybody",
            file=str(path),
            remedy=f"chmod o-r {path}",
        )
