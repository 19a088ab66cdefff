"""The verb `export`: all of a user, or of all users, as JSON Lines."""

import sys
import time
from pathlib import Path

from hub.exports import encode_line
from hub.progress import for_whom_it_is, silent
from hub.store.beside import looking
from hub.store.exporting import export, names_of


def write_export(data: Path, user: str | None) -> None:
    """Write an export to standard output, line by line."""
    now = time.time_ns() // 1_000_000
    with looking(data) as file, for_whom_it_is(silent)() as tell:
        for line in export(file, names_of(file, user), now, tell):
            sys.stdout.buffer.write(encode_line(line))
    sys.stdout.buffer.flush()
