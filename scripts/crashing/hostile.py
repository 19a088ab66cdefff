"""The command line of `scripts/hostile`: a crowd that never says hello, under the real settings."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

import rich_click as click
import uvloop

from hub.limits import Limits
from tests.crash.processes import a_hub_process
from tests.hostile.crowd import MANNERS, Report, besiege

PROMISED: Final = 1.5
"""Times `hello_seconds`, after which nobody may be left: 15 s, by default."""


@click.command(context_settings={"show_default": True})
@click.option("--sockets", type=click.IntRange(1), default=1_000, help="How many come.")
@click.option(
    "--hello-seconds", type=click.FloatRange(0.1), default=Limits().hello_seconds,
    help="The hub's setting.",
)  # fmt: skip
def main(*, sockets: int, hello_seconds: float) -> None:
    """Have a crowd come to a hub and never say hello, each in one of many manners.

    Ends with exit code 1 if one of them is left after half as long again as it had for its hello
    (but at least 5 s more), or if others wait for a second longer than before.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = _besieged(Path(folder) / "hub.db", sockets, hello_seconds)
    print(f"{sockets} sockets in {len(MANNERS)} manners\n{report}")
    most = max(hello_seconds * PROMISED, hello_seconds + 5)
    sys.exit(
        int(max(report.last, report.none_left) > most or report.p99_during > report.p99_before + 1)
    )


def _besieged(data: Path, sockets: int, hello_seconds: float) -> Report:
    with (
        a_hub_process(data, "--hello-seconds", str(hello_seconds)) as hub,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(besiege(hub, sockets, tick_seconds=1.0))


if __name__ == "__main__":
    main()
