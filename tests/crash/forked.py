"""A hub as a process of its own, forked from one that has the modules loaded: it starts at once."""

import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Any, Final

from hub.cli import main
from hub.store import ledger, sqlite
from tests.crash.processes import READY

UNCHANGED: Final[Mapping[str, float]] = {}
FOLDS_AT_ONCE: Final[Mapping[str, float]] = {"FOLD_SECONDS": 0.01}
MOVES_ITS_WAL: Final[Mapping[str, float]] = {**FOLDS_AT_ONCE, "CHECKPOINT_BYTES": 32 * 1024}
"""Folds and checkpoints come so soon that a short run has them."""

READY_SECONDS: Final = 60.0
_SHORT: Final = "/tmp"  # noqa: S108 - multiprocessing makes a folder of its own in it
_LONGEST: Final = 60
"""Bytes of a folder in which the name of a socket of multiprocessing still fits: 107 in all."""

processes: Final = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["hub.cli", "hub.server"])


@cache
def name_sockets_shortly() -> None:
    """Have the fork server listen where its name fits, however long TMPDIR is."""
    usual = tempfile.gettempdir()
    tempfile.tempdir = _SHORT if len(os.fsencode(usual)) > _LONGEST else usual
    try:
        get_temp_dir()  # it is kept from then on
    finally:
        tempfile.tempdir = usual


def serve(
    data: Path,
    output: Connection,
    log: Path,
    flags: tuple[str, ...],
    changes: Mapping[str, float],
    gate: Connection | None,
) -> None:
    """Run the command as a process does that is started by its name, once the gate is opened."""
    if gate is not None:
        gate.recv_bytes()
    for module in (ledger, sqlite):
        vars(module).update(changes)
    os.dup2(output.fileno(), 1)
    output.close()
    with log.open("a") as errors:
        os.dup2(errors.fileno(), 2)
    arguments = ["serve", "--dev", "--port", "0", "--http-port", "0", "--data", str(data), *flags]
    main(arguments)


@contextmanager
def a_forked_hub(
    data: Path,
    *flags: str,
    log: Path | None = None,
    changes: Mapping[str, float] = UNCHANGED,
    gate: Connection | None = None,
) -> Iterator[tuple[Any, Connection]]:
    """A hub on its way up, and what it prints; killed in the end, if it is still there.

    What it logs is in a file beside the data, `NAME.log`, unless `log` names another. `changes`
    are of constants of the store. It begins when something is said through `gate`, if there is one.
    """
    name_sockets_shortly()
    output, theirs = multiprocessing.Pipe(duplex=False)
    process = processes.Process(
        target=serve, args=(data, theirs, log or data.with_suffix(".log"), flags, changes, gate)
    )
    process.start()
    theirs.close()
    try:
        yield process, output
    finally:
        process.kill()
        process.join(30)
        process.close()
        output.close()


def wait_until_ready(output: Connection) -> str:
    """The address that the hub prints when it serves."""
    url = ready_or_ended(output)
    assert url is not None, "the hub ended before it was ready"
    return url


def ready_or_ended(output: Connection) -> str | None:
    """The address that the hub prints when it serves; None if it ends without that."""
    line = b""
    while not line.endswith(b"\n"):
        assert output.poll(READY_SECONDS), "the hub neither serves nor ends"
        read = os.read(output.fileno(), 1000)
        if not read:
            return None
        line += read
    match = READY.match(line.decode())
    assert match, line
    return match[1]
