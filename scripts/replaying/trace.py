"""Edit histories as JSON Lines: `{"at": ms, "diffs": [{"type", "model", "json_data"}]}` a push.

Real histories hold edits that no device makes, such as NaN in a field: they are counted and left
out, of what is replayed and of what it is compared with.
"""

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from client import Batch
from protocol.diffs import DiffType, check_values
from protocol.errors import InvalidDiff

Objects: TypeAlias = dict[tuple[str, str], dict[str, Any]]
"""Objects by their model and id."""


class TraceError(Exception):
    """The trace cannot be read; the message says where it breaks."""


class TracedDiff(msgspec.Struct, frozen=True):
    """One edit of a history."""

    type: DiffType
    model: str
    json_data: dict[str, Any]


class TracedPush(msgspec.Struct, frozen=True):
    """One line: edits that were made together, `at` (ms since 1970)."""

    at: int
    diffs: Sequence[TracedDiff]

    @property
    def sound(self) -> Sequence[TracedDiff]:
        """The edits that a device makes."""
        return [diff for diff in self.diffs if _is_sound(diff)]

    @property
    def refused(self) -> int:
        """How many edits no device makes."""
        return len(self.diffs) - len(self.sound)


def read_trace(path: Path) -> Sequence[TracedPush]:
    """Read a trace, packed with gzip if its name ends in .gz.

    Raises:
        TraceError: it cannot be read, or a line is no push.

    """
    try:
        return list(_pushes(path))
    except OSError as error:
        raise TraceError(f"cannot read {path}: {error}") from None


def _pushes(path: Path) -> Iterator[TracedPush]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield msgspec.convert(json.loads(line), TracedPush)
            except (msgspec.ValidationError, ValueError) as error:
                raise TraceError(f"{path}, line {number}: {error}") from None


def fold(pushes: Iterable[TracedPush]) -> Objects:
    """What a history comes to: create replaces, update sets, delete removes."""
    objects: Objects = {}
    for push in pushes:
        for diff in push.sound:
            _apply(objects, diff)
    return objects


def _is_sound(diff: TracedDiff) -> bool:
    try:
        check_values(diff.json_data)
    except InvalidDiff:
        return False
    return True


def _apply(objects: Objects, diff: TracedDiff) -> None:
    key = diff.model, diff.json_data["id"]
    if diff.type == "delete":
        objects.pop(key, None)
    elif diff.type == "create":
        objects[key] = dict(diff.json_data)
    else:
        objects[key].update(diff.json_data)


def make(push: TracedPush, edits: Batch) -> None:
    """Make the edits of one line again."""
    for diff in push.sound:
        if diff.type == "delete":
            edits.delete(diff.model, diff.json_data["id"])
        elif diff.type == "create":
            edits.create(diff.model, diff.json_data)
        else:
            edits.update(diff.model, diff.json_data)
