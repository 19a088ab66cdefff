"""The verb `bundle`: what a developer needs to see a divergence, and nothing that a user wrote."""

import os
import platform
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import IO, Final

from rich.console import Console

from hub.exports import Bundle, Export, Line, encode_line
from hub.loading import data_file, given_settings
from hub.progress import for_whom_it_is, silent
from hub.redaction import Redaction
from hub.store.beside import looking
from hub.store.errors import StoreFailed, TargetExists
from hub.store.exporting import export, names_of
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
    with looking(path) as file, for_whom_it_is(silent)() as tell:
        users, now = names_of(file, user), time.time_ns() // 1_000_000
        with _opened(target) as bundle:
            for each in _redacted(export(file, users, now, tell), settings, now):
                bundle.write(encode_line(each))
    words = f"{target}: {size(target.stat().st_size)}; replay it with scripts/replay-bundle"
    Console(soft_wrap=True).print(line(words))


def _redacted(lines: Iterator[Line], settings: Mapping[str, str], now: int) -> Iterator[Line]:
    redaction = Redaction(os.urandom(32))
    for each in lines:
        yield redaction.line(each)
        if isinstance(each, Export):
            yield Bundle(made_at=now, versions=_versions(), settings=settings)


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
