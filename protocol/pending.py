"""The edits of a device that the hub has not yet confirmed: folding, cutting, laying over.

An edit waits (and may fold), is cut into a push (and never changes again), and is settled. Until
then it lies on top of the server state, in the order in which it was made (section 7).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice, takewhile
from typing import Any, NamedTuple

import msgspec

from protocol.diffs import Fields, Key
from protocol.hubtime import restamped
from protocol.records import CutPush, Edit, Writes


class _Run(NamedTuple):
    """The latest waiting updates of one object, all as well informed as each other.

    `setters` names the one that sets a field, so that to fold an edit costs its fields, however
    many updates wait. One that waits no longer may still be named there.
    """

    terms: tuple[Any, ...]
    setters: dict[str, int]


class Pending:
    """Every edit not yet settled; `writes` is told of each change to them."""

    def __init__(self, edits: Iterable[Edit], pushes: Iterable[CutPush], writes: Writes) -> None:
        self.waiting: dict[int, Edit] = {}
        self.pushes: dict[int, CutPush] = {push.push_id: push for push in pushes}
        self.writes = writes
        self._by_key: dict[str, dict[str, dict[int, Edit]]] = {}
        self._runs: dict[Key, _Run] = {}
        for push in self.pushes.values():
            for edit in push.edits:
                self._lay(edit)
        for edit in edits:
            self.waiting[edit.number] = edit
            self._lay(edit)

    def __len__(self) -> int:
        return len(self.waiting) + sum(len(push.edits) for push in self.pushes.values())

    @property
    def oldest(self) -> int | None:
        """The number of the oldest edit; pushes were cut before what still waits was made."""
        for push in self.pushes.values():
            return push.edits[0].number
        return next(iter(self.waiting), None)

    def over(self, key: Key) -> Collection[Edit]:
        """Edits of one object in the order in which they were made."""
        return self._edits_of(key).values()

    def ids(self, model: str) -> Iterable[str]:
        """Ids of the objects of a model that have edits."""
        return self._by_key.get(model, {})

    def add(self, edit: Edit, *, known: bool) -> None:
        """Take a new edit in, folded with those that wait; `known`: the server state has it."""
        if edit.diff.type == "update":
            self._fold_update(edit)
            return
        self._runs.pop(edit.diff.key, None)
        if edit.diff.type == "create" or not self._fold_delete(edit, known=known):
            self._put(edit)

    def cut(self, push_id: int, max_diffs: int, max_bytes: int) -> CutPush | None:
        """Cut the next push from what waits, whole batches as far as they fit; None: nothing."""
        edits = tuple(self._next(max_diffs, max_bytes))
        if not edits:
            return None
        push = CutPush(push_id, edits, again=edits[0].again)
        for edit in edits:
            del self.waiting[edit.number]
            self.writes.edits[edit.number] = None
        self.pushes[push_id] = self.writes.pushes[push_id] = push
        return push

    def settle(self, push_id: int) -> CutPush | None:
        """Lift a push off the server state: its outcome is known."""
        push = self.pushes.pop(push_id, None)
        if push is not None:
            self.writes.pushes[push_id] = None
            for edit in push.edits:
                self._lift(edit)
        return push

    def drop(self, edit: Edit) -> None:
        """Take a waiting edit away."""
        del self.waiting[edit.number]
        self.writes.edits[edit.number] = None
        self._lift(edit)

    def mark_again(self) -> None:
        """Mark all edits as held by an older copy of this device (section 5).

        Pushes are taken back, too: what the hub has stored under their ids need not be what this
        copy holds, if meanwhile one was set aside or the hub was restored. It knows each edit by
        its own id.
        """
        cut = self._take_back(list(self.pushes))
        edits = [*cut, *self.waiting.values()]
        self._wait_anew([msgspec.structs.replace(edit, again=True) for edit in edits])

    def cross(self, move: Callable[[Edit], Edit], stored: int, offers: Iterable[Edit]) -> None:
        """Go over to another history (section 10): offers first, then what was made before.

        Pushes above `stored` are taken back, for that history does not hold them, and nothing was
        sent in it yet. Offers of an earlier crossing keep their place.
        """
        cut = self._take_back([name for name in self.pushes if name > stored])
        for push in list(self.pushes.values()):
            self._replace_push(push, [move(edit) for edit in push.edits])
        self._wait_anew([*offers, *map(move, (*cut, *self.waiting.values()))])

    def _take_back(self, push_ids: Sequence[int]) -> list[Edit]:
        self.writes.pushes.update(dict.fromkeys(push_ids))
        edits = [edit for name in push_ids for edit in self.pushes.pop(name).edits]
        for edit in edits:
            self._lift(edit)
        return edits

    def _wait_anew(self, edits: Iterable[Edit]) -> None:
        """Let these wait, and no others.

        Invariant: they lie in the order of their numbers, as they will when they are read back.
        """
        for edit in self.waiting.values():
            self._lift(edit)
        self.waiting.clear()
        self._runs.clear()
        for edit in sorted(edits, key=lambda edit: edit.number):
            self._put(edit)

    def drop_offers(self) -> None:
        """Offer nothing: the history that waited for it is gone."""
        for edit in [edit for edit in self.waiting.values() if edit.diff.was]:
            self.drop(edit)

    def _replace_push(self, push: CutPush, edits: Sequence[Edit]) -> None:
        replaced = msgspec.structs.replace(push, edits=tuple(edits))
        self.pushes[push.push_id] = self.writes.pushes[push.push_id] = replaced
        for edit in edits:
            self._lay(edit)

    def restamp(self, floor: int, by: int, now: int) -> int:
        """Correct the timestamps above `floor` of what waits; the last one, or `floor` of none."""
        late = [
            edit
            for edit in self.waiting.values()
            if edit.diff.utc_timestamp > floor and edit.diff.was is None
        ]
        stamps = restamped([edit.diff.utc_timestamp for edit in late], by, floor, now)
        for edit, stamp in zip(late, stamps, strict=True):
            diff = msgspec.structs.replace(edit.diff, utc_timestamp=stamp)
            self._put(msgspec.structs.replace(edit, diff=diff))
        return stamps[-1] if stamps else floor

    def _fold_update(self, edit: Edit) -> None:
        setters, fields = self._setters(edit), edit.diff.json_data
        self._put(edit)
        for number in {setters[name] for name in fields if name in setters}:
            earlier = self.waiting.get(number)
            if earlier is not None:
                self._leave_fields(earlier, fields)
        setters.update(dict.fromkeys(fields, edit.number))
        del setters["id"]

    def _setters(self, edit: Edit) -> dict[str, int]:
        """By name of field, the update that sets it, of those that fold with this edit."""
        terms = _terms(edit)
        run = self._runs.get(edit.diff.key)
        if run is None or run.terms != terms:
            updates = takewhile(lambda e: e.diff.type == "update", self._foldable(edit))
            setters = {name: e.number for e in updates for name in e.diff.json_data if name != "id"}
            run = self._runs[edit.diff.key] = _Run(terms, setters)
        return run.setters

    def _leave_fields(self, earlier: Edit, set_again: Fields) -> None:
        fields = earlier.diff.json_data
        rest = {name: fields[name] for name in fields if name == "id" or name not in set_again}
        if len(rest) == len(fields):
            return
        if len(rest) == 1:
            self.drop(earlier)
        else:
            diff = msgspec.structs.replace(earlier.diff, json_data=rest)
            self._put(msgspec.structs.replace(earlier, diff=diff))

    def _fold_delete(self, edit: Edit, *, known: bool) -> bool:
        """Drop what the delete makes pointless; True if nothing at all is left to send.

        Creates go with their delete only if the object would not be there without them, in the
        server state, in a push, or by yet another create that cannot fold: else the delete would
        be undone in silence.
        """
        life = list(takewhile(lambda e: e.diff.type != "delete", self._foldable(edit)))
        created = any(earlier.diff.type == "create" for earlier in life)
        beneath = islice(reversed(self._edits_of(edit.diff.key).values()), len(life), None)
        if created and not known and not self._is_in_a_push(edit) and not _make_it(beneath):
            for earlier in life:
                self.drop(earlier)
            return True
        for earlier in takewhile(lambda e: e.diff.type == "update", life):
            self.drop(earlier)
        return False

    def _is_in_a_push(self, edit: Edit) -> bool:
        """Whether an edit of the same object is: the oldest, for pushes are cut in their order."""
        oldest = next(iter(self.over(edit.diff.key)), None)
        return oldest is not None and oldest.number not in self.waiting

    def _foldable(self, edit: Edit) -> Iterator[Edit]:
        """Waiting edits of the same object, latest first, as long as they are as well informed."""
        for earlier in reversed(self._edits_of(edit.diff.key).values()):
            if earlier.number not in self.waiting or _terms(earlier) != _terms(edit):
                return
            yield earlier

    def _next(self, max_diffs: int, max_bytes: int) -> Iterator[Edit]:
        """Edits for one push: the first that waits, and those behind it that go with it.

        A batch that still fits is not begun unless all of it fits, so that it is stored at once.
        """
        count = size = 0
        kind = None
        for batch in self._batches():
            bytes_of_batch = sum(len(msgspec.json.encode(edit.diff)) + 1 for edit in batch)
            too_much = count + len(batch) > max_diffs or size + bytes_of_batch > max_bytes
            if count and (too_much or _kind_of_push(batch[0]) != kind):
                return
            if too_much:
                yield from _as_many_as_fit(batch, max_diffs, max_bytes)
                return
            yield from batch
            kind = _kind_of_push(batch[0])
            count += len(batch)
            size += bytes_of_batch

    def _batches(self) -> Iterator[list[Edit]]:
        batch: list[Edit] = []
        for edit in self.waiting.values():
            if batch and (edit.batch != batch[0].batch or edit.again != batch[0].again):
                yield batch
                batch = []
            batch.append(edit)
        if batch:
            yield batch

    def _put(self, edit: Edit) -> None:
        self.waiting[edit.number] = self.writes.edits[edit.number] = edit
        self._lay(edit)

    def _lay(self, edit: Edit) -> None:
        model, name = edit.diff.key
        self._by_key.setdefault(model, {}).setdefault(name, {})[edit.number] = edit

    def _edits_of(self, key: Key) -> dict[int, Edit]:
        model, name = key
        return self._by_key.get(model, {}).get(name, {})

    def _lift(self, edit: Edit) -> None:
        model, name = edit.diff.key
        edits = self._by_key[model][name]
        del edits[edit.number]
        if not edits:
            del self._by_key[model][name]
            self._runs.pop((model, name), None)


def laid_over(fields: Fields | None, edits: Collection[Edit]) -> Fields | None:
    """What the user sees of an object under its pending edits (section 7)."""
    if not edits:
        return fields
    shown: dict[str, Any] | None = None if fields is None else {**fields}
    for edit in edits:
        if edit.diff.type == "delete":
            shown = None
        elif shown is not None:
            shown.update(edit.diff.json_data)
        elif edit.diff.type == "create":
            shown = {**edit.diff.json_data}
    return shown


def _kind_of_push(edit: Edit) -> tuple[bool, bool]:
    """Offers go out in pushes of their own, and so does what is sent `again`."""
    return edit.again, edit.diff.was is not None


def _terms(edit: Edit) -> tuple[Any, ...]:
    """What edits that fold have in common: they are as well informed, and no offers."""
    return edit.diff.logical_clock, edit.diff.seen, edit.again, edit.diff.was


def _make_it(latest_first: Iterable[Edit]) -> bool:
    """Whether these edits alone leave an object there: an update over nothing shows nothing."""
    kinds = (edit.diff.type for edit in latest_first)
    return next((kind for kind in kinds if kind != "update"), "delete") == "create"


def _as_many_as_fit(batch: list[Edit], max_diffs: int, max_bytes: int) -> Iterator[Edit]:
    size = 0
    for index, edit in enumerate(batch[:max_diffs]):
        size += len(msgspec.json.encode(edit.diff)) + 1
        if index and size > max_bytes:
            return
        yield edit
