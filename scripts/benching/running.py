"""Asks a measure of its targets in turn, round after round, each target on a server of its own."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from scripts.benching.measure import Figures, Measure, Site
from scripts.benching.progress import Progress
from scripts.loading.faults import LoadError
from scripts.loading.servers import Server, started


async def run_measure(
    measure: Measure, targets: Sequence[str], site: Site, progress: Progress
) -> Mapping[str, Sequence[Figures]]:
    """Return the figures of each round by target.

    Raises:
        LoadError: names the measure, the server, what happened and where its log is.

    """
    site.folder.mkdir()
    found: dict[str, list[Figures]] = {target: [] for target in targets}
    async with AsyncExitStack() as stack:
        with _naming(measure, "preparation", site.folder):
            progress.say(f"{measure.name}: preparing")
            await measure.prepare(site)
        servers = [await _start(measure, target, site, stack) for target in targets]
        for turn in range(measure.rounds(site.scale)):
            for server in servers:
                progress.say(f"{measure.name}: {server.name}, round {turn + 1}")
                with _naming(measure, server.name, site.folder):
                    found[server.name].append(await measure.run(server, site))
                progress.advance()
    _forget_data(site.folder)
    return found


async def _start(measure: Measure, target: str, site: Site, stack: AsyncExitStack) -> Server:
    with _naming(measure, target, site.folder):
        line = measure.command(target, site)
        starting = started(target, site.folder, site.cores, line)
        return await stack.enter_async_context(starting)


@contextmanager
def _naming(measure: Measure, target: str, folder: Path) -> Iterator[None]:
    """Say of which measure and which server an error is, and where the server's log is."""
    try:
        yield
    except LoadError as error:
        log = folder / f"{target}.log"
        where = f"\nIts log: {log}" if log.exists() else ""
        raise LoadError(f"{measure.name}, {target}: {error}{where}") from error


def _forget_data(folder: Path) -> None:
    """Leave nothing of a measure that went well: histories are large."""
    shutil.rmtree(folder)
