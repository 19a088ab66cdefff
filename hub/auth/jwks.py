"""Sets of public keys as their issuer publishes them (JWKS, RFC 7517)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import jwt
import msgspec

from hub.auth.keys import ProvingKey, algorithm_of

MOST_KEYS: Final = 100
"""Keys of a set that are looked at."""
_ALGORITHMS: Final[Mapping[tuple[object, object], str]] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
"""Which algorithm a kind of key (`kty` and `crv`) is for."""


class NoKeySet(ValueError):
    """What should be a set of keys is none."""


class KeySet(NamedTuple):
    """The keys of use in a set, by the name that tokens give them, and why others are of none."""

    keys: Mapping[str | None, ProvingKey]
    passed_over: Sequence[str]

    def find(self, key_id: str | None) -> ProvingKey | None:
        """The key of that name; a token that names none can only mean one that is the only one."""
        if key_id is None:
            return next(iter(self.keys.values())) if len(self.keys) == 1 else None
        return self.keys.get(key_id)


class _Document(msgspec.Struct):
    keys: list[Any]


class _Useless(Exception):
    """A key that proves no token, and why."""


def read_key_set(text: bytes) -> KeySet:
    """The keys in a JSON Web Key Set. Those of other kinds or uses are passed over.

    Raises:
        NoKeySet: it is none.

    """
    try:
        document = msgspec.json.decode(text, type=_Document)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise NoKeySet("that is no JSON Web Key Set") from None
    keys: dict[str | None, ProvingKey] = {}
    passed_over: list[str] = []
    for number, jwk in enumerate(document.keys[:MOST_KEYS]):
        try:
            _add(jwk, keys)
        except _Useless as useless:
            passed_over.append(f"key {number}: {useless}")
    return KeySet(keys, passed_over)


def _add(jwk: object, keys: dict[str | None, ProvingKey]) -> None:
    key_id, key = _read_key(jwk)
    if keys.setdefault(key_id, key) is not key:
        raise _Useless("another one before it has the same kid")


def _read_key(jwk: object) -> tuple[str | None, ProvingKey]:
    if not isinstance(jwk, dict):
        raise _Useless("it is no key")
    algorithm = _algorithm(jwk)
    key_id = jwk.get("kid")
    if not isinstance(key_id, str | None):
        raise _Useless("its kid is no text")
    try:
        material = jwt.PyJWK(jwk, algorithm).key
        if algorithm_of(material) != algorithm:
            raise _Useless("it is of another kind than it says")
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        raise _Useless("it is not whole, or too short") from None
    return key_id, ProvingKey(algorithm, material)


def _algorithm(jwk: Mapping[str, Any]) -> str:
    """What a key is for, by its own kind; what it says beside that may only forbid it."""
    algorithm = _ALGORITHMS.get((_word(jwk, "kty"), _word(jwk, "crv")))
    if algorithm is None:
        raise _Useless(f"its kind is {_word(jwk, 'kty')} {_word(jwk, 'crv') or ''}".rstrip())
    if "d" in jwk:
        raise _Useless("it is a private key, with which one makes tokens: publish the public half")
    if jwk.get("alg", algorithm) != algorithm:
        raise _Useless(f"it is for {_word(jwk, 'alg')}, and the hub takes {algorithm} of its kind")
    if jwk.get("use", "sig") != "sig" or "verify" not in _operations(jwk):
        raise _Useless("it is not for signatures")
    return algorithm


def _word(jwk: Mapping[str, Any], name: str) -> str | None:
    """A member of a key, bounded to be shown; None: not there, or no text."""
    value = jwk.get(name)
    return value[:20] if isinstance(value, str) else None


def _operations(jwk: Mapping[str, Any]) -> Sequence[Any]:
    operations = jwk.get("key_ops", ["verify"])
    return operations if isinstance(operations, list) else ()
