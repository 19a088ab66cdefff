"""Rounds in pairs: the quiet users alone, and beside the busy one."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec

from scripts.loading.faults import LoadError
from scripts.loading.figures import Spread
from scripts.loading.rounds import Load, Round, run_round
from scripts.loading.servers import ROOT, STOPPING, Server


class Pair(msgspec.Struct, frozen=True):
    """What the quiet ones saw, from a push that was due to its ack, and what the busy one did."""

    alone: Spread
    beside: Spread
    busy_edits_per_second: float
    errors: int

    @property
    def p99_ratio(self) -> float:
        """How much longer the slowest in a hundred took beside the busy user."""
        return self.beside.p99 / self.alone.p99


class Crowd:
    """The busy user, while it pushes: how many edits a second it had acked, once it is over."""

    edits_per_second = 0.0


async def run_pair(server: Server, load: Load, tick: Callable[[], None]) -> Pair:
    """Measure the quiet users alone, then beside the busy one."""
    alone = await run_round(server, load, tick)
    async with busy_user(server.url) as crowd:
        beside = await run_round(server, load, tick)
    return Pair(_acked(alone), _acked(beside), crowd.edits_per_second, alone.errors + beside.errors)


def _acked(found: Round) -> Spread:
    if found.push_to_ack is None:
        raise LoadError(f"nothing was acked: {found.first_errors}")
    return found.push_to_ack


@asynccontextmanager
async def busy_user(url: str) -> AsyncIterator[Crowd]:
    """Have one user push at full speed for as long as this lasts, in a process of its own."""
    crowd = Crowd()
    process = await asyncio.create_subprocess_exec(
        *_command(url), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    out = process.stdout or asyncio.StreamReader()
    try:
        if await _line(out) != "pushing":
            raise LoadError("the busy user could not connect")
        since = time.monotonic()
        yield crowd
        process.terminate()
        crowd.edits_per_second = float(await _line(out) or 0) / (time.monotonic() - since)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _command(url: str) -> Sequence[str]:
    return sys.executable, "-m", "scripts.sharing.busy", url


async def _line(out: asyncio.StreamReader) -> str:
    async with asyncio.timeout(STOPPING):
        return (await out.readline()).decode().strip()
