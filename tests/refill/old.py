"""What devices know of a history when it ends: it was one line, so there is one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from protocol.diffs import Object, StoredDiff

if TYPE_CHECKING:
    from protocol.diffs import Diff, Fields
    from protocol.records import Known
    from tests.refill.world import World


class Old:
    """The last version of each task that any device knows, and the edits that are not in it.

    A version is (clock, fields), fields being None where it is deleted.
    """

    def __init__(self, world: World) -> None:
        self.log_id = world.hub.log_id
        self.parted = world.backup.ledger.head
        self.versions: dict[str, tuple[int, Fields | None]] = {}
        for (_, name), held in world.backup.ledger.held.items():
            fields = held.fields if isinstance(held, Object) else None
            self.versions[name] = (held.clock, fields)
        self._effective = {
            diff.id: (stored.clock, diff)
            for stored in world.hub.log
            for diff in msgspec.json.decode(stored.diffs, type=list[StoredDiff])
        }
        for device in world.devices.values():
            if device.at.log_id == self.log_id:
                self._ask(device.storage.objects)
        self.unheard = [edit for edit in _pending(world) if not self._is_in(edit)]

    def version(self, name: str) -> Fields | None:
        """The fields of a task in its last version; None: it was deleted, or never there."""
        return self.versions.get(name, (0, None))[1]

    def _ask(self, objects: dict[tuple[str, str], Known]) -> None:
        for (_, name), known in objects.items():
            if known.clock > max(self.parted, self.versions.get(name, (0, None))[0]):
                self.versions[name] = (known.clock, known.fields)

    def _is_in(self, edit: Diff) -> bool:
        """Whether an edit of which the device had no ack took effect, and a device knows that."""
        clock, stored = self._effective.get(edit.id, (0, None))
        version, _ = self.versions.get(edit.json_data["id"], (0, None))
        return stored is not None and clock <= version and stored.json_data == edit.json_data


def _pending(world: World) -> list[Diff]:
    storages = [device.storage for device in world.devices.values()]
    cut = [edit.diff for s in storages for push in s.pushes.values() for edit in push.edits]
    return [*cut, *(edit.diff for s in storages for edit in s.edits.values())]
