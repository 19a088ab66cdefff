"""A family's rules for its lists, to learn from and to change.

Start the hub with them:

    cd docs/examples
    mobync-hub serve --dev --policy family_rules:family_rules

The hub asks before it stores each edit. Answer None for yes, or a Refusal with a code for the
application and a message for a person. Nothing else of the push is stopped by a refusal.
"""  # noqa: INP001 - an example is a file, not a package

from protocol.diffs import Diff, Fields
from protocol.merge import Refusal

PARENT = "parent"


def family_rules(user: str, diff: Diff, current: Fields | None) -> Refusal | None:
    """Only the parent deletes chores, nobody touches a chore that is paid, and a title has text."""
    if diff.model == "chores":
        return chore_rules(user, diff, current) or title_rule(diff)
    return title_rule(diff)


def chore_rules(user: str, diff: Diff, current: Fields | None) -> Refusal | None:
    """`current` is the chore as everybody has it now; None if there is none."""
    if diff.type == "delete" and user != PARENT:
        return Refusal("parents_only", "only the parent deletes chores")
    if current is not None and current.get("paid") and user != PARENT:
        return Refusal("chore_paid", "this chore is paid and stays as it is")
    return None


def title_rule(diff: Diff) -> Refusal | None:
    """An update carries only the fields that change: a title that is not there is not empty."""
    title = diff.json_data.get("title", "unchanged")
    if not isinstance(title, str) or not title.strip():
        return Refusal("title_empty", "a title needs at least one letter")
    return None
