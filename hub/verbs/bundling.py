"""The verb `bundle`: what a developer needs to see a divergence, and nothing that a user wrote."""

import asyncio
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import IO, Final

from rich.console import Console

from hub.exports import Bundle, Export, Line, Presence, encode_line
from hub.http.control import NotReached, metrics_of
from hub.loading import data_file, given_settings
from hub.progress import for_whom_it_is, silent
from hub.redaction import Redaction
from hub.store.beside import looking
from hub.store.errors import StoreFailed, TargetExists
from hub.store.exporting import export, names_of
from hub.store.lock import holder_of
from hub.store.versions import SQLITE
from hub.verbs.output import line, size

PACKAGES: Final = (
    "mobync-hub",
    "websockets",
    "uvloop",
    "aiosqlite",
    "msgspec",
    "orjson",
    "aiohttp",
)


def write_bundle(target: Path, user: str, data: str | None, config: str | None) -> None:
    """Write a bundle about a user to a file, which must not be there yet."""
    flags = {"data": data, "config": config}
    path, settings = data_file(flags, os.environ), given_settings(flags, os.environ)
    hub, metrics = _heard_of(path)
    now = time.time_ns() // 1_000_000
    head = Bundle(made_at=now, versions=_versions(), settings=settings, hub=hub, metrics=metrics)
    with looking(path) as file, for_whom_it_is(silent)() as tell:
        users = names_of(file, user)
        with _written(target) as bundle:
            for each in _redacted(export(file, users, now, tell), head):
                bundle.write(encode_line(each))
    words = f"{target}: {size(target.stat().st_size)}; replay it with scripts/replay-bundle"
    Console(soft_wrap=True).print(line(words))
    if not metrics:
        Console(soft_wrap=True).print(f"It has no metrics, for the hub {hub}.")


def _heard_of(data: Path) -> tuple[Presence, tuple[str, ...]]:
    """What the hub does, and what it counts: no user, device or address is among that."""
    if holder_of(data) is None:
        return "is stopped", ()
    try:
        text = asyncio.run(metrics_of(data))
    except NotReached:
        return "does not answer", ()
    return "serves", tuple(each for each in text.splitlines() if not each.startswith("#"))


def _redacted(lines: Iterator[Line], head: Bundle) -> Iterator[Line]:
    redaction = Redaction(os.urandom(32))
    for each in lines:
        yield redaction.line(each)
        if isinstance(each, Export):
            yield head


@contextmanager
def _written(target: Path) -> Iterator[IO[bytes]]:
    """A new file; one that was begun and not finished does not stay."""
    with _opened(target) as file:
        try:
            yield file
        except BaseException:
            target.unlink()
            raise


def _opened(target: Path) -> IO[bytes]:
    try:
        return os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
    except FileExistsError:
        raise TargetExists(f"{target} is there already; name another file") from None
    except OSError as error:
        raise StoreFailed(f"{target} cannot be written: {error.strerror}") from None


def _versions() -> dict[str, str]:
    return {
        **{package: version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "sqlite": SQLITE,
        "system": f"{platform.system()} {platform.machine()}",
    }
