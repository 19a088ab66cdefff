"""The verb `import`: users of an export come into a hub's file, each whole or not at all."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from rich.console import Console

from hub import logs
from hub.exports import (
    VERSION,
    Bundle,
    End,
    EndOfUser,
    Export,
    Line,
    NotAnExport,
    User,
    encode_line,
    read_line,
)
from hub.http.control import tell as tell_hub
from hub.http.moving import IMPORT, SECONDS
from hub.loading import load_for_file
from hub.progress import Tell, for_whom_it_is, silent
from hub.server import open_store
from hub.settings import Settings
from hub.store.beside import looking
from hub.store.errors import FileInUse, StoreFailed, UserExists
from hub.store.interface import Store
from hub.store.reading import user_no
from hub.verbs.output import explained_if_stopped, is_for_programs, line, write_line

STOPPED: Final = (
    "Stopped. Users that were told of here are in; of the one under way nothing is, and who had "
    "that name before is as before. Give what is left again."
)


class Text(NamedTuple):
    """A line of the file, read and as it is; the file is read up to the byte `done`."""

    line: Line
    text: bytes
    done: int


class Brought(NamedTuple):
    """A user that was brought in."""

    user: str
    objects: int
    bytes: int


class Way(Protocol):
    """How a user gets into the hub's file."""

    async def __call__(self, user: User, texts: Iterator[Text], *, replace: bool) -> Brought:
        """Bring a user in, whose lines are the first and those that follow."""


def bring(
    source: Path, data: str | None, config: str | None, *, replace: bool, as_json: bool
) -> None:
    """Import a file, through the hub if it serves; each user is told as it comes in."""
    logs.configure("warning", "auto")
    settings = load_for_file({"data": data, "config": config}, os.environ)
    show = _write if is_for_programs(as_json=as_json) else _print
    with explained_if_stopped(STOPPED), for_whom_it_is(silent)() as tell:
        users = _check(source, tell)
        if not replace:
            _check_new(users, settings.data)
        asyncio.run(_bring_all(_texts(source, tell, "importing"), settings, show, replace=replace))


def _write(brought: Brought) -> None:
    write_line(brought._asdict())


def _print(brought: Brought) -> None:
    Console().print(line(f"{brought.user}: {brought.objects:,} objects, in a new history"))


def _check(source: Path, tell: Tell) -> Sequence[str]:
    """Make sure, before anything is changed, that a file is a whole export; its users."""
    users: list[str] = []
    is_open, last = False, None
    for number, (last, _text, _done) in enumerate(_texts(source, tell, "checking"), 1):
        if isinstance(last, Bundle):
            raise NotAnExport(f"{source} is a bundle: nobody can be brought back from it")
        belongs = is_open != isinstance(last, Export | User | End)
        if not belongs or (number > 1 and isinstance(last, Export)):
            raise NotAnExport(f"{source}, line {number}: a line is missing before this one")
        users += [last.name] if isinstance(last, User) else []
        is_open = isinstance(last, User) or (is_open and not isinstance(last, EndOfUser))
    if not isinstance(last, End) or last.users != len(users):
        raise NotAnExport(f"{source} is cut off: its last line is missing")
    return users


def _check_new(users: Sequence[str], data: Path) -> None:
    """Make sure, before the first of them comes, that none of these users is there."""
    if data.exists():
        with looking(data) as file:
            for user in users:
                if user_no(file, user):
                    raise UserExists(user)


def _texts(source: Path, tell: Tell, part: str) -> Iterator[Text]:
    try:
        size, done = source.stat().st_size, 0
        with source.open("rb") as file:
            for number, text in enumerate(file, 1):
                done += len(text)
                tell(part, done, size)
                yield Text(read_line(text, number), text, done)
    except OSError as error:
        raise StoreFailed(f"{source} cannot be read: {error.strerror}") from None


async def _bring_all(
    texts: Iterator[Text], settings: Settings, show: Callable[[Brought], None], *, replace: bool
) -> None:
    async with _way(settings) as way:
        for each in texts:
            if isinstance(each.line, User):
                show(await way(each.line, _with_rest(each, texts), replace=replace))


def _with_rest(first: Text, texts: Iterator[Text]) -> Iterator[Text]:
    """The lines of one user, up to the end."""
    yield first
    for each in texts:
        yield each
        if isinstance(each.line, EndOfUser):
            return


@asynccontextmanager
async def _way(settings: Settings) -> AsyncIterator[Way]:
    """Into the file itself, if nobody serves it; otherwise through its hub."""
    store = open_store(settings)
    try:
        await store.open()
    except FileInUse:
        yield partial(_through_the_hub, settings.data)
        return
    try:
        yield partial(_into_the_store, store)
    finally:
        await store.close()


async def _into_the_store(
    store: Store, user: User, texts: Iterator[Text], *, replace: bool
) -> Brought:
    next(texts)
    imported = await store.import_user(user, _lines(texts), replace=replace)
    return Brought(user.name, *imported)


async def _lines(texts: Iterator[Text]) -> AsyncIterator[Line]:
    for each in texts:
        yield each.line


async def _through_the_hub(
    data: Path, user: User, texts: Iterator[Text], *, replace: bool
) -> Brought:
    path = f"{IMPORT}?replace={str(replace).lower()}"
    answer: dict[str, Any] = await tell_hub(data, path, _bytes(texts), SECONDS)
    return Brought(user.name, answer["objects"], answer["bytes"])


async def _bytes(texts: Iterator[Text]) -> AsyncIterator[bytes]:
    """An export of this user alone."""
    yield encode_line(Export(version=VERSION, exported_at=0))
    for each in texts:
        yield each.text
    yield encode_line(End(users=1))
