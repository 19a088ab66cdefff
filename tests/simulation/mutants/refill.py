"""Bugs in how a restored hub is found out, and in how its devices refill it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from client.storage.file import DeviceFile
from client.storage.interface import Kept
from hub.user import User
from protocol import mobync, offers, refill
from protocol.diffs import Diff, Place
from protocol.messages import Hello, Welcome
from protocol.pending import Pending
from protocol.records import Edit
from protocol.replica import Replica
from tests.simulation.mutants.mutant import Mutant, Patches


def offers_without_a_version() -> Patches:
    """An offer is a create like any other, with the base of the copy."""
    offer = offers._offer

    def plain(*of: Any) -> Diff:
        return msgspec.structs.replace(offer(*of), was=None)

    return {"protocol.offers._offer": plain}


def offers_forgotten_at_a_restart() -> Patches:
    read = DeviceFile.read

    def without(self: DeviceFile) -> Kept:
        kept = read(self)
        own = tuple(edit for edit in kept.saved.edits if edit.diff.was is None)
        return msgspec.structs.replace(kept, saved=msgspec.structs.replace(kept.saved, edits=own))

    return {"client.storage.file.DeviceFile.read": without}


def deletions_not_offered() -> Patches:
    every = offers.offers

    def some(*of: Any) -> Iterator[Edit]:
        return (edit for edit in every(*of) if edit.diff.type != "delete")

    return {"protocol.replica.offers": some}


def own_refill_unseen() -> Patches:
    """A base counts by the clocks of the new history alone."""
    return {"protocol.diffs.Refilled.known_to": lambda _self, _seen: False}


def since_undone() -> Patches:
    """What was edited since the restore gives way to any offer."""
    return {"protocol.refill._newer": lambda _offer, _held: []}


def deletion_since_undone() -> Patches:
    return {"protocol.refill._version_of_deleted": refill._version} | {
        "protocol.refill._RULES": {
            kind: refill._version if rule is refill._version_of_deleted else rule
            for kind, rule in refill._RULES.items()
        }
    }


def older_offer_wins() -> Patches:
    """The last offer counts, and not the one with the greater clock."""
    return {"protocol.refill._has_it": lambda _offer, _held: False}


def put_back_not_found() -> Patches:
    """A device of a lost line is reset, and the history does not fork."""
    return {"hub.session.is_of_a_lost_line": lambda _hello, _user: False}


def epochs_not_looked_at() -> Patches:
    """A clock that the hub has reached again is taken for the one that the device knew."""

    def is_below(hello: Hello, _epoch: str, user: User) -> bool:
        return hello.logical_clock <= user.head

    return {"hub.greeting._was_level": is_below}


def forks_at_the_head() -> Patches:
    """The lost history counts as the same up to where the file is by now."""
    return {
        "hub.session.shared_with": lambda _hello, user: user.head,
        "hub.greeting.shared_with": lambda _hello, user: user.head,
    }


def offers_behind_what_was_cut() -> Patches:
    """Pushes that the restored hub has not are sent again before what they were made upon."""
    cross = Pending.cross

    def keep(self: Pending, move: Any, _stored: int, made: Iterable[Edit]) -> None:
        cross(self, move, max(self.pushes, default=0), made)

    return {"protocol.pending.Pending.cross": keep}


def seen_not_said() -> Patches:
    """Edits go over to the new history without what their user had seen of the old one."""

    def across(edit: Edit, crossing: Any) -> Edit:
        shared: Place | None = crossing.via if crossing is not None else None
        base = min(edit.diff.logical_clock, shared.logical_clock if shared else 0)
        diff = msgspec.structs.replace(edit.diff, logical_clock=base)
        return msgspec.structs.replace(edit, diff=diff)

    return {"protocol.replica.across": across}


def told_twice_across_a_fire() -> Patches:
    """Found by this simulation: what was heard half-way is forgotten with the lost history."""
    reset = Replica._reset

    def forget(self: Replica, welcome: Welcome) -> Iterable[Any]:
        touched = reset(self, welcome)
        self._told.clear()
        return touched

    return {"protocol.replica.Replica._reset": forget}


def pollers_told_of_creates() -> Patches:
    """Found by this simulation: an offer is told as the log has it, and fails over a row."""
    found_in = mobync._found_in

    def plain(row: Any) -> Iterator[Any]:
        for clock, key, diff in found_in(row):
            yield clock, key, msgspec.structs.replace(diff, was=None)

    return {"protocol.mobync._found_in": plain}


def _mutant(plant: Callable[[], Patches], harm: str) -> Mutant:
    return Mutant(plant.__name__, harm, plant)


REFILL = (
    _mutant(offers_without_a_version, "What a phone gives back undoes what was edited since."),
    _mutant(
        offers_forgotten_at_a_restart,
        "A phone that is killed while it gives back loses what only it knew.",
    ),
    _mutant(deletions_not_offered, "What was deleted comes back with the hub."),
    _mutant(own_refill_unseen, "An edit made before the fire loses to what its user had seen."),
    _mutant(since_undone, "An edit made after the fire is undone by a phone that comes back."),
    _mutant(deletion_since_undone, "What was deleted after the fire comes back with a phone."),
    _mutant(older_offer_wins, "A phone that was behind takes back what others gave."),
    _mutant(put_back_not_found, "What a file that was put back lacks is lost with each phone."),
    _mutant(
        epochs_not_looked_at,
        "Other pushes have the clocks that a phone has seen, and it never hears of them.",
    ),
    _mutant(forks_at_the_head, "What the hub lacks is not given back, for it seems to be there."),
    _mutant(
        offers_behind_what_was_cut,
        "An edit that was under way at the fire is refused: its object comes behind it.",
    ),
    _mutant(told_twice_across_a_fire, "A phone shows one edit as refused twice."),
    _mutant(pollers_told_of_creates, "A polling client keeps an old row for ever."),
    _mutant(seen_not_said, "An edit made before the fire beats a newer one that is given back."),
)
