"""The files that settings name: whether they are good, and who else can read them."""

import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from hub.auth import authority_from
from hub.doctor.findings import Finding, note, well, wrong, wrong_setting
from hub.errors import SettingsError
from hub.http.bearer import read_token
from hub.policy import load_policy
from hub.settings import Settings
from hub.tls.identity import read_pair

EARLY: Final = timedelta(days=14)
"""Before a certificate ends, its renewal should have happened."""


def look_at_named_files(settings: Settings) -> Iterator[Finding]:
    """Read each file that a setting names, as the hub does when it starts."""
    yield from _tried("tokens", lambda: authority_from(settings, lambda: 0))
    yield from _tried("admin token", lambda: _token(settings.tokens.admin_token_file, "admin"))
    reader = settings.metrics.metrics_token_file
    yield from _tried("metrics token", lambda: _token(reader, "metrics"))
    if settings.policy is not None:
        name = settings.policy
        yield from _tried("rules", lambda: load_policy(name))
    yield from _certificate(settings)
    yield from _readable(settings)


def _token(path: Path | None, kind: str) -> None:
    if path is not None:
        read_token(path, f"{kind}_token_file")


def _tried(check: str, read: Callable[[], object]) -> Iterator[Finding]:
    try:
        read()
    except SettingsError as error:
        yield wrong_setting(error, check)


def _certificate(settings: Settings) -> Iterator[Finding]:
    cert, key = settings.edge.tls_cert_file, settings.edge.tls_key_file
    if cert is None or key is None:
        return
    try:
        until = read_pair(cert, key).until
    except SettingsError as error:
        yield wrong_setting(error, "certificate")
        return
    found = f"{cert} counts until {until:%Y-%m-%d}"
    if until - datetime.now(UTC) < EARLY:
        yield wrong("certificate", found, "renew it; the hub takes the new files by itself")
    else:
        yield well("certificate", found)


def _readable(settings: Settings) -> Iterator[Finding]:
    """Whether others on the machine can read a secret."""
    named = (
        settings.token_secret_file,
        settings.tokens.admin_token_file,
        settings.metrics.metrics_token_file,
        settings.edge.tls_key_file,
    )
    paths = [path for path in named if path is not None and path.is_file()]
    for path in paths:
        if path.stat().st_mode & stat.S_IRWXO:
            yield wrong("secrets", f"{path} is open to everybody here", f"chmod o-rwx {path}")
    if paths and not any(path.stat().st_mode & stat.S_IRWXO for path in paths):
        files = "1 file" if len(paths) == 1 else f"{len(paths)} files"
        yield well("secrets", f"{files}, which only owner and group can read")
    if not paths and settings.dev:
        yield note("secrets", "none, for with --dev a token is simply the user's name")
