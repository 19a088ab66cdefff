"""What the hub answers to a `hello` (docs/protocol.md, section 6)."""

import msgspec

from hub.auth import Grant
from hub.limits import Limits
from hub.store.interface import DeviceStanding
from hub.user import User
from protocol.messages import Half, Hello, Welcome


class Place(msgspec.Struct, frozen=True):
    """Where a device stands: its clock, and where it is in a snapshot, if it is half-way."""

    clock: int
    half: Half | None

    @property
    def deletions(self) -> int:
        """The clock behind which each deletion is still to come.

        Half-way from nothing, one older than the paging was never owed to the device.
        """
        return self.half.head if self.half and self.half.from_ == 0 else self.clock


def place_of(hello: Hello, user: User) -> Place | None:
    """Where the device is in the user's history; None: in another one, so it begins again."""
    nothing_yet = hello.logical_clock == 0 and hello.half is None
    if hello.log_id != user.log_id and not (hello.log_id is None and nothing_yet):
        return None
    known = max(hello.logical_clock, hello.half.head if hello.half else 0)
    place = Place(hello.logical_clock, hello.half)
    if known > user.head or place.deletions < user.line:
        return None
    return place


def welcome(
    hello: Hello,
    user: User,
    standing: DeviceStanding,
    grant: Grant,
    limits: Limits,
    now: int,
    *,
    reset: bool,
) -> Welcome:
    """The answer to a `hello` whose token is good."""
    return Welcome(
        user=user.name,
        device=hello.device,
        log_id=user.log_id,
        logical_clock=user.head,
        last_push_id=standing.last_push_id,
        reset=reset,
        server_time=now,
        expires=grant.expires,
        limits={
            "max_diffs": limits.max_diffs,
            "max_frame_bytes": limits.max_frame_bytes,
            "max_object_bytes": limits.max_object_bytes,
            "max_depth": limits.max_depth,
        },
    )
