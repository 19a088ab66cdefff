"""The command line of `scripts/fuzz`: mutated frames by the hundred thousand, or guided."""

import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.fuzz.targets import fuzz_decode, fuzz_handshake, fuzz_polls, fuzz_session


@click.command(context_settings={"show_default": True})
@click.option("--frames", type=click.IntRange(1), default=100_000, help="For each target.")
@click.option("--seed", type=int, help="The same seed mutates the same; without it a new one.")
@click.option("--guided", type=click.IntRange(1), metavar="SECONDS", help="Guided by coverage.")
def main(*, frames: int, seed: int | None, guided: int | None) -> None:
    """Send mutated frames to the readers, to sessions and to POST /sync, and mutated handshakes.

    A frame that is answered by anything but what the protocol says ends the run with exit code 1.
    With --guided, atheris looks for frames that reach new code of the readers.
    """
    if guided is not None:
        sys.exit(_guided(guided))
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    began = time.monotonic()
    try:
        _fuzz(frames, seed)
    except BaseException:
        print(f"to see it again: scripts/fuzz --frames {frames} --seed {seed}", file=sys.stderr)
        raise
    seconds = time.monotonic() - began
    print(f"4 x {frames} frames, seed {seed}: only documented answers, in {seconds:.0f} s")


def _fuzz(frames: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / target for target in ("sessions", "polls", "handshakes")]
        for folder in folders:
            folder.mkdir()
        sessions, polls, handshakes = folders
        _show(
            frames,
            readers=fuzz_decode(random.Random(seed), frames),
            sessions=fuzz_session(random.Random(seed), frames, sessions),
            polls=fuzz_polls(random.Random(seed), frames, polls),
            handshakes=fuzz_handshake(random.Random(seed), frames, handshakes),
        )


def _show(frames: int, **runs: Iterator[int]) -> None:
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    progress = Progress(
        *columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal
    )
    with progress:
        for name, run in runs.items():
            task = progress.add_task(name, total=frames)
            for count in run:
                progress.advance(task, count)


def _guided(seconds: int) -> int:
    if importlib.util.find_spec("atheris") is None:
        raise click.ClickException(
            "atheris is not installed; install it with: .venv/bin/pip install -e '.[fuzz]'"
        )
    command = [sys.executable, "-m", "tests.fuzz.guided", f"-max_total_time={seconds}"]
    return subprocess.run([*command, "-max_len=2000", "-timeout=10"], check=False).returncode


if __name__ == "__main__":
    main()
