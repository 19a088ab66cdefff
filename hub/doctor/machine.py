"""What the hub stands on: SQLite, the clock, and how many files may be open."""

import resource
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hub.doctor.findings import Finding, note, well, wrong
from hub.process import SPARE_FILES
from hub.store.errors import StoreFailed
from hub.store.versions import SQLITE, check_sqlite, is_sound_here

BEGINNING: Final = 1_735_689_600_000
"""2025-01-01: before it no hub was."""
APART_MS: Final = 5_000
"""Two readings of one clock may differ by so much."""


def look_at_sqlite(*, litestream: bool) -> Finding:
    """Whether this SQLite can keep a hub's file."""
    try:
        check_sqlite(checkpoints=True)
    except StoreFailed as error:
        return wrong("sqlite", SQLITE, str(error))
    if is_sound_here():
        return well("sqlite", f"{SQLITE}, which may stand beside any other program at the file")
    if litestream:
        remedy = "update SQLite; until then, run Litestream 0.5.17 or newer, which is sound itself"
        return note("sqlite", f"{SQLITE}, in which two programs at one WAL are a risk", remedy)
    return well("sqlite", f"{SQLITE}; sound as long as the hub alone checkpoints")


def look_at_clock(now: int, newest: int | None) -> Finding:
    """Whether time goes on: edits merge, and tokens run out, by this clock (ms)."""
    remedy = "set the clock, and have NTP keep it (systemd-timesyncd or chrony)"
    found = f"{_time(now)} UTC"
    if now < BEGINNING:
        return wrong("clock", f"{found}, which is long ago", remedy)
    if newest is not None and newest > now + APART_MS:
        found = f"{found}, but the file has what was stored at {_time(newest)}"
        return wrong("clock", found, remedy)
    if newest is None:
        return well("clock", found)
    return well("clock", f"{found}; the newest in the file is of {_time(newest)}")


def look_at_limits(connections: int, process: str | None) -> Finding:
    """Whether as many files may be open as there may be connections."""
    wanted = connections + SPARE_FILES
    remedy = f"LimitNOFILE={wanted} in the hub's unit (or ulimit -n), or lower --max-connections"
    of_hub = _limit_of(process) if process is not None else None
    if of_hub is not None:
        found = f"the hub may open {of_hub:,} files, and wants {wanted:,}"
        return well("limits", found) if of_hub >= wanted else wrong("limits", found, remedy)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        return well("limits", f"as many files as wanted ({wanted:,}) may be opened from here")
    found = f"from here a hub may open {hard:,} files, and wants {wanted:,}"
    return note("limits", found, f"if it is started the same way: {remedy}")


def _limit_of(process: str) -> int | None:
    """How many files a process may open; None: that cannot be seen."""
    try:
        lines = Path(f"/proc/{process}/limits").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    soft = next(line.split()[3] for line in lines if line.startswith("Max open files"))
    return int(soft) if soft.isdecimal() else None


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
