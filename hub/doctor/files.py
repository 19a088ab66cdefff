"""The data file and what lies beside it: whose it is, how large, and what was left there."""

import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hub.doctor.findings import Finding, note, well, wrong

LEAST_FREE: Final = 100 * 2**20
"""Bytes on the disk below which it is about to be full."""
LONG_WAL: Final = 64 * 2**20
"""A hub moves its WAL into the file at 2 MB."""
LONGEST_WAL: Final = 600 * 2**20
_UNFINISHED: Final = (".part", ".part-journal", ".part-wal", ".part-shm")


def look_at_file(data: Path) -> Iterator[Finding]:
    """Whether the file is there, and who may do what with it."""
    if not data.exists():
        yield _missing(data)
        return
    if not data.is_file():
        yield wrong("file", f"{data} is no file", "name the hub's file with --data")
        return
    yield well("file", f"{data}, {size(data.stat().st_size)}")
    yield from _permissions(data)


def _missing(data: Path) -> Finding:
    if beside(data, "-wal").exists():
        remedy = "a file and its WAL belong together: put the file back, or restore a backup"
        return wrong("file", f"{data} is not there, and its WAL is", remedy)
    return note("file", f"{data} is not there; a hub makes it when it starts first")


def _permissions(data: Path) -> Iterator[Finding]:
    there = [path for path in (data, *(beside(data, s) for s in ("-wal", "-shm"))) if path.exists()]
    is_open = [path for path in there if path.stat().st_mode & stat.S_IRWXO]
    for path in is_open:
        yield wrong("permissions", f"{path} is open to everybody here", f"chmod o-rwx {path}")
    barred = [path for path in (*there, data.absolute().parent) if not os.access(path, os.W_OK)]
    for path in barred:
        remedy = f"run the hub, and doctor, as {owner(path)}, or give it to who runs them"
        yield wrong("permissions", f"{path} cannot be written by {_me()}", remedy)
    if not is_open and not barred:
        yield well("permissions", f"{_me()} may write, and others on this machine may do nothing")


def look_at_disk(data: Path) -> Finding:
    """Whether there is room for what comes, and for a copy of the file."""
    folder = data.absolute().parent
    if not folder.is_dir():
        return wrong("disk", f"there is no folder {folder}", "make it, or name another with --data")
    free = shutil.disk_usage(folder).free
    whole = sum(path.stat().st_size for path in (data, beside(data, "-wal")) if path.is_file())
    found = f"{size(free)} free where the file is"
    if free < LEAST_FREE:
        return wrong("disk", found, "make room: a hub whose disk is full stores nothing more")
    if free < whole:
        remedy = "make room, before a backup there, a restore or an upgrade needs it"
        return note("disk", f"{found}, less than a copy of the file takes", remedy)
    return well("disk", found)


def look_at_wal(data: Path, *, is_served: bool, litestream: bool) -> Iterator[Finding]:
    """Whether the WAL is as short as it should be, and whether one was left."""
    wal = beside(data, "-wal")
    bytes_there = wal.stat().st_size if wal.exists() else 0
    if bytes_there and not is_served:
        remedy = (
            "leave it where it is: it holds what was acknowledged last, and a start takes it in"
        )
        yield note("wal", f"{size(bytes_there)}, left by a hub that was killed", remedy)
    elif bytes_there >= LONGEST_WAL:
        who = "Litestream does not checkpoint: start it" if litestream else "end what reads so long"
        yield wrong("wal", size(bytes_there), f"{who}, or restart the hub")
    elif bytes_there >= LONG_WAL and not litestream:
        remedy = "is a backup under way? Otherwise something else reads the file for very long"
        yield note("wal", size(bytes_there), remedy)
    else:
        yield well("wal", size(bytes_there) if bytes_there else "none")


def look_for_leftovers(data: Path) -> Iterator[Finding]:
    """What backups, restores and upgrades have left beside the file."""
    for suffix in _UNFINISHED:
        if (part := beside(data, suffix)).exists():
            remedy = f"if none is under way: rm {part}"
            yield note("left-overs", f"{part} is of a backup or restore that did not end", remedy)
    kept = sorted(
        path
        for pattern in (".v*-backup", ".before-restore-*")
        for path in data.parent.glob(data.name + pattern)
    )
    if kept:
        whole = size(sum(path.stat().st_size for path in kept))
        names = ", ".join(path.name for path in kept)
        yield note("left-overs", f"{names}: {whole}", "remove them when you like")


def beside(data: Path, suffix: str) -> Path:
    """A file that goes with the data file."""
    return data.with_name(data.name + suffix)


def size(count: int) -> str:
    """Bytes for a person."""
    if count < 2**20:
        return f"{count / 2**10:.0f} KB"
    return f"{count / 2**20:,.1f} MB" if count < 2**30 else f"{count / 2**30:,.1f} GB"


def owner(path: Path) -> str:
    """Whose a file is."""
    return _name(path.stat().st_uid)


def _me() -> str:
    return _name(os.geteuid())


def _name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
