"""What a stored push does to an object of a device (docs/protocol.md, section 3)."""

from typing import Any

from protocol.diffs import Diff, StoredDiff, Was
from protocol.records import Known


class Draft:
    """An object while a push changes it: copied once, however often it is set."""

    def __init__(self, before: Known | None) -> None:
        self.before = before or Known(0, None)
        self.fields: dict[str, Any] | None = None
        self.is_gone = before is None or before.fields is None
        self.timestamp, self.created = self.before.timestamp, self.before.created
        self.was: Was | None = None

    def take(self, clock: int, diff: Diff | StoredDiff) -> None:
        """Create replaces, update sets, delete removes (section 3)."""
        keeps_newer = diff.type == "update" or (diff.was is not None and diff.was.kept)
        newest = self.timestamp if keeps_newer else 0
        self.timestamp = max(newest, diff.utc_timestamp)
        self.was = diff.was if diff.was and not diff.was.kept else None
        if diff.type == "delete":
            self.fields, self.is_gone = None, True
            return
        if diff.type == "create":
            self.fields = {}
            self.created = (diff.was and diff.was.born) or clock
        elif self.fields is None:
            self.fields = {} if self.is_gone else {**(self.before.fields or {})}
        self.is_gone = False
        self.fields.update(diff.json_data)

    def known(self, clock: int) -> Known:
        """The object as it is left."""
        return Known(clock, self.fields, self.timestamp, self.created, self.was)
