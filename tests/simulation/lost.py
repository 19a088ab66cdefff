"""What devices knew of a history that was lost, and what must have become of it in the end.

A weaker law than that of the model (tests/model/refill.py), to which each offer is held when the
hub decides it, and which knows nothing of devices. In words: an object that nobody edits after the
fire, and of which no edit was on its way, ends as it was in the lost history at the newest moment
of which a device had it stored, or later. Where somebody does edit it, it is there unless somebody
deleted it, and gone unless somebody made it; and fields that nobody set are what they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulation.account import Made
from tests.simulation.person import NAMES, edits_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.records import Saved
    from tests.simulation.account import Account
    from tests.simulation.history import History
    from tests.simulation.person import Person

Fields = dict[str, Any]


class Lost:
    """One user's history in the moment in which the hub's file burns.

    `newest` is the clock, by object, at which a device had it stored. Of an object that a device
    knows by yet another history nothing is said: between those timestamps decide.
    """

    def __init__(
        self, account: Account, user: str, people: Sequence[Person], copied: History
    ) -> None:
        self.user = user
        self.record = account.record(user)
        self.shared = copied.head
        self.line = copied.line
        self.since = len(account.edits)
        self.newest: dict[str, int] = {}
        self.unheard: list[Made] = []
        self.foreign: set[str] = set()
        for person in people:
            self._ask(account, person, person.stored())

    def know_less(self, account: Account, first: Lost) -> None:
        """Nor is anything said of what was edited since an earlier fire, of which this is another.

        A device of the first lost history may then give back a deletion that was of an earlier life
        of the object, and the hub, restored from one copy twice, takes it for one made since: what
        was made anew between the fires is gone (seed 52164, without this). Nor is anything said of
        those of the first fire: what a device edited in between, not knowing what had been lost, it
        gives back whole, and by one timestamp (seed 3903).
        """
        between = account.edits[first.since : self.since]
        named = {edit.name for edit in between if edit.user == self.user}
        unheard = {edit.name for edit in first.unheard if edit.user == self.user}
        self.foreign |= named | unheard
        first.foreign |= named

    def _ask(self, account: Account, person: Person, saved: Saved) -> None:
        theirs = account.strands.in_epoch(saved.position.epoch, self.user)
        for (_, name), known in saved.objects.items():
            if theirs is self.record:
                self.newest[name] = max(self.newest.get(name, 0), known.clock)
            elif known.clock > self.record.shared_with(theirs):
                self.foreign.add(name)
        pending = [*edits_of(saved.pushes, saved.edits), *person.unsettled()]
        self.unheard += [
            Made(self.user, d.json_data["id"], d.type, frozenset(d.json_data) - {"id"})
            for d in pending
        ]
        waiting = [edit.diff for edit in saved.edits]
        cut = [edit.diff for push in saved.pushes for edit in push.edits]
        self.foreign |= {d.json_data["id"] for d in (*waiting, *cut) if d.was is not None}

    def check(self, account: Account) -> None:
        """All of it that must hold in the end."""
        record = account.record(self.user)
        if self._is_hardly_shared(record):
            account.happened["nothing known in common"] += 1
            return
        edits = [edit for edit in account.edits[self.since :] if edit.user == self.user]
        forgets = record.line > self.line
        for name in NAMES:
            if name in self.foreign or (self.user, name) in account.unfit:
                continue
            on_top = [edit for edit in (*self.unheard, *edits) if edit.name == name]
            versions = self._versions(name)
            final = record.states[-1].get(("tasks", name))
            account.happened["refill checked"] += len(versions) > 1 or not on_top
            # What is offered late, when deletions are forgotten, may bring an object back.
            if None not in versions or not forgets:
                _check(f"{self.user}'s {name}", versions, on_top, final)

    def _is_hardly_shared(self, record: History) -> bool:
        """The first device that came knew no epoch of the copy: where it parted nobody can say.

        Then all that the copy holds counts as made since, where the file was put back by hand.
        """
        parted = [place.logical_clock for place in record.history.continues]
        return bool(parted) and parted[0] < self.shared

    def _versions(self, name: str) -> list[Fields | None]:
        first = max(self.newest.get(name, 0), self.shared)
        return [state.get(("tasks", name)) for state in self.record.states[first:]]


def _check(
    name: str, versions: list[Fields | None], on_top: list[Made], final: Fields | None
) -> None:
    kinds = {edit.kind for edit in on_top}
    there = [version for version in versions if version is not None]
    if not on_top:
        assert final in versions, f"{name} is not what a device knew: {final}, {versions}"
    if len(there) == len(versions) and "delete" not in kinds:
        assert final is not None, f"{name} is gone, and nobody deleted it"
    if not there and "create" not in kinds:
        assert final is None, f"{name} was deleted, and is back"
    if final is not None and len(there) == len(versions) and not kinds - {"update"}:
        _check_fields(name, there, on_top, final)


def _check_fields(name: str, there: list[Fields], on_top: list[Made], final: Fields) -> None:
    """What nobody set is as it was, at one of these moments."""
    set_on_top = frozenset[str]().union(*(edit.fields for edit in on_top))
    for field in frozenset[str]().union(*there) - set_on_top:
        values = [version.get(field) for version in there]
        assert final.get(field) in values, f"{name}.{field} is {final.get(field)}, not {values}"
