"""The Python device: edits without a hub, sending them, and a catch-up into its SQLite file."""

import asyncio
import sys
from asyncio.subprocess import Process
from typing import ClassVar, Final

import orjson

from scripts.benching.measure import Figures, Goal, Measure, Row, Site
from scripts.loading.faults import LoadError
from scripts.loading.servers import ROOT, Server, command

_PROGRAM: Final = (sys.executable, "-m", "scripts.benching.offline")
_LONGEST: Final = 300.0  # seconds


class PythonDevice(Measure):
    """All of it is measured in a process of its own, on the core of the load."""

    name: ClassVar = "device"
    title: ClassVar = "the Python device: edits made offline and sent, and a catch-up"
    rows: ClassVar = (
        Row("edits offline, one by one", "single", "/s", Goal("value", "at least", 5_000)),
        Row("edits offline, batches of 1,000", "batch", "/s", Goal("value", "at least", 20_000)),
        Row("until these are acked: one by one", "send_single", "s"),
        Row("until these are acked: batches", "send_batch", "s"),
        Row("catch-up into SQLite", "catchup", "/s", Goal("value", "at least", 50_000)),
    )
    weight: ClassVar = "heavy"

    def command(self, target: str, site: Site) -> list[str]:
        """Let the hub serve the device from the log."""
        return [*command(target, site.folder), "--max-log-pushes", str(site.scale.device_edits)]

    async def run(self, server: Server, site: Site) -> Figures:
        """Start the program, and read its figures."""
        process = await asyncio.create_subprocess_exec(
            *_PROGRAM,
            server.url,
            str(site.folder),
            str(site.scale.device_edits),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        figures: Figures = orjson.loads(await _output(process))
        return figures


async def _output(process: Process) -> bytes:
    """What the program has printed when it is done; it is killed if it is not."""
    try:
        async with asyncio.timeout(_LONGEST):
            out, errors = await process.communicate()
    except TimeoutError:
        raise LoadError(f"the device was not done after {_LONGEST:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise LoadError(f"the device stopped with {process.returncode}:\n{_end_of(errors)}")
    return out


def _end_of(errors: bytes) -> str:
    return errors.decode(errors="replace")[-2_000:].strip()
