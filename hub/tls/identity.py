"""The hub's certificate, with its key: read from files, and read again when these change.

A new pair counts for connections that come from then on; those that are there go on. A pair that
cannot be used changes nothing: the hub says why, and shows the old one.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509 import Certificate, load_pem_x509_certificates

from hub.edge import Edge
from hub.endless import meanwhile
from hub.errors import SettingsError

WATCH_SECONDS: Final = 5.0
"""How often the files are looked at, unless somebody asks for it."""

CERT: Final = "tls_cert_file"
KEY: Final = "tls_key_file"

logger: Final = structlog.get_logger("hub")


class Shows(Protocol):
    """Who knows which certificate counts now."""

    @property
    def context(self) -> ssl.SSLContext:
        """What a connection that comes now is to speak."""

    def new_context(self) -> ssl.SSLContext:
        """The same, to be changed by who asks for it."""


@asynccontextmanager
async def showing(edge: Edge) -> AsyncIterator["Identity | None"]:
    """The hub's certificate, watched for as long as this lasts; None: it has none.

    Raises:
        SettingsError: as `Identity`.

    """
    if edge.tls_cert_file is None or edge.tls_key_file is None:
        yield None
        return
    identity = Identity(edge.tls_cert_file, edge.tls_key_file)
    async with meanwhile(identity.watch(), "certificate"):
        yield identity


class Pair(NamedTuple):
    """A certificate and its key, fit to be shown."""

    context: ssl.SSLContext
    until: datetime


def _context_of(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=lambda: b"")
    except (
        ssl.SSLError,
        OSError,
    ) as error:  # what OpenSSL refuses beyond our own checks: weak keys
        raise SettingsError(
            f"{cert} and {key} cannot be used: {error}", "make a new pair", CERT, KEY
        ) from None
    return context


class Identity:
    """What the hub shows to who connects.

    Raises:
        SettingsError: says what is wrong with the files, and how to mend it.

    """

    def __init__(self, cert: Path, key: Path) -> None:
        self._files = cert, key
        self._seen = self._marks()
        self._asked = asyncio.Event()
        self._is_over = False
        self._take(read_pair(cert, key))

    @property
    def context(self) -> ssl.SSLContext:
        """What a connection that comes now is to speak."""
        return self._pair.context

    def new_context(self) -> ssl.SSLContext:
        """The same, to be changed by who asks for it."""
        return _context_of(*self._files)

    async def watch(self) -> None:
        """Look at the files again and again, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await self._asked.wait()
            self._asked.clear()
            self.look()

    def ask(self) -> None:
        """Have the files looked at without delay."""
        self._asked.set()

    def look(self) -> None:
        """Take the pair in the files, if they have changed and it can be used."""
        marks = self._marks()
        if marks != self._seen:
            self._seen = marks
            try:
                self._take(read_pair(*self._files))
            except SettingsError as error:
                logger.warning(
                    "the new certificate cannot be used; the old one still counts",
                    why=error.problem, remedy=error.remedy,
                )  # fmt: skip
        self._warn_when_over()

    def _take(self, pair: Pair) -> None:
        self._pair, self._is_over = pair, False
        logger.info("certificate", file=str(self._files[0]), until=pair.until.isoformat())

    def _warn_when_over(self) -> None:
        if not self._is_over and self._pair.until <= datetime.now(UTC):
            self._is_over = True
            logger.warning(
                "the certificate has run out: devices no longer connect",
                file=str(self._files[0]), remedy="put a new pair in the place of its files",
            )  # fmt: skip

    def _marks(self) -> list[tuple[int, int, int] | None]:
        """What differs when a file was written or another put in its place."""
        return [_mark(path) for path in self._files]


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_pair(cert: Path, key: Path) -> Pair:
    """Read both files.

    Raises:
        SettingsError: they cannot be read, do not belong together, or do not count today.

    """
    chain = _chain_in(cert)
    _check_key(key, chain[0], cert)
    _check_dates(chain[0], cert)
    return Pair(_context_of(cert, key), chain[0].not_valid_after_utc)


def _chain_in(path: Path) -> list[Certificate]:
    try:
        return load_pem_x509_certificates(_bytes_of(path, CERT))
    except ValueError:
        raise SettingsError(
            f"{path} holds no certificate",
            "give the certificate as PEM, and behind it those that vouch for it",
            CERT,
        ) from None


def _check_key(path: Path, certificate: Certificate, cert: Path) -> None:
    pem = _bytes_of(path, KEY)
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise SettingsError(
            f"the key in {path} has a password, which nobody could give when the hub starts",
            f"take it off: openssl pkey -in {path} -out {path}.open",
            KEY,
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError(f"{path} holds no private key", "give the key as PEM", KEY) from None
    if _public(key.public_key()) != _public(certificate.public_key()):
        raise SettingsError(
            f"the key in {path} is not that of the certificate in {cert}",
            "name a certificate and a key that were made for each other; in a file with more than "
            "one certificate the hub's own comes first",
            CERT,
            KEY,
        )


def _public(key: object) -> bytes:
    shown: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]  # every public key has it
    return shown


def _check_dates(certificate: Certificate, path: Path) -> None:
    now = datetime.now(UTC)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if begins <= now < ends:
        return
    why = f"ran out on {ends:%Y-%m-%d}" if ends <= now else f"counts only from {begins:%Y-%m-%d} on"
    raise SettingsError(
        f"the certificate in {path} {why}",
        "put one in its place that counts today, or set this machine's clock",
        CERT,
    )


def _bytes_of(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror}",
            "name a file that is there and that the hub may read",
            setting,
        ) from None
