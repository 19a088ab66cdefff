"""A real hub in a process of its own, to be killed."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

COMMAND: Final = Path(sys.executable).parent / "mobync-hub"
READY_SECONDS: Final = 30.0


class HubProcess:
    """One run of the hub; `url` is where devices connect."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


@asynccontextmanager
async def hub_process(
    data: Path,
    *,
    port: int = 0,
    before: Sequence[str] = (),
    log: Path | None = None,
    flags: Sequence[str] = (),
) -> AsyncIterator[HubProcess]:
    """Start a hub, perhaps under another program, and see that none is left behind."""
    flags = ["--dev", "--host", "127.0.0.1", "--port", str(port), "--http-port", "0", *flags]
    with (log or data.with_suffix(".log")).open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *before,
            str(COMMAND),
            "serve",
            *flags,
            "--data",
            str(data),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(READY_SECONDS):
            ready = (await process.stdout.readline()).decode()
        assert ready.startswith("ready "), errors.name
        yield HubProcess(process, ready.split()[1])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
