"""The command `mobync-hub revoke`: turn somebody away, let them in again, or list who is."""

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import orjson
import rich_click as click
from rich.console import Console

from hub import logs
from hub.http.admin import Order, as_row
from hub.http.control import order
from hub.loading import data_file
from hub.names import printable
from hub.progress import for_whom_it_is, quarters
from hub.revoking import Revocation, of_subject
from hub.server import now
from hub.store.beside import is_known, looking
from hub.store.errors import FileInUse
from hub.store.revocations import change_file, erase, read_file, write
from hub.verbs.output import is_for_programs, moment, write_line
from hub.verbs.tables import Cells, Rows


class Done(NamedTuple):
    """What became of it: how many connections ended; None: the hub is stopped.

    `changed` is whether somebody is let in who was not. `known` is whether the file has the user,
    or the device, that is turned away; None: it was not asked.
    """

    revoked: bool
    closed: int | None = None
    changed: bool = True
    known: bool | None = None


def change(
    names: Sequence[str], data: Path, until: int | None, *, undo: bool, as_json: bool
) -> None:
    """Revoke a user, a device or a token, or undo that; through the hub if it serves."""
    what = _revocation(names, until)
    logs.configure("info", "auto")  # an upgrade of the file tells what it does
    try:
        done = _in_the_file(what, data, undo=undo)
    except FileInUse:
        done = _through_the_hub(what, data, undo=undo)
    if done.revoked and what.kind != "token":
        done = done._replace(known=_is_known(what, data))
    if as_json:
        who = {name: of for name, of in as_row(what).items() if name != "at"}
        write_line({**who, **done._asdict()})
    else:
        click.echo(printable(_in_words(what, done)))
        if done.known is False:
            click.echo(printable(_doubt(what)), err=True)


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


def _in_the_file(what: Revocation, data: Path, *, undo: bool) -> Done:
    work = partial(erase, what) if undo else partial(write, what, now())
    changed = change_file(data, work, now(), for_whom_it_is(quarters))
    return Done(revoked=False, changed=bool(changed)) if undo else Done(revoked=True)


def _through_the_hub(what: Revocation, data: Path, *, undo: bool) -> Done:
    request = Order(what.user, what.device, what.token, what.until, undo)
    answer = asyncio.run(order(data, request))
    if undo:
        return Done(revoked=False, changed=answer["changed"])
    return Done(revoked=True, closed=answer["closed"])


def _is_known(what: Revocation, data: Path) -> bool:
    with looking(data) as file:
        return is_known(file, what.user, what.device)


def _doubt(what: Revocation) -> str:
    return (
        f"but no {what.words} was ever here: is the name spelled as the hub knows it "
        "(mobync-hub users, devices)? Whoever comes by it is refused all the same"
    )


def _in_words(what: Revocation, done: Done) -> str:
    if not done.revoked:
        return f"{what.words} is {'let in again' if done.changed else 'not revoked'}"
    if done.closed is None:
        return f"{what.words} is revoked; the hub is stopped, and will refuse it when it serves"
    return f"{what.words} is revoked, and {_connections(done.closed)} of it ended"


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"


def show(data: Path, *, as_json: bool) -> None:
    """A table for people, JSON Lines for programs."""
    revocations = read_file(data)
    if is_for_programs(as_json=as_json):
        for each in revocations:
            click.echo(orjson.dumps(as_row(each)).decode())
        return
    Console().print(table_of(revocations) if revocations else "Nobody is revoked.")


def table_of(revocations: Sequence[Revocation]) -> Rows:
    """One row for each that is revoked."""
    heads = "Kind", "User", "Device", "Token", "Since", "Kept until"
    return Rows(heads, map(_cells, revocations))


def _cells(each: Revocation) -> Cells:
    until = "for ever" if each.until is None else moment(each.until)
    return each.kind, each.user, each.device, each.token, moment(each.at), until


def file_of(data: str | None, config: str | None) -> Path:
    """The hub's file that the settings name."""
    return data_file({"data": data, "config": config}, os.environ)
