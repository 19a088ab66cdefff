"""A device without any I/O (docs/protocol.md, sections 5 to 7).

Two layers: the server state, changed only by what the hub sends and in its order, and the pending
edits over it. Edits and frames go in; what to send, what to show and what to store come out. One
connection runs: `hello` out, `welcome` in, catch-up in, `ready` in, and from then on pushes out.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import UnsetType

from protocol.diffs import Diff, DiffType, Fields, Key, Place, StoredDiff, read_diff
from protocol.drafts import Draft
from protocol.errors import BadMessage, HistoryGap
from protocol.hubtime import FAR_AHEAD, WORTH_CORRECTING, is_date, skew_of, stamped
from protocol.messages import (
    MOST_EARLIER,
    Ack,
    Changes,
    FromHub,
    Half,
    Hello,
    Lost,
    Pong,
    Push,
    PushOutcome,
    Ready,
    Rejected,
    Snapshot,
    SnapshotObject,
    Welcome,
    decode_diffs,
    decode_fields,
)
from protocol.offers import across, crossing_to, offers
from protocol.pending import Pending, laid_over
from protocol.records import (
    CutPush,
    Edit,
    Known,
    LostFields,
    RejectedEdit,
    Saved,
    Setback,
    Writes,
)

WINDOW: Final = 4
"""Pushes under way at once; what is edited meanwhile folds, and goes out as one."""
FRAME_ROOM: Final = 200
"""Bytes of a push frame that are not its diffs."""


class Replica:
    """One device's copy of a user's data, and what it has still to tell the hub."""

    def __init__(self, saved: Saved) -> None:
        self.position = saved.position
        self.setbacks: dict[int, Setback] = dict(saved.setbacks)
        self.head = saved.position.clock
        self.remaining = 0
        self.ready = False
        self._objects: dict[str, dict[str, Known]] = {}
        self._limits: dict[str, int] = {}
        self._writes = Writes(saved.position)
        self._pending = Pending(saved.edits, saved.pushes, self._writes)
        self._sent = 0
        self._cautious = False
        self._has_heard_time = False
        self._told = {
            setback.push_id
            for setback in saved.setbacks.values()
            if setback.push_id > saved.position.settled
        }
        for (model, name), known in saved.objects.items():
            self._objects.setdefault(model, {})[name] = known

    # What to store

    def take_writes(self) -> Writes:
        """Hand over what has changed since the last call, to be stored in one transaction."""
        writes = self._writes
        writes.position = self.position
        self._writes = self._pending.writes = Writes(self.position)
        return writes

    # What to show

    def show(self, key: Key) -> Fields | None:
        """What the user sees of an object: the server state under the pending edits."""
        return laid_over(self._fields(key), self._pending.over(key))

    def shown(self, model: str) -> Iterator[Fields]:
        """What the user sees of a model, object by object."""
        names = dict.fromkeys(self._objects.get(model, ()))
        names.update(dict.fromkeys(self._pending.ids(model)))
        for name in names:
            fields = self.show((model, name))
            if fields is not None:
                yield fields

    @property
    def pending(self) -> int:
        """How many edits the hub has not yet confirmed."""
        return len(self._pending)

    @property
    def oldest(self) -> int | None:
        """The number of the oldest edit that the hub has not yet confirmed; None: all are."""
        return self._pending.oldest

    # Editing

    def edit(
        self, kind: DiffType, model: str, fields: Fields, *, diff_id: str, now: int, batch: int = 0
    ) -> Key:
        """Make an edit at the device's own time `now` (ms); works offline.

        Edits with the same `batch` are pushed together; 0: alone.

        Raises:
            InvalidDiff: the edit is not well formed; nothing has changed.

        """
        number = self.position.edits + 1
        timestamp = stamped(now + self.position.skew, self.position.timestamp)
        diff = read_diff(
            {
                "id": diff_id,
                "logical_clock": self._base(),
                "utc_timestamp": timestamp,
                "type": kind,
                "model": model,
                "json_data": dict(fields) if kind != "delete" else {"id": fields.get("id")},
            }
        )
        corrected = timestamp if self._has_heard_time else self.position.corrected
        self._move(edits=number, timestamp=timestamp, corrected=corrected)
        edit = Edit(number, batch or -number, diff)
        self._pending.add(edit, known=self._fields(diff.key) is not None)
        return diff.key

    def _base(self) -> int:
        """The clock that the user has seen; half-way, that at which the device was level."""
        half = self.position.half
        return half.from_ if half else self.position.clock

    # The hub's time

    def begin(self, now: int) -> None:
        """The device begins to run, and its clock shows `now` (ms): never before its last edit.

        A clock that does was put back meanwhile, at least that far: edits go on from the last one
        at their own pace, and are corrected with the rest when the hub's time is heard. But edits
        of one moment differ by a millisecond each, and so run ahead of any clock.
        """
        behind = self.position.timestamp - (now + self.position.skew)
        if behind > len(self._pending) + WORTH_CORRECTING:
            self._move(skew=self.position.skew + behind)

    def clock_set(self, by: int) -> None:
        """The device's clock was set by so many ms while it ran; the hub's was not."""
        self._move(skew=self.position.skew - by)

    def _hear_time(self, server_time: int, now: int, trip: int) -> None:
        """Measure the skew, and correct what was stamped before it was known.

        Invariant: a timestamp that a push was cut with is never changed, and each is above those
        before. Only one that lies far ahead of the hub's time gives way: else a hub whose own
        clock was wrong for a moment would leave the device ahead of all others for ever.
        """
        if not is_date(server_time):
            return
        skew = skew_of(self.position.skew, server_time, now, trip)
        moved, hub_now = skew - self.position.skew, now + skew
        self._move(skew=skew)
        if self.position.corrected > hub_now + FAR_AHEAD:
            self._move(corrected=0)
        wrong = abs(moved) >= WORTH_CORRECTING or self.position.timestamp > hub_now + FAR_AHEAD
        if wrong and self.position.corrected < self.position.timestamp:
            floor = self.position.corrected
            self._move(timestamp=self._pending.restamp(floor, moved, hub_now))
        self._move(corrected=self.position.timestamp)
        self._has_heard_time = True

    # What to send

    def hello(self, token: str, device: str) -> Hello:
        """The first frame of a new connection; nothing from an older one is taken any more."""
        self._sent = 0
        self.ready = False
        position = self.position
        return Hello(
            token=token,
            device=device,
            logical_clock=position.clock,
            log_id=position.log_id,
            half=self._half(),
            epoch=position.epoch,
            earlier=position.earlier,
        )

    def _half(self) -> Half | None:
        half = self.position.half
        return half and msgspec.structs.replace(half, seen=self._seen())

    def _seen(self) -> int:
        """Up to which clock it has seen the history; a page may end in the middle of a push."""
        half, clock = self.position.half, self.position.clock
        if half is None:
            return clock
        return max(clock, half.head, *(known.clock for _, known in self._all_known()))

    def next_push(self) -> Push | None:
        """The next push to send on this connection, cut and to be stored before; None: wait."""
        if not self.ready:
            return None
        under_way = [push_id for push_id in self._pending.pushes if push_id <= self._sent]
        if len(under_way) >= (1 if self._cautious else WINDOW):
            return None
        push = self._unsent() or self._cut()
        if push is None:
            return None
        self._sent = push.push_id
        return Push(push.push_id, [edit.diff for edit in push.edits], push.again)

    def set_aside(self, push_id: int | None, code: str, message: str) -> Iterable[Key] | None:
        """The hub closed over a push (section 5): keep it from coming in the way again.

        Without its id, pushes go one at a time from now on, until the one that breaks the
        connection is alone under way. The keys that this touches; None: no push was under way,
        so that coming back is of no use.
        """
        under_way = [name for name in self._pending.pushes if name <= self._sent]
        if push_id is None and self._cautious and under_way:
            push_id = under_way[0]
        if push_id is None or push_id not in under_way:
            self._cautious = True
            return () if under_way else None
        push = self._pending.pushes[push_id]
        for edit in push.edits:
            self._add_setback(RejectedEdit(push_id, edit.diff, code, message))
        self._pending.settle(push_id)
        self._cautious = False
        return [edit.diff.key for edit in push.edits]

    def _unsent(self) -> CutPush | None:
        return next((p for p in self._pending.pushes.values() if p.push_id > self._sent), None)

    def _cut(self) -> CutPush | None:
        max_diffs = self._limits.get("max_diffs", 1000)
        max_bytes = self._limits.get("max_frame_bytes", 2**20) - FRAME_ROOM
        push = self._pending.cut(self.position.counter + 1, max_diffs, max_bytes)
        if push is not None:
            own = [edit.diff.utc_timestamp for edit in push.edits[-1:] if edit.diff.was is None]
            self._move(counter=push.push_id, corrected=max(self.position.corrected, *own, 0))
        return push

    # Taking what the hub sends

    def take(self, message: FromHub, now: int, trip: int = 0) -> Iterable[Key]:
        """Take a frame that came at the device's own time `now` (ms); the keys it touches.

        `trip` (ms) is how long before `now` the device asked for what is an answer: a welcome, a
        pong.

        Raises:
            HistoryGap: a clock was left out or came twice; connect again.
            BadMessage: diffs or objects that are none; nothing has changed.

        """
        match message:
            case Welcome():
                return self._welcomed(message, now, trip)
            case Changes():
                return self._apply(message.logical_clock, decode_diffs(message.diffs))
            case Ack():
                return self._acked(message)
            case Snapshot():
                return self._paged(message)
            case Ready():
                return self._caught_up(message)
            case Pong():
                self._hear_time(message.server_time, now, trip)
                return ()
            case _:
                return ()

    def _welcomed(self, welcome: Welcome, now: int, trip: int) -> Iterable[Key]:
        touched: Iterable[Key] = ()
        if welcome.reset:
            touched = self._reset(welcome)
        if self.position.counter < welcome.last_push_id:
            self._pending.mark_again()
            self._move(counter=welcome.last_push_id)
        self._move(log_id=welcome.log_id, continues=welcome.continues)
        self._enter_epoch(welcome.epoch)
        self._hear_time(welcome.server_time, now, trip)
        self._limits = welcome.limits
        self.head = welcome.logical_clock
        return touched

    def _reset(self, welcome: Welcome) -> Iterable[Key]:
        """Forget what came from the hub, never a pending edit, all in one step.

        What a history that the hub carries on held beyond it becomes an offer in the same step.
        The epochs go as well: they were those of the line that the device has left.
        """
        touched = [(model, name) for model, names in self._objects.items() for name in names]
        if welcome.log_id != self.position.log_id:
            self._cross(welcome)
        self._objects.clear()
        self._writes.objects.clear()
        self._writes.forget = True
        self._move(clock=0, half=None, epoch=None, earlier=())
        return touched

    def _cross(self, welcome: Welcome) -> None:
        """Go over to another history (section 10)."""
        ours = self._history()
        made: list[Edit] = []
        before = self.position.continues
        crossing = crossing_to(welcome.continues, ours, before) if ours else None
        if crossing and welcome.refill:
            made = list(offers(self._all_known(), crossing, self.position.offers))
            self._move(offers=self.position.offers + len(made))
        else:
            self._pending.drop_offers()
        # Offers go before what was cut, so that what the hub does not hold is cut anew.
        stays = welcome.last_push_id if made else self.position.counter
        self._pending.cross(partial(across, crossing=crossing), stays, made)

    def _history(self) -> Place | None:
        """The history that the device knows, and up to which clock."""
        log_id = self.position.log_id
        return Place(log_id, self._seen()) if log_id is not None else None

    def _all_known(self) -> Iterator[tuple[Key, Known]]:
        for model, names in self._objects.items():
            for name, known in names.items():
                yield (model, name), known

    def _enter_epoch(self, epoch: str | None) -> None:
        """From here on what the device holds is a part of the line that the hub has in this one."""
        last = self.position.epoch
        if last not in (None, epoch):
            self._move(earlier=(last, *self.position.earlier)[:MOST_EARLIER])
        self._move(epoch=epoch)

    def _acked(self, ack: Ack) -> Iterable[Key]:
        push = self._pending.pushes.get(ack.push_id)
        if push is None and isinstance(ack.diffs, UnsetType):
            raise HistoryGap(f"an ack of push {ack.push_id}, which this device does not know")
        sent = [edit.diff for edit in push.edits] if push else []
        stored = sent if isinstance(ack.diffs, UnsetType) else decode_diffs(ack.diffs)
        touched = self._apply(ack.logical_clock, stored)
        self._settle(ack.push_id, ack.lost, ack.rejected)
        return [*touched, *(diff.key for diff in sent)]

    def _apply(self, clock: int, diffs: Iterable[Diff | StoredDiff]) -> list[Key]:
        """Take the next clock. Invariant: each clock is heard of once and in order."""
        if clock != self.position.clock + 1:
            raise HistoryGap(f"clock {clock} came after {self.position.clock}")
        self._move(clock=clock)
        self.head = max(self.head, clock)
        drafts: dict[Key, Draft] = {}
        for diff in diffs:
            self._set(clock, diff, drafts)
        return [self._keep(key, draft.known(clock)) for key, draft in drafts.items()]

    def _set(self, clock: int, diff: Diff | StoredDiff, drafts: dict[Key, Draft]) -> None:
        """Do what a stored diff says; `drafts` are this push's own, one for each object."""
        draft = drafts.get(diff.key)
        if draft is None:
            draft = drafts[diff.key] = Draft(self._known(diff.key))
        draft.take(clock, diff)

    def _paged(self, page: Snapshot) -> Iterable[Key]:
        if page.logical_clock < self.position.clock:
            raise HistoryGap(f"a page up to {page.logical_clock} at {self.position.clock}")
        entries = [_entry(entry) for entry in page.objects]
        half = self.position.half
        level = half.from_ if half else self.position.clock
        self._move(clock=page.logical_clock, half=Half(level, page.head))
        self.head = max(self.head, page.logical_clock, page.head)
        self.remaining = page.remaining
        return [self._keep(key, known) for key, known in entries]

    def _caught_up(self, ready: Ready) -> Iterable[Key]:
        if self.position.half is None and ready.logical_clock != self.position.clock:
            raise HistoryGap(f"ready at {ready.logical_clock}, but here is {self.position.clock}")
        outcomes = {outcome.push_id: outcome for outcome in ready.outcomes}
        stored = {name for name in self._pending.pushes if name <= ready.last_push_id}
        touched: list[Key] = []
        for push_id in sorted(outcomes.keys() | stored):
            outcome = outcomes.get(push_id, PushOutcome(push_id))
            touched += self._settle(push_id, outcome.lost, outcome.rejected)
        self._move(settled=max(self.position.settled, ready.last_push_id))
        self.head = max(self.head, ready.logical_clock)
        self.ready = not ready.more
        if self.ready:
            self._move(clock=ready.logical_clock, half=None)
            self._told.clear()
            self.remaining = 0
        return touched

    def _settle(
        self, push_id: int, lost: Iterable[Lost], rejected: Iterable[Rejected]
    ) -> Iterable[Key]:
        """A push is stored: lift it off, and note what it lost unless that was told before.

        Invariant: the outcomes of all pushes up to `settled` are known. Half-way, an ack may come
        before the outcomes of earlier pushes that the pages passed, which only `ready` tells;
        `_told` are those known above `settled`, which are told again if the line drops meanwhile,
        or the hub is restored: a push id names the same push in all histories.
        """
        push = self._pending.settle(push_id)
        diffs = [edit.diff for edit in push.edits] if push else []
        half_way = self.position.half is not None
        if push_id > self.position.settled and push_id not in self._told:
            self._note_setbacks(push_id, dict(enumerate(diffs)), lost, rejected)
        if half_way:
            self._told.add(push_id)
        else:
            self._move(settled=max(self.position.settled, push_id))
        if not self._pending.pushes:
            self._cautious = False
        return [diff.key for diff in diffs]

    def _note_setbacks(
        self,
        push_id: int,
        diffs: Mapping[int, Diff],
        lost: Iterable[Lost],
        rejected: Iterable[Rejected],
    ) -> None:
        for loser in lost:
            self._add_setback(LostFields(push_id, diffs.get(loser.index), loser.fields))
        for refused in rejected:
            diff = diffs.get(refused.index)
            self._add_setback(RejectedEdit(push_id, diff, refused.code, refused.message))

    # What the application has been shown

    def take_setback(self, number: int) -> None:
        """The application has dealt with a setback; it is not kept any longer."""
        del self.setbacks[number]
        self._writes.setbacks[number] = None

    def _add_setback(self, setback: Setback) -> None:
        number = self.position.setbacks + 1
        self._move(setbacks=number)
        self.setbacks[number] = self._writes.setbacks[number] = setback

    # The server state

    def _known(self, key: Key) -> Known | None:
        model, name = key
        return self._objects.get(model, {}).get(name)

    def _fields(self, key: Key) -> Fields | None:
        known = self._known(key)
        return known.fields if known else None

    def _keep(self, key: Key, known: Known) -> Key:
        model, name = key
        self._objects.setdefault(model, {})[name] = self._writes.objects[key] = known
        return key

    def _move(self, **position: Any) -> None:
        self.position = msgspec.structs.replace(self.position, **position)


def _entry(entry: SnapshotObject) -> tuple[Key, Known]:
    clock, timestamp, created = entry.logical_clock, entry.utc_timestamp, entry.created
    if not isinstance(entry.json_data, UnsetType):
        fields = decode_fields(entry.json_data)
        return (entry.model, fields["id"]), Known(clock, fields, timestamp, created, entry.was)
    if isinstance(entry.id, UnsetType) or not entry.deleted:
        raise BadMessage("an object that neither stands nor is deleted")
    return (entry.model, entry.id), Known(clock, None, timestamp, created, entry.was)
