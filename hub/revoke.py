"""The command `mobync-hub revoke`: turn somebody away, let them in again, or list who is."""

import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import orjson
import rich_click as click
from rich.console import Console
from rich.table import Table

from hub import logs
from hub.http.admin import Order, as_row
from hub.http.control import order
from hub.loading import data_file
from hub.progress import for_whom_it_is, quarters
from hub.revoking import Revocation, of_subject
from hub.server import now
from hub.store.errors import FileInUse
from hub.store.revocations import change_file, erase, read_file, write


def change(names: Sequence[str], data: Path, until: int | None, *, undo: bool) -> None:
    """Revoke a user, a device or a token, or undo that; through the hub if it serves."""
    what = _revocation(names, until)
    logs.configure("info", "auto")  # an upgrade of the file tells what it does
    try:
        told = _in_the_file(what, data, undo=undo)
    except FileInUse:
        told = _through_the_hub(what, data, undo=undo)
    click.echo(told)


def _revocation(names: Sequence[str], until: int | None) -> Revocation:
    try:
        match names:
            case ["user", user]:
                return of_subject(user, "", "")
            case ["device", user, device] if user and device:
                return of_subject(user, device, "")
            case ["token", token]:
                return of_subject("", "", token, until)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    raise click.UsageError("name one of: user USER, device USER DEVICE, token ID")


def _in_the_file(what: Revocation, data: Path, *, undo: bool) -> str:
    work = partial(erase, what) if undo else partial(write, what, now())
    changed = change_file(data, work, now(), for_whom_it_is(quarters))
    if undo:
        return _undone(what, changed=bool(changed))
    return f"{what.words} is revoked; the hub is stopped, and will refuse it when it serves"


def _through_the_hub(what: Revocation, data: Path, *, undo: bool) -> str:
    request = Order(what.user, what.device, what.token, what.until, undo)
    answer = asyncio.run(order(data, request))
    if undo:
        return _undone(what, changed=answer["changed"])
    return f"{what.words} is revoked, and {_connections(answer['closed'])} of it ended"


def _undone(what: Revocation, *, changed: bool) -> str:
    return f"{what.words} is {'let in again' if changed else 'not revoked'}"


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"


def show(data: Path) -> None:
    """A table for people, JSON Lines for programs."""
    revocations = read_file(data)
    if not sys.stdout.isatty():
        for each in revocations:
            click.echo(orjson.dumps(as_row(each)).decode())
        return
    Console().print(table_of(revocations) if revocations else "Nobody is revoked.")


def table_of(revocations: Sequence[Revocation]) -> Table:
    """One row for each that is revoked."""
    table = Table("Kind", "User", "Device", "Token", "Since", "Kept until")
    for each in revocations:
        until = "for ever" if each.until is None else _time(each.until)
        table.add_row(each.kind, each.user, each.device, each.token, _time(each.at), until)
    return table


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def file_of(data: str | None, config: str | None) -> Path:
    """The hub's file that the settings name."""
    return data_file({"data": data, "config": config}, os.environ)
