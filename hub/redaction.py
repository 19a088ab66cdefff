"""A user's export of which nothing can be read, and which merges all the same as the true one.

Each name and value is replaced by another of its kind and size, the same by the same, so that what
was equal still is. Clocks, timestamps, kinds of edits and who made them in which order stay, for by
these the merge decides. The key of it all is made anew each time, and kept by nobody.
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson
from msgspec import Raw, structs

from hub.exports import (
    Deletion,
    Device,
    Line,
    Object,
    Outcome,
    Push,
    User,
)
from protocol.diffs import MAX_INTEGER, Place, Refilled

NUMBERED: Final = 10_000
"""Names of a kind that are remembered: a log has as many of edits as it is long."""
_DIGITS: Final = 24
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_KINDS: Final = ("create", "update", "delete")
_CLOCKS: Final = ("logical_clock", "utc_timestamp", "created", "born")


class Redaction:
    """Replaces what it is given, always by the same."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._names: dict[tuple[str, str], str] = {}
        self._counts: Counter[str] = Counter()

    def line(self, line: Line) -> Line:
        """A line of an export that says the same of somebody else."""
        match line:
            case User(name=name, log_id=log_id):
                history = self.name("log", log_id)
                return structs.replace(line, name=self.name("user", name), log_id=history)
            case Device(name=name):
                return structs.replace(line, name=self.name("device", name))
            case Object():
                return self._object(line)
            case Deletion():
                return self._deletion(line)
            case Outcome():
                device, refused = self.name("device", line.device), self._raw_refused(line.refused)
                return structs.replace(line, device=device, refused=refused)
            case Push():
                return self._push(line)
            case _:
                return line

    def name(self, kind: str, name: str) -> str:
        """What a name of a kind is called instead: the first is 1; nobody stays nobody.

        Behind the first `NUMBERED` of a kind a name is called by what the key makes of it.
        """
        if not name:
            return name
        if (kind, name) in self._names:
            return self._names[kind, name]
        if self._counts[kind] >= NUMBERED:
            return f"{kind}-{self._digest(f'{kind} {name}').hex()[:_DIGITS]}"
        self._counts[kind] += 1
        self._names[kind, name] = f"{kind}-{self._counts[kind]}"
        return self._names[kind, name]

    def value(self, value: Any) -> Any:
        """A value of the same kind and size; what is true, false or null says little and stays."""
        match value:
            case bool() | None:
                return value
            case str():
                return self._text(value)
            case int():
                return self._number(value)
            case float():
                return float(self._number(int(value) if abs(value) < MAX_INTEGER else 0)) + 0.5
            case list() | tuple():
                return [self.value(each) for each in value]
            case dict():
                return {self.name("field", name): self.value(each) for name, each in value.items()}
            case _:
                return None

    def fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of an object, and the id by which it is called now."""
        return {
            name if name == "id" else self.name("field", name): self._id(each)
            if name == "id"
            else self.value(each)
            for name, each in fields.items()
        }

    def _id(self, value: Any) -> Any:
        return self.name("id", value) if isinstance(value, str) else self.value(value)

    def _object(self, line: Object) -> Object:
        stamps = tuple(
            (clock, at, self.name("device", device), tuple(self.name("field", f) for f in fields))
            for clock, at, device, fields in line.stamps
        )
        return structs.replace(
            line,
            model=self.name("model", line.model),
            fields=self.fields(line.fields),
            stamps=stamps,
            refilled=self._refilled(line.refilled),
            seen=self._place(line.seen),
        )

    def _deletion(self, line: Deletion) -> Deletion:
        return structs.replace(
            line,
            model=self.name("model", line.model),
            id=self.name("id", line.id),
            device=self.name("device", line.device),
            refilled=self._refilled(line.refilled),
            seen=self._place(line.seen),
        )

    def _refilled(self, refilled: Refilled | None) -> Refilled | None:
        if refilled is None:
            return None
        return structs.replace(refilled, log_id=self.name("log", refilled.log_id))

    def _place(self, place: Place | None) -> Place | None:
        if place is None:
            return None
        return structs.replace(place, log_id=self.name("log", place.log_id))

    def _push(self, line: Push) -> Push:
        diffs = Raw(msgspec.json.encode(self._diffs(orjson.loads(bytes(line.diffs)))))
        refused, device = self._raw_refused(line.refused), self.name("device", line.device)
        return structs.replace(line, device=device, diffs=diffs, refused=refused)

    def _raw_refused(self, refused: Raw) -> Raw:
        return Raw(msgspec.json.encode(self._refused(orjson.loads(bytes(refused)))))

    def _diffs(self, diffs: Any) -> Any:
        return [self._diff(diff) for diff in diffs]

    def _diff(self, diff: Any) -> Any:
        """An edit; of what was none, only what it has of one."""
        if not isinstance(diff, dict):
            return self.value(diff)
        told = self._when(diff)
        if diff.get("type") in _KINDS:
            told["type"] = diff["type"]
        for name, kind in (("id", "edit"), ("model", "model")):
            if isinstance(diff.get(name), str):
                told[name] = self.name(kind, diff[name])
        if isinstance(diff.get("json_data"), dict):
            told["json_data"] = self.fields(diff["json_data"])
        return told

    def _when(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """The clocks and histories of an edit, or of what it says of another history."""
        told: dict[str, Any] = {n: said[n] for n in _CLOCKS if isinstance(said.get(n), int)}
        if isinstance(said.get("log_id"), str):
            told["log_id"] = self.name("log", said["log_id"])
        for name in ("was", "seen", "via"):
            if isinstance(said.get(name), dict):
                told[name] = self._when(said[name])
        if isinstance(said.get("kept"), list):
            told["kept"] = [self.name("field", str(name)) for name in said["kept"]]
        return told

    def _refused(self, refused: Any) -> Any:
        if refused is None:
            return None
        return {
            "lost": [self._lost(each) for each in refused.get("lost", ())],
            "rejected": [self._rejected(each) for each in refused.get("rejected", ())],
            "diffs": [
                {"index": each["index"], "diff": self._diff(each["diff"])}
                for each in refused.get("diffs", ())
            ],
            "ids": [self.name("edit", name) for name in refused.get("ids", ())],
        }

    def _lost(self, lost: Any) -> Any:
        fields = {self.name("field", name): clock for name, clock in lost["fields"].items()}
        return {"index": lost["index"], "id": self.name("edit", lost["id"]), "fields": fields}

    def _rejected(self, rejected: Any) -> Any:
        """The code says why; the message may be an application's own."""
        name = rejected["id"]
        called = None if name is None else self.name("edit", name)
        return {**rejected, "id": called, "message": ""}

    def _text(self, text: str) -> str:
        """As many letters as the text takes bytes in JSON, between its quotes."""
        size = len(orjson.dumps(text)) - 2
        seed = self._digest(text)
        return "".join(_LETTERS[seed[place % len(seed)] % 26] for place in range(size))

    def _number(self, number: int) -> int:
        """As many digits, and the same sign."""
        digits = len(str(abs(number)))
        least = 10 ** (digits - 1) if digits > 1 else 0
        most = min(10**digits - 1, MAX_INTEGER)
        drawn: int = least + int.from_bytes(self._digest(str(number))[:8]) % (most - least + 1)
        return drawn if number >= 0 else -drawn

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self._key, text.encode(), hashlib.sha256)
