"""Rules of an application that lets nobody edit titles."""

from protocol.diffs import Diff, Fields
from protocol.merge import Refusal


def rules(user: str, diff: Diff, current: Fields | None) -> Refusal | None:
    return Refusal("forbidden", "nobody edits titles") if "title" in diff.json_data else None
