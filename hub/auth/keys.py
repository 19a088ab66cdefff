"""The keys that tokens are made and proved with, each with the one algorithm that it is for."""

import stat
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import jwt
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

from hub.errors import SettingsError

LEAST_SECRET: Final = 32
"""Bytes; RFC 7518, section 3.2: no fewer than the hash of HS256 has."""
LEAST_RSA_BITS: Final = 2048
"""RFC 7518, section 3.3."""

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
PrivateKey: TypeAlias = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey

_log = structlog.stdlib.get_logger("hub.auth")


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


def read_secret(path: Path) -> Secret:
    """The secret of HS256: what the file holds, less a line break at its end.

    Raises:
        SettingsError: it cannot be read, is too short, or is a key of another kind.

    """
    secret = read_file(path, "token_secret_file").rstrip(b"\r\n")
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
    warn_if_open(path)
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
    pem = read_file(path, "token_key_file")
    if b"PRIVATE KEY-----" in pem:
        raise SettingsError(
            f"{path} holds a private key, which the hub must not have: with it one makes tokens",
            f"take the public half: openssl pkey -in {path} -pubout -out public.pem",
            "token_key_file",
        )
    try:
        public = load_pem_public_key(pem)
        algorithm = algorithm_of(public)
    except (ValueError, UnsupportedAlgorithm):
        raise _no_key(path, "public", "token_key_file") from None
    return ProvingKey(algorithm, public)  # type: ignore[arg-type]  # algorithm_of knows only these


def read_private_key(path: Path) -> SigningKey:
    """The private key in a PEM file, to make tokens with; the hub itself never needs it.

    Raises:
        SettingsError: it cannot be read, has a password, or is of a kind that the hub knows not.

    """
    try:
        private = load_pem_private_key(read_file(path), password=None)
        algorithm = algorithm_of(private.public_key())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _no_key(path, "private") from None
    return SigningKey(algorithm, private)  # type: ignore[arg-type]  # as above


def algorithm_of(public: object) -> str:
    """The one algorithm that the hub takes a public key for; ValueError: none."""
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


def read_file(path: Path, *settings: str) -> bytes:
    """What a file that a setting names holds.

    Raises:
        SettingsError: it cannot be read.

    """
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


def warn_if_open(path: Path) -> None:
    """Say so if a file with a secret is for everybody to read."""
    if path.stat().st_mode & stat.S_IROTH:
        _log.warning(
            "every user of this machine can read a secret of the hub",
            file=str(path),
            remedy=f"chmod o-r {path}",
        )
