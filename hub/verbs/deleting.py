"""The verb `delete-user`: all that there is of a user goes, and nobody comes back by that name."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import msgspec
import rich_click as click
from click import confirm
from rich.console import Console

from hub import logs
from hub.http.control import tell
from hub.http.moving import DELETE, SECONDS, Whom
from hub.loading import load_for_file
from hub.names import printable
from hub.progress import for_whom_it_is, silent
from hub.revoking import Revocation
from hub.server import open_store
from hub.settings import Settings
from hub.store.beside import looking
from hub.store.errors import FileInUse
from hub.store.looking import UserRow, standing_of
from hub.verbs.output import explained_if_stopped, is_for_programs, line, write_line

WAL_IS_LEFT: Final = (
    "The WAL still has old pages: somebody reads the file, or Litestream has the checkpoints. Run "
    "mobync-hub compact later, or restart the hub."
)


STOPPED: Final = (
    "Stopped. Look with mobync-hub users: who is not there any more is being deleted, and is "
    "revoked. A hub that serves goes on with it; of a stopped one mobync-hub compact erases what "
    "is left, and so does its next start."
)


def delete(
    user: str, data: str | None, config: str | None, *, is_sure: bool, as_json: bool
) -> None:
    """Delete a user, through the hub if it serves, when somebody has said so."""
    logs.configure("error", "auto")
    settings = load_for_file({"data": data, "config": config}, os.environ)
    with looking(settings.data) as file:
        row = standing_of(file, user)
    if not is_sure:
        _ask(row)
    with explained_if_stopped(STOPPED), for_whom_it_is(silent)() as progress:
        progress("deleting", 0, 0)
        is_cut = asyncio.run(_deleted(user, settings))
    if is_for_programs(as_json=as_json):
        write_line({"user": user, "objects": row.objects, "is_wal_cut": is_cut})
        return
    words = f"{user} is deleted, with {row.objects:,} objects, and revoked"
    Console().print(line(words), *(() if is_cut else (WAL_IS_LEFT,)), sep="\n")


def _ask(row: UserRow) -> None:
    """Ask a person; nobody else can answer."""
    if not sys.stdin.isatty():
        raise click.UsageError("there is no way back: give --yes")
    what = f"{row.objects:,} objects and {row.devices:,} devices"
    confirm(f"Delete {printable(row.user)} with {what}, for good?", abort=True)


async def _deleted(user: str, settings: Settings) -> bool:
    store = open_store(settings)
    try:
        await store.open()
    except FileInUse:
        return await _through_the_hub(user, settings.data)
    try:
        await store.revoke(Revocation("user", user))
        return await store.delete_user(user)
    finally:
        await store.close()


async def _through_the_hub(user: str, data: Path) -> bool:
    answer = await tell(data, DELETE, msgspec.json.encode(Whom(user)), SECONDS)
    return bool(answer["is_wal_cut"])
