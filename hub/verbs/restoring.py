"""The verb `restore` in its second shape: a lost value comes back as an ordinary push."""

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from hub import logs
from hub.http.control import tell
from hub.http.repairs import RESTORE
from hub.loading import load_for_file
from hub.restoring import Lost, Restored, restore_stopped, value_of
from hub.server import now, open_store
from hub.settings import Settings
from hub.store.errors import FileInUse
from hub.verbs.output import is_for_programs, line, value, write_line


def restore(lost: Lost, data: str | None, config: str | None, *, as_json: bool) -> None:
    """Bring a value back, through the hub if it serves."""
    logs.configure("warning", "auto")
    settings = load_for_file({"data": data, "config": config}, os.environ)
    restored = asyncio.run(_restored(lost, settings))
    if is_for_programs(as_json=as_json):
        write_line(restored)
        return
    what = f"{lost.model} {lost.id}: {lost.field} = {value(restored.value)}"
    Console().print(line(f"{what} again, by the push of clock {restored.clock}"))


async def _restored(lost: Lost, settings: Settings) -> Restored:
    wanted = value_of(settings.data, lost)
    try:
        return await _in_the_file(lost, wanted, settings)
    except FileInUse:
        return await _through_the_hub(lost, settings.data)


async def _in_the_file(lost: Lost, wanted: Any, settings: Settings) -> Restored:
    store = open_store(settings)
    await store.open()
    try:
        return await restore_stopped(store, lost, wanted, now())
    finally:
        await store.close()


async def _through_the_hub(lost: Lost, data: Path) -> Restored:
    answer = await tell(data, RESTORE, msgspec.json.encode(lost))
    return Restored(answer["clock"], answer["value"])
