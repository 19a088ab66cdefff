"""Whose token it is: the user, and what the token allows.

Under `--dev` a token is the user's name. Otherwise it is a JWT (RFC 7519) whose algorithm is fixed
by the key that proves it, never by the token (RFC 8725, section 3.1). The key is the hub's own, or
of a set (JWKS, RFC 7517) in which the token's `kid` names it. Its claims:

| claim    |                                                                                     |
|----------|-------------------------------------------------------------------------------------|
| `sub`    | the user, 1 to 128 characters; required                                             |
| `device` | the only device that may use the token, 1 to 64 characters; without it, any         |
| `exp`    | when it runs out, seconds since 1970 UTC; without it, never                         |
| `nbf`    | from when on it counts, likewise; without it, at once                               |
| `aud`    | for whom it is, a text or a list; must be there and name `token_audience` if that   |
|          | is set, and must not be there otherwise (RFC 7519, section 4.1.3)                   |
| `iss`    | of whom it is; must equal `token_issuer` if that is set                             |
| `jti`    | the token's own id, 1 to 256 characters, by which it can be revoked                 |
| `scope`  | words between spaces (RFC 8693, section 4.2): with `read` and without `write` the   |
|          | token may only read; any other scope, or none, says nothing about that              |

A claim that is null or of another type makes the token worthless; all other claims are ignored.
"""

from hub.auth.changing import ChangingAuthority
from hub.auth.grants import (
    Authority,
    DevAuthority,
    Grant,
    KeyNotKnown,
    KeysNotHad,
    Now,
    admit,
)
from hub.auth.keyring import Keyring, keyring_from
from hub.auth.keys import (
    ProvingKey,
    Secret,
    SigningKey,
    read_private_key,
    read_public_key,
    read_secret,
)
from hub.auth.tokens import MAX_TOKEN, JwtAuthority, make_token
from hub.settings import Settings

__all__ = [
    "MAX_TOKEN",
    "Authority",
    "ChangingAuthority",
    "DevAuthority",
    "Grant",
    "JwtAuthority",
    "KeyNotKnown",
    "Keyring",
    "KeysNotHad",
    "Now",
    "ProvingKey",
    "Secret",
    "SigningKey",
    "admit",
    "authority_from",
    "make_token",
    "read_private_key",
    "read_public_key",
    "read_secret",
]


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
        issuer=settings.tokens.token_issuer,
    )


def _key_of(settings: Settings) -> Secret | ProvingKey | Keyring:
    if settings.tokens.token_jwks is not None:
        return keyring_from(settings.tokens.token_jwks)
    if settings.token_secret_file is not None:
        return read_secret(settings.token_secret_file)
    assert settings.token_key_file is not None, "Settings makes sure of exactly one"  # noqa: S101
    return read_public_key(settings.token_key_file)
