"""The histories that the hub's file has had: each restore begins another strand of them.

Which device is a part of which is told by the epochs, as in docs/protocol.md, section 6, but by an
account of them that nobody restores.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.simulation.history import History

if TYPE_CHECKING:
    from protocol.history import History as Named

MAX_OBJECT_BYTES = 400
Place = tuple[str, str]
"""A user and the name of one of its devices."""
Records = dict[str, History]
"""By users."""


class Start(NamedTuple):
    """A start of the hub, and the clocks at which it found its users."""

    epoch: str
    heads: dict[str, int]


class Books(NamedTuple):
    """What a copy of the hub's file holds."""

    records: Records
    starts: tuple[Start, ...]


class Asked(NamedTuple):
    """What the hub had handed out when a device asked to be level, in which history."""

    record: History
    head: int


class Strands:
    """`records` are those of the present strand; of older ones only devices know."""

    def __init__(self, happened: Counter[str]) -> None:
        self.happened = happened
        self.records: Records = {}
        self._starts: list[Start] = []
        self._in_epoch: dict[str, Records] = {}
        self._lost: Records = {}
        self._owed: dict[Place, set[str]] = defaultdict(set)
        self._offered: dict[Place, set[str]] = defaultdict(set)

    def record(self, user: str) -> History:
        if user not in self.records:
            self.records[user] = History(MAX_OBJECT_BYTES, self.happened)
            self.records[user].before = self._lost.get(user)
        return self.records[user]

    def begun(self, epoch: str) -> None:
        """The hub has begun to serve, under this name."""
        heads = {user: record.head for user, record in self.records.items()}
        self._starts.append(Start(epoch, heads))
        self._in_epoch[epoch] = self.records

    @property
    def was_restored(self) -> bool:
        return bool(self._lost)

    def copied(self) -> Books:
        records = {user: record.copy() for user, record in self.records.items()}
        return Books(records, tuple(self._starts))

    def restore(self, books: Books) -> None:
        """The hub's file is what it was when it was copied."""
        self._lost = {**self._lost, **self.records}
        self._starts = list(books.starts)
        self.records = {
            user: record.restored(self._lost[user]) for user, record in books.records.items()
        }

    def in_epoch(self, epoch: str | None, user: str) -> History:
        """The history that the hub had in an epoch: what a device that names it is a part of."""
        return self._in_epoch.get(epoch or "", self.records).get(user) or self.record(user)

    def asked(self, user: str) -> Asked:
        record = self.record(user)
        return Asked(record, record.handed_out)

    def is_asked_here(self, asked: Asked) -> bool:
        """Whether the hub was not restored since."""
        return any(asked.record is record for record in self.records.values())

    # What a device may say

    def is_in_line(self, hello: dict[str, Any], seen: int, user: str) -> bool:
        """Whether all that the device has is a part of the hub's history, and the hub can tell."""
        if hello["log_id"] is None:
            return seen == 0
        end = self._end(hello["epoch"], user)
        return end is not None and seen <= end

    def _end(self, epoch: str, user: str) -> int | None:
        """Where an epoch ended for a user; None: the hub's file does not know it."""
        at = next((at for at, start in enumerate(self._starts) if start.epoch == epoch), None)
        if at is None:
            return None
        if at + 1 == len(self._starts):
            return self.record(user).head
        return self._starts[at + 1].heads.get(user, 0)

    def check_parting(self, hello: dict[str, Any], welcome: dict[str, Any], user: str) -> None:
        """What the hub says to have in common with the device's history, it has in common."""
        theirs = self.in_epoch(hello.get("epoch"), user)
        for place in welcome.get("continues", ()):
            if place["log_id"] == hello["log_id"]:
                shared = self.record(user).shared_with(theirs)
                assert place["logical_clock"] <= shared, "the hub shares less with a lost history"

    def owes(self, place: Place, offers: set[str]) -> None:
        """A device dies, and its file has these offers, which it has not yet cut into a push."""
        self.happened["died with offers"] += bool(offers)
        self._owed[place] |= offers

    def forgive(self, place: Place) -> None:
        """It goes over to a history that has nothing in common with its own."""
        self._owed[place].clear()

    def check_owed(self, place: Place) -> None:
        left = self._owed[place] - self._offered[place]
        assert not left, f"{place} had made these offers, and forgot them: {left}"

    def check_offer(self, offer: dict[str, Any], place: Place) -> None:
        """What is offered is what an older history had, and changed, at this clock."""
        user = place[0]
        self._offered[place].add(offer["id"])
        self.happened["offer of a deletion"] += offer["type"] == "delete"
        was, key = offer["was"], (offer["model"], offer["json_data"]["id"])
        fields = offer["json_data"] if offer["type"] == "create" else None
        clock = was["logical_clock"]
        versions = [
            record.states[clock].get(key)
            for record in self.record(user).lost_ones()
            if was["log_id"] in record.log_ids and clock <= record.head
        ]
        assert fields in versions, f"{offer} never was"


def named(record: History, history: Named) -> None:
    """The hub decides in the history of this name."""
    record.history = history
    record.log_ids.add(history.log_id)
