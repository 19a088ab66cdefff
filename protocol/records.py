"""What a device keeps, as frozen records that any storage can hold (section 7).

A replica never does I/O: it says in `Writes` what has changed, and whoever runs it stores one
`Writes` in one transaction before the next frame goes out. `Saved` is all of it, read back.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from protocol.diffs import Diff, Fields, Key, Place, Was
from protocol.messages import Half


class Known(msgspec.Struct, frozen=True):
    """An object as the hub has it at `clock`; `fields` is None when it is deleted.

    `timestamp` (ms) is that of its last change and `created` the clock at which it was made; 0:
    not known. `was` is the version of an earlier history that it still is.
    """

    clock: int
    fields: Fields | None
    timestamp: int = 0
    created: int = 0
    was: Was | None = None


class Edit(msgspec.Struct, frozen=True):
    """An edit that the hub has not yet confirmed.

    `number` rises with each edit of this device; that of an offer (section 10) is negative. Edits
    of one `batch` go out in one push. `again` marks those that an older copy of the device held and
    may have sent before (section 5).
    """

    number: int
    batch: int
    diff: Diff
    again: bool = False


class CutPush(msgspec.Struct, frozen=True):
    """Edits that have got their push id: never changed again but for their bases at a reset."""

    push_id: int
    edits: tuple[Edit, ...]
    again: bool = False


class RejectedEdit(msgspec.Struct, frozen=True, tag="rejected"):
    """An edit that the hub refused. `diff` is None if this copy of the device never had it."""

    push_id: int
    diff: Diff | None
    code: str
    message: str


class LostFields(msgspec.Struct, frozen=True, tag="lost"):
    """Fields of an edit that lost, each with the clock of the push whose value won."""

    push_id: int
    diff: Diff | None
    fields: Mapping[str, int]


Setback: TypeAlias = RejectedEdit | LostFields
"""What became of an edit that was not wholly kept; the application is shown it and takes it."""


class Position(msgspec.Struct, frozen=True):
    """Where a device is in the history, and the counters that must survive it.

    `counter` is the last push id given, `settled` that up to which every outcome is known, `edits`
    and `setbacks` count those made so far, `timestamp` (ms) is the last given, `skew` (ms) is what
    the hub's clock shows beyond the device's own. Timestamps up to `corrected` (ms) stay as they
    are; later ones were given on trust, and are corrected when the hub's time is heard. `epoch` is
    the hub's start that last said welcome, `earlier` those before it, newest first: in each of them
    all that the device held was a part of the hub's line.
    """

    log_id: str | None = None
    clock: int = 0
    half: Half | None = None
    counter: int = 0
    settled: int = 0
    edits: int = 0
    setbacks: int = 0
    timestamp: int = 0
    skew: int = 0
    corrected: int = 0
    epoch: str | None = None
    earlier: tuple[str, ...] = ()
    offers: int = 0
    continues: tuple[Place, ...] = ()


class Writes(msgspec.Struct):
    """What has to be stored in one transaction; a value of None removes its record.

    Where `forget` is set, all objects go first.
    """

    position: Position
    forget: bool = False
    objects: dict[Key, Known] = msgspec.field(default_factory=dict)
    edits: dict[int, Edit | None] = msgspec.field(default_factory=dict)
    pushes: dict[int, CutPush | None] = msgspec.field(default_factory=dict)
    setbacks: dict[int, Setback | None] = msgspec.field(default_factory=dict)


class Saved(msgspec.Struct, frozen=True):
    """All that a device kept, each sequence in the order of its numbers."""

    position: Position = Position()
    objects: Mapping[Key, Known] = msgspec.field(default_factory=dict)
    edits: Sequence[Edit] = ()
    pushes: Sequence[CutPush] = ()
    setbacks: Mapping[int, Setback] = msgspec.field(default_factory=dict)
