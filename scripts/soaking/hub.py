"""The hub under soak: the real one, in a process that also tells how many tasks it has.

Tasks are nowhere to be seen from outside. So this process, which is the hub's own code from the
settings on, answers SIGUSR1 by writing a `Census` into a file beside the data.
"""

import asyncio
import gc
import signal
import sys
from pathlib import Path

import msgspec
import uvloop

from hub import logs
from hub.limits import Limits
from hub.process import let_sockets_go_first, spare_the_collector
from hub.server import serving
from hub.settings import Settings
from scripts.soaking.reading import CENSUS, DATA, Census

SEND_BUFFER_BYTES = 16_384
"""Small, so that a device that reads slowly falls behind within a minute, not within an hour."""


def write_census(folder: Path) -> None:
    """Count, and write it under its name when it is whole."""
    gc.collect()
    census = Census(len(asyncio.all_tasks()), len(gc.get_objects()))
    unfinished = folder / f"{CENSUS}-unfinished"
    unfinished.write_bytes(msgspec.json.encode(census))
    unfinished.replace(folder / CENSUS)


async def serve(folder: Path) -> None:
    """Serve until SIGTERM."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_signal_handler(signal.SIGUSR1, write_census, folder)
    limits = Limits(send_buffer_bytes=SEND_BUFFER_BYTES)
    settings = Settings(dev=True, port=0, http_port=0, data=folder / DATA, limits=limits)
    async with serving(settings) as (websocket_url, http_url):
        print(f"ready {websocket_url} {http_url}", flush=True)
        await stopped.wait()


def main() -> None:
    """Read the command line and serve."""
    spare_the_collector()
    let_sockets_go_first()
    # Standard output is a pipe that nobody reads behind the ready line: full, it would stop us.
    logs.configure("warning", "json")
    uvloop.run(serve(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
