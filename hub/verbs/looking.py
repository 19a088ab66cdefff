"""The verbs `users`, `devices`, `objects` and `log`: what a hub's file has, who is how far."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from hub.errors import HubError
from hub.store import looking as store
from hub.store.beside import known, looking
from hub.store.explaining import refused_edits
from hub.store.looking import DeviceRow, ObjectRow, PushRow, UserRow
from hub.store.past import objects_at
from hub.store.reading import first_clock, head_of, history_of
from hub.verbs.output import (
    Found,
    became,
    is_for_programs,
    line,
    moment,
    size,
    span,
    values,
    write_line,
)
from hub.verbs.tables import Cells
from protocol.messages import decode_diffs

FOLLOW_SECONDS: Final = 0.5
"""How often `log --follow` looks again."""
PUSHES_AT_ONCE: Final = 100
"""Pushes that are read before they are shown."""

_USER: Final = ("User", "Clock", "Objects", "Size", "Devices", "Last push", "Last seen", "Log from")
_DEVICE: Final = ("Device", "How far", "Received", "Last seen", "Last push id")
_OBJECT: Final = ("Model", "Id", "Clock", "Changed", "By", "Fields")


def show_users(data: Path, *, as_json: bool) -> None:
    """All users of a hub."""
    with looking(data) as file:
        found = Found(store.users(file), as_json=as_json)
    found.show(_USER, _user_cells, "Nobody is here yet.")


def show_devices(data: Path, user: str, *, as_json: bool) -> None:
    """A user's devices, and how far behind each is."""
    with looking(data) as file:
        found = Found(store.devices(file, user), as_json=as_json)
    found.show(_DEVICE, _device_cells, "No device of this user was here.")


def show_objects_at(data: Path, user: str, model: str | None, clock: int, *, as_json: bool) -> None:
    """A user's objects as they were at a clock."""
    with looking(data) as file:
        found = Found(objects_at(file, user, model, clock), as_json=as_json)
    found.show(_OBJECT, object_cells, "There were no such objects.")


def show_objects(data: Path, user: str, model: str | None, *, deleted: bool, as_json: bool) -> None:
    """A user's objects as they stand."""
    with looking(data) as file:
        rows = store.objects(file, user, model)
        kept = (row for row in rows if deleted or row.fields is not None)
        found = Found(kept, as_json=as_json)
    found.show(_OBJECT, object_cells, "There are no such objects.")


def show_log(data: Path, user: str, after: int, *, follow: bool, as_json: bool) -> None:
    """A user's pushes, and, as long as nobody stops it, each that comes."""
    log_id, first, head = _beginning(data, user)
    if after + 1 < first:
        _tell(f"The log goes back to clock {first:,}; what was before is gone.")
    elif after >= head:
        _tell(f"Nothing came behind clock {after:,} yet: the user is at {head:,}.")
    write = write_line if is_for_programs(as_json=as_json) else _write_text
    # Ctrl-C is how a person ends what has no end.
    with contextlib.suppress(KeyboardInterrupt) if follow else contextlib.nullcontext():
        for push in _all_pushes(data, user, log_id, after, follow=follow):
            write(push)


def _all_pushes(
    data: Path, user: str, log_id: str, after: int, *, follow: bool
) -> Iterator[PushRow]:
    """Pushes behind a clock, some at a time; and those to come."""
    while True:
        pushes = _pushes(data, user, log_id, after)
        yield from pushes
        if pushes:
            after = pushes[-1].clock
        elif follow:
            time.sleep(FOLLOW_SECONDS)
        else:
            return


def _tell(words: str) -> None:
    """Say something beside what is shown."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(words)


def _beginning(data: Path, user: str) -> tuple[str, int, int]:
    """A user's history, and the first and the last clock of its log."""
    with looking(data) as file:
        number = known(file, user)
        return history_of(file, number), first_clock(file, number), head_of(file, number)


def _pushes(data: Path, user: str, log_id: str, after: int) -> Sequence[PushRow]:
    with looking(data) as file:
        number = known(file, user)
        if history_of(file, number) != log_id:
            raise HubError(f"{user!r} has another history now: a copy was put back; begin again")
        return list(islice(store.pushes(file, number, after), PUSHES_AT_ONCE))


def _write_text(push: PushRow) -> None:
    Console(highlight=False, soft_wrap=True).print(*push_lines(push), sep="\n")


def push_lines(push: PushRow) -> Iterator[Any]:
    """A push for a person: a line of its own, and one for each edit and what became of it."""
    yield line(f"clock {push.clock}  {moment(push.stored_at)}  {push.device}", "bold")
    for diff in decode_diffs(push.diffs):
        yield line(_edit_line(diff.type, diff.model, diff.json_data["id"], diff.json_data))
    for (model, name), edit in refused_edits(push):
        style = "red" if edit.code else "yellow"
        yield line(f"{_edit_line(edit.type, model, name, edit.fields)}: {became(edit)}", style)


def _edit_line(kind: str, model: object, name: object, fields: Mapping[str, Any]) -> str:
    set_to = values(fields)
    return f"  {kind} {model} {name}" + (f"  {set_to}" if set_to else "")


def _user_cells(row: UserRow) -> Cells:
    counts = f"{row.clock:,}", f"{row.objects:,}", size(row.bytes), f"{row.devices:,}"
    return row.user, *counts, moment(row.stored_at), moment(row.seen), f"{row.first_clock:,}"


def _device_cells(row: DeviceRow) -> Cells:
    far = f"{row.received:,}", moment(row.seen), f"{row.last_push_id:,}"
    return row.device, how_far(row, time.time_ns() // 1_000_000), *far


def how_far(row: DeviceRow, at: int) -> str:
    """How far behind a device is at a moment (ms), for a person."""
    if row.behind is None:
        return "has not said"
    if row.behind == 0:
        return "level"
    pushes = "1 push behind" if row.behind == 1 else f"{row.behind:,} pushes behind"
    return pushes if row.since is None else f"{pushes}, for {span(max(at - row.since, 0))}"


def object_cells(row: ObjectRow) -> Cells:
    """An object's line in a table."""
    fields: Mapping[str, Any] | None = row.fields
    shown = "deleted" if fields is None else values(fields)
    return row.model, row.id, f"{row.clock:,}", moment(row.utc_timestamp), row.device, shown
