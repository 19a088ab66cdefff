"""Stored pushes as frames. `diffs` are spliced in as they lie in the log."""

from msgspec import UNSET, Raw

from hub.store.interface import Stored
from protocol.messages import Ack, Changes, encode


def changes_frame(stored: Stored) -> bytes:
    """A push as every device but its own hears of it."""
    return encode(Changes(stored.clock, stored.device, Raw(stored.diffs)))


def ack_frame(stored: Stored) -> bytes:
    """A push as its own device hears of it (docs/protocol.md, section 5)."""
    diffs = Raw(stored.diffs) if stored.differs else UNSET
    lost, rejected = tuple(stored.lost), tuple(stored.rejected)
    return encode(Ack(stored.push_id, stored.clock, diffs, lost, rejected))
