"""The frames of the load as byte templates, and what is looked for in the answers.

A push is one diff: first each object is created, then updated again and again. Only the push id,
the diff's id, the base, the timestamp and the value change from push to push; the value is the
time at which the push was due, which a listener reads from the change to know how long it took.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

SMALLEST: Final = 64
"""Bytes of the smallest change that can be asked for."""

_FRAME: Final = (
    '{{"type":"push","push_id":%d,"diffs":[{{"id":"{user}-%d","logical_clock":%d,'
    '"utc_timestamp":%d,"type":"{type}","model":"notes","json_data":{change}}}]}}'
)
_CHANGE: Final = '{{"id":"{object}","sent":"%020d","text":"{text}"{more}}}'
_TITLE: Final = ',"title":"made by the load, never changed"'

_CLOCK: Final = re.compile(rb'"logical_clock":(\d+)')
_PUSH_ID: Final = re.compile(rb'"push_id":(\d+)')
_SENT: Final = re.compile(rb'"sent":"(\d{20})"')


class Templates(NamedTuple):
    """Of each object, the frame that creates it and the one that updates it.

    Each takes (push id, push id, base, timestamp in ms, time due in ns).
    """

    creates: Sequence[bytes]
    updates: Sequence[bytes]


def templates(user: str, objects: int, size: int) -> Templates:
    """Return the templates of one user, whose changes are `size` bytes of JSON each."""
    names = [f"o{number:04}" for number in range(objects)]
    creates = [_template(user, "create", name, size, _TITLE) for name in names]
    updates = [_template(user, "update", name, size) for name in names]
    return Templates(creates, updates)


def _template(user: str, kind: str, name: str, size: int, more: str = "") -> bytes:
    bare = _CHANGE.format(object=name, text="", more="") % 0
    change = _CHANGE.format(object=name, text="x" * (size - len(bare)), more=more)
    return _FRAME.format(user=user, type=kind, change=change).encode()


class Ack(NamedTuple):
    """What is read of an `ack`."""

    push_id: int
    clock: int


class Heard(NamedTuple):
    """What is read of a `changes`: its clock, and when its push was due (ns)."""

    clock: int
    sent: int


def read_ack(payload: bytes) -> Ack | None:
    """Read an ack of a push that was stored as sent; None if it is anything else.

    An ack with `diffs`, `lost` or `rejected` has a list in it; no push of the load earns one.
    """
    if not payload.startswith(b'{"type":"ack"') or b"[" in payload:
        return None
    push_id, clock = _PUSH_ID.search(payload), _CLOCK.search(payload)
    return Ack(int(push_id[1]), int(clock[1])) if push_id and clock else None


def read_changes(payload: bytes) -> Heard | None:
    """Read the changes of one push of the load; None if it is anything else."""
    if not payload.startswith(b'{"type":"changes"'):
        return None
    clock, sent = _CLOCK.search(payload), _SENT.search(payload)
    return Heard(int(clock[1]), int(sent[1])) if clock and sent else None
