"""Real hubs on one file, one after the other, and real devices that meet them.

Every wait has a limit of its own, and says what it waited for. Hubs take a free port themselves.
"""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final, TypeVar

from client import Device
from tests.crash.hub_process import COMMAND, HubProcess, hub_process

T = TypeVar("T")
SECONDS: Final = 45.0
"""For what takes one on a quiet machine."""

Notes = dict[str, dict[str, Any]]


async def within(awaitable: Awaitable[T], what: str, seconds: float = SECONDS) -> T:
    """Wait, but not for ever."""
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError:
        raise AssertionError(f"waited {seconds:.0f} s for {what}") from None


async def command(*words: str | Path) -> tuple[int, str, str]:
    """Run `mobync-hub` with these words: its exit code, what it printed, what it complained of."""
    return await program(COMMAND, *words)


async def program(*words: str | Path) -> tuple[int, str, str]:
    """Run a program to its end, and leave none behind."""
    process = await asyncio.create_subprocess_exec(
        *map(str, words), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, errors = await within(process.communicate(), " ".join(map(str, words[:3])))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


class Lives:
    """One hub file, and all that happens to it; the devices' files lie beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "hub.db"

    @asynccontextmanager
    async def hub(self, *flags: str) -> AsyncIterator[HubProcess]:
        """A hub that serves; it is killed at the end unless it was stopped."""
        async with hub_process(self.data, flags=flags) as hub:
            yield hub

    @asynccontextmanager
    async def device(self, hub: HubProcess, name: str, user: str = "ada") -> AsyncIterator[Device]:
        """A device with its file, level when this begins."""
        device = Device(hub.url, token=user, name=name, path=self.folder / f"{name}.db")
        await within(device.__aenter__(), f"{name} to open")
        try:
            await level(device)
            yield device
        finally:
            await within(device.__aexit__(None, None, None), f"{name} to close")

    @asynccontextmanager
    async def hurried_device(self, hub: HubProcess, name: str) -> AsyncIterator[Device]:
        """A device with its file, which need not be level nor even connected."""
        device = Device(hub.url, token="ada", name=name, path=self.folder / f"{name}.db")
        await within(device.__aenter__(), f"{name} to open")
        try:
            yield device
        finally:
            await within(device.__aexit__(None, None, None), f"{name} to close")

    async def offline(self, name: str, *notes: str) -> None:
        """Edits that a device makes while there is no hub."""
        device = Device(
            "ws://127.0.0.1:1/sync", token="ada", name=name, path=self.folder / f"{name}.db"
        )
        await within(device.__aenter__(), f"{name} to open")
        await write(device, *notes)
        await within(device.__aexit__(None, None, None), f"{name} to close")

    def copy(self, name: str) -> None:
        """Copy the file and its WAL as they lie there, as `cp` does."""
        for suffix in ("", "-wal"):
            if (source := self._beside(suffix)).exists():
                shutil.copy(source, self.folder / f"{name}{suffix}")

    def put_back(self, name: str) -> None:
        """Put a copy in the file's place as somebody does who knows nothing of `restore`."""
        for suffix in ("", "-wal", "-shm"):
            self._beside(suffix).unlink(missing_ok=True)
        for suffix in ("", "-wal"):
            if (copy := self.folder / f"{name}{suffix}").exists():
                shutil.copy(copy, self._beside(suffix))

    def ask(self, query: str) -> Sequence[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.data)) as file:
            return file.execute(query).fetchall()

    def _beside(self, suffix: str) -> Path:
        return self.data.with_name(self.data.name + suffix)


async def write(device: Device, *notes: str) -> None:
    """Make notes, each an edit of its own."""
    for note in notes:
        await within(device.create("notes", {"id": note, "by": device.name}), "an edit to be kept")


async def level(device: Device) -> None:
    """Wait until all that was made here is stored, and all that was made elsewhere is here."""
    await within(device.synchronize(None), f"{device.name}, {device.status}, to be level")


async def seen_by(device: Device) -> Notes:
    """What its user sees."""
    await level(device)
    return {str(note["id"]): note for note in await device.read("notes")}
