"""The edits of a device that the hub has not yet confirmed: folding, cutting, laying over.

An edit waits (and may fold), is cut into a push (and never changes again), and is settled. Until
then it lies on top of the server state, in the order in which it was made (section 7).
"""

from collections.abc import Iterable, Iterator
from itertools import takewhile

import msgspec

from protocol.diffs import Diff, Fields, Key
from protocol.records import CutPush, Edit, Writes


class Pending:
    """Every edit not yet settled; `writes` is told of each change to them."""

    def __init__(self, edits: Iterable[Edit], pushes: Iterable[CutPush], writes: Writes) -> None:
        self.waiting: dict[int, Edit] = {}
        self.pushes: dict[int, CutPush] = {push.push_id: push for push in pushes}
        self.writes = writes
        self._by_key: dict[str, dict[str, dict[int, Edit]]] = {}
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

    def over(self, key: Key) -> Iterable[Edit]:
        """Edits of one object in the order in which they were made."""
        model, name = key
        return self._by_key.get(model, {}).get(name, {}).values()

    def ids(self, model: str) -> Iterable[str]:
        """Ids of the objects of a model that have edits."""
        return self._by_key.get(model, {})

    def add(self, edit: Edit, *, known: bool) -> None:
        """Take a new edit in, folded with those that wait; `known`: the server state has it."""
        if edit.diff.type == "update":
            self._fold_update(edit)
        elif edit.diff.type == "delete" and self._fold_delete(edit, known=known):
            return
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
        cut = [edit for push in self.pushes.values() for edit in push.edits]
        edits = [*cut, *self.waiting.values()]
        self.writes.pushes.update(dict.fromkeys(self.pushes))
        self.pushes.clear()
        self.waiting.clear()
        for edit in edits:
            self._put(msgspec.structs.replace(edit, again=True))

    def forget_bases(self) -> None:
        """Under another history a base says nothing: it becomes 0 (section 6, reset)."""
        for edit in list(self.waiting.values()):
            self._put(_without_base(edit))
        for push in list(self.pushes.values()):
            edits = tuple(_without_base(edit) for edit in push.edits)
            rebased = msgspec.structs.replace(push, edits=edits)
            self.pushes[push.push_id] = self.writes.pushes[push.push_id] = rebased
            for edit in edits:
                self._lay(edit)

    def _fold_update(self, edit: Edit) -> None:
        for earlier in self._foldable(edit):
            if earlier.diff.type != "update":
                return
            self._leave_fields(earlier, edit.diff.json_data)

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
        edits = list(self.over(edit.diff.key))
        life = list(takewhile(lambda e: e.diff.type != "delete", self._foldable(edit)))
        created = any(earlier.diff.type == "create" for earlier in life)
        beneath = edits[: len(edits) - len(life)]
        if created and not known and not self._is_in_a_push(edit) and not _make_it(beneath):
            for earlier in life:
                self.drop(earlier)
            return True
        for earlier in takewhile(lambda e: e.diff.type == "update", life):
            self.drop(earlier)
        return False

    def _is_in_a_push(self, edit: Edit) -> bool:
        return any(other.number not in self.waiting for other in self.over(edit.diff.key))

    def _foldable(self, edit: Edit) -> Iterator[Edit]:
        """Waiting edits of the same object, latest first, as long as they are as well informed."""
        for earlier in reversed(list(self.over(edit.diff.key))):
            same_base = earlier.diff.logical_clock == edit.diff.logical_clock
            if earlier.number not in self.waiting or not same_base or earlier.again != edit.again:
                return
            yield earlier

    def _next(self, max_diffs: int, max_bytes: int) -> Iterator[Edit]:
        """Edits for one push: the first that waits, and those behind it that go with it.

        A batch that still fits is not begun unless all of it fits, so that it is stored at once.
        """
        count = size = 0
        again = None
        for batch in self._batches():
            bytes_of_batch = sum(len(msgspec.json.encode(edit.diff)) + 1 for edit in batch)
            too_much = count + len(batch) > max_diffs or size + bytes_of_batch > max_bytes
            if count and (too_much or batch[0].again != again):
                return
            if too_much:
                yield from _as_many_as_fit(batch, max_diffs, max_bytes)
                return
            yield from batch
            again = batch[0].again
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

    def _lift(self, edit: Edit) -> None:
        model, name = edit.diff.key
        edits = self._by_key[model][name]
        del edits[edit.number]
        if not edits:
            del self._by_key[model][name]


def lay_over(fields: Fields | None, diff: Diff) -> Fields | None:
    """What the user sees of an object under a pending edit (section 7)."""
    if diff.type == "delete":
        return None
    if fields is None:
        return diff.json_data if diff.type == "create" else None
    return {**fields, **diff.json_data}


def _make_it(edits: Iterable[Edit]) -> bool:
    """Whether these edits alone leave an object there."""
    fields: Fields | None = None
    for edit in edits:
        fields = lay_over(fields, edit.diff)
    return fields is not None


def _without_base(edit: Edit) -> Edit:
    diff = msgspec.structs.replace(edit.diff, logical_clock=0)
    return msgspec.structs.replace(edit, diff=diff)


def _as_many_as_fit(batch: list[Edit], max_diffs: int, max_bytes: int) -> Iterator[Edit]:
    size = 0
    for index, edit in enumerate(batch[:max_diffs]):
        size += len(msgspec.json.encode(edit.diff)) + 1
        if index and size > max_bytes:
            return
        yield edit
