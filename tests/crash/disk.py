"""A disk as a power cut leaves it, made of the system calls of a hub.

It has what was synced and nothing else. A sync that failed loses what it should have written, as
on Linux: the pages are clean from then on, and no later sync writes them.
"""

import ast
import re
from collections import defaultdict
from pathlib import Path
from typing import Final

PAGE: Final = 4096
"""Bytes that the system writes at once."""
CALLS: Final = "pwrite64,fdatasync,fsync,ftruncate"

_CALL: Final = re.compile(
    r'^\d+ +(?P<call>\w+)\(\d+<(?P<file>[^>]*)>(, "(?P<data>.*)")?(?P<numbers>[^")]*)\)'
    r" += (?P<result>-?\d+)"
)
_BEGUN: Final = re.compile(r"^(?P<thread>\d+) (?P<call>.*) <unfinished \.\.\.>$")
_RESUMED: Final = re.compile(r"^(?P<thread>\d+) +<\.\.\. \w+ resumed>(?P<rest>.*)$")


class File:
    """A file in memory and on the disk."""

    def __init__(self, content: bytes) -> None:
        self.cached = bytearray(content)
        self.stored = bytearray(content)
        self._dirty: set[int] = set()

    def write(self, data: bytes, offset: int) -> None:
        end = offset + len(data)
        self.cached.extend(bytes(max(0, end - len(self.cached))))
        self.cached[offset:end] = data
        self._dirty.update(range(offset // PAGE, (end - 1) // PAGE + 1))

    def truncate(self, size: int) -> None:
        self.cached = self.cached[:size].ljust(size, b"\0")
        self.stored = self.stored[:size]

    def sync(self, *, works: bool) -> None:
        for page in self._dirty if works else ():
            start = page * PAGE
            self.stored.extend(bytes(max(0, start - len(self.stored))))
            self.stored[start : start + PAGE] = self.cached[start : start + PAGE]
        self._dirty.clear()


class Disk:
    """The files of a folder, all of them stored as they are when this is made."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.files = {name: File((folder / name).read_bytes()) for name in names}
        self.failed_syncs = 0

    def replay(self, trace: Path) -> None:
        """Do what a trace says that a hub did."""
        for line in _whole(trace.read_text(errors="strict").splitlines()):
            match = _CALL.match(line)
            if match and (file := self.files.get(Path(match["file"]).name)) is not None:
                self._do(file, match)

    def write_to(self, folder: Path) -> None:
        """What is there after the power cut."""
        for name, file in self.files.items():
            (folder / name).write_bytes(file.stored)

    def _do(self, file: File, match: re.Match[str]) -> None:
        works = match["result"] != "-1"
        numbers = [int(number) for number in re.findall(r"\d+", match["numbers"])]
        if match["call"] in ("fdatasync", "fsync"):
            self.failed_syncs += not works
            file.sync(works=works)
        elif works and match["call"] == "ftruncate":
            file.truncate(numbers[0])
        elif works and match["call"] == "pwrite64":
            data = ast.literal_eval(f'b"{match["data"]}"')
            assert len(data) == numbers[0] == int(match["result"]), match[0][:80]
            file.write(data, numbers[1])


def _whole(lines: list[str]) -> list[str]:
    """The calls in the order in which they ended, those that others came between made whole."""
    begun: defaultdict[str, str] = defaultdict(str)
    whole = []
    for line in lines:
        if match := _BEGUN.match(line):
            begun[match["thread"]] = match["call"]
        elif match := _RESUMED.match(line):
            whole.append(f"{match['thread']} {begun.pop(match['thread'])}{match['rest']}")
        else:
            whole.append(line)
    return whole
