"""Bugs in a device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from client.conversation import Conversation
from client.inbox import Inbox
from client.local import LocalCopy
from client.storage import rows
from protocol.messages import Received, Welcome, decode_from_hub
from protocol.pending import Pending
from protocol.records import Edit, Position
from protocol.replica import Replica
from tests.simulation.mutants.mutant import Mutant, Patches


def base_half_way() -> Patches:
    return {"protocol.replica.Replica._base": lambda self: self.position.clock}


def half_way_forgotten() -> Patches:
    """A device that was half-way and is started again believes that it was level."""
    read = rows.read_position

    def level(*row: Any) -> Position:
        return msgspec.structs.replace(read(*row), half=None)

    return {"client.storage.rows.read_position": level}


def folds_into_a_push() -> Patches:
    add = Pending.add

    def fold(self: Pending, edit: Edit, *, known: bool) -> None:
        key = edit.diff.key
        for push in list(self.pushes.values()):
            last = push.edits[-1]
            if edit.diff.type == last.diff.type == "update" and last.diff.key == key:
                fields = {**last.diff.json_data, **edit.diff.json_data}
                diff = msgspec.structs.replace(last.diff, json_data=fields)
                edits = (*push.edits[:-1], msgspec.structs.replace(last, diff=diff))
                grown = msgspec.structs.replace(push, edits=edits)
                self.pushes[push.push_id] = self.writes.pushes[push.push_id] = grown
                self._lay(edits[-1])
                return
        add(self, edit, known=known)

    return {"protocol.pending.Pending.add": fold}


def folds_a_delete_of_what_is_there() -> Patches:
    fold = Pending._fold_delete

    def into_nothing(self: Pending, edit: Edit, *, known: bool) -> bool:
        del known
        return fold(self, edit, known=False)

    return {"protocol.pending.Pending._fold_delete": into_nothing}


def sent_before_it_is_stored() -> Patches:
    async def push(self: Conversation) -> None:
        while True:
            await self._local.pushable.wait()
            self._local.pushable.clear()
            for push in list(iter(self._local.replica.next_push, None)):
                await self._send(push)

    return {"client.conversation.Conversation._push": push}


def received_before_it_is_stored() -> Patches:
    async def take(self: Conversation) -> None:
        while True:
            for frame in await self._next_frames():
                self._hear(decode_from_hub(frame))
            self._local.pushable.set()
            self._stored.set()
            self._local.bell.ring()

    async def report(self: Conversation) -> bool:
        position = self._local.replica.position
        if not self._local.replica.ready or position.half or position.clock <= self._reported:
            return False
        self._reported = position.clock
        await self._send(Received(position.clock))
        return True

    return {
        "client.conversation.Conversation._take": take,
        "client.conversation.Conversation._report_now": report,
    }


def received_half_way() -> Patches:
    async def report(self: Conversation) -> bool:
        safe = self._local.safe
        if safe.clock <= self._reported:
            return False
        self._reported = safe.clock
        await self._send(Received(safe.clock))
        return True

    return {"client.conversation.Conversation._report_now": report}


def reset_takes_the_edits() -> Patches:
    reset = Replica._reset

    def forget(self: Replica, welcome: Welcome) -> Iterable[Any]:
        for edit in list(self._pending.waiting.values()):
            self._pending.drop(edit)
        return reset(self, welcome)

    return {"protocol.replica.Replica._reset": forget}


def reset_keeps_the_objects() -> Patches:
    def keep(self: Replica, _welcome: Welcome) -> Iterable[Any]:
        self._move(clock=0, half=None)
        return ()

    return {"protocol.replica.Replica._reset": keep}


def time_goes_back() -> Patches:
    """The last timestamp is not kept, and the hub's clock was put back meanwhile."""
    read = rows.read_position

    def young(*row: Any) -> Position:
        return msgspec.structs.replace(read(*row), timestamp=0, corrected=0)

    return {"client.storage.rows.read_position": young}


def counter_not_kept() -> Patches:
    read = rows.read_position

    def young(*row: Any) -> Position:
        position = read(*row)
        return msgspec.structs.replace(position, counter=max(position.counter - 1, 0))

    return {"client.storage.rows.read_position": young}


def old_socket_heard() -> Patches:
    """The end of a link is believed before what came ahead of it, which is taken behind `hello`."""
    greet, leave = Conversation._greet, Conversation._leave
    left: dict[LocalCopy, list[bytes]] = {}

    async def take(self: Inbox) -> list[bytes]:
        await self._filled.wait()
        if self._end is not None:
            raise self._end
        frames, self._frames, self._bytes = self._frames, [], 0
        self._room.set()
        self._filled.clear()
        return frames

    async def remember(self: Conversation) -> None:
        left[self._local] = list(self._inbox._frames)
        await leave(self)

    async def take_both(self: Conversation, hello: Any) -> None:
        await greet(self, hello)
        for frame in left.pop(self._local, []):
            self._inbox._put(frame)

    return {
        "client.conversation.Conversation._greet": take_both,
        "client.conversation.Conversation._leave": remember,
        "client.inbox.Inbox.take": take,
    }


def ready_forgets_what_is_pending() -> Patches:
    """At `ready` every push counts as settled, whatever the hub says to have."""
    caught_up = Replica._caught_up

    def settle(self: Replica, ready: Any) -> Any:
        all_of_them = max(self._pending.pushes, default=0)
        last = max(ready.last_push_id, all_of_them)
        return caught_up(self, msgspec.structs.replace(ready, last_push_id=last))

    return {"protocol.replica.Replica._caught_up": settle}


def pages_on_top() -> Patches:
    """A page does not say that something was deleted."""
    paged = Replica._paged

    def skip(self: Replica, page: Any) -> Any:
        objects = [entry for entry in page.objects if entry.deleted is not True]
        return paged(self, msgspec.structs.replace(page, objects=objects))

    return {"protocol.replica.Replica._paged": skip}


def _mutant(plant: Callable[[], Patches], harm: str) -> Mutant:
    return Mutant(plant.__name__, harm, plant)


DEVICE = (
    _mutant(base_half_way, "An edit made half-way overwrites what its user had not seen (14)."),
    _mutant(half_way_forgotten, "A phone that was killed half-way keeps old values (1)."),
    _mutant(folds_into_a_push, "What was typed while a push was under way is lost (10)."),
    _mutant(folds_a_delete_of_what_is_there, "A delete is undone in silence (10)."),
    _mutant(sent_before_it_is_stored, "A phone that is killed gives one push id twice."),
    _mutant(received_before_it_is_stored, "A phone that is killed misses what it confirmed."),
    _mutant(received_half_way, "An edit that lost disappears in silence (16)."),
    _mutant(reset_takes_the_edits, "A phone that was away for long loses what was edited on it."),
    _mutant(reset_keeps_the_objects, "What was deleted comes back on a phone that was away (5)."),
    _mutant(time_goes_back, "An edit of today loses to one of yesterday."),
    _mutant(counter_not_kept, "A phone that is started again gives one push id twice (3)."),
    _mutant(
        old_socket_heard,
        "What the old line had still to say is applied behind the new `hello`, and again.",
    ),
    _mutant(ready_forgets_what_is_pending, "Edits made before the line dropped are lost."),
    _mutant(pages_on_top, "What was deleted stays on a phone that was away for long."),
)
