"""What the hub answers to a `hello` (docs/protocol.md, section 6)."""

import msgspec

from hub.auth import Grant
from hub.limits import Limits
from hub.store.interface import DeviceStanding
from hub.user import User
from protocol.diffs import is_log_id
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
    if not (_is_new(hello) or _is_in_line(hello, user)):
        return None
    place = Place(hello.logical_clock, hello.half)
    if _seen(hello) > user.head or place.deletions < user.line:
        return None
    return place


def is_of_a_lost_line(hello: Hello, user: User) -> bool:
    """Whether the device has seen what this file has not, under the name of its history.

    So somebody put the file back to an older copy: it and the device share a name, and no more
    the pushes behind some clock.
    """
    return (
        hello.log_id == user.history.log_id
        and hello.epoch is not None
        and not user.epochs.is_forgotten(hello.epoch)
        and not _was_level(hello, hello.epoch, user)
    )


def may_be_of_a_lost_branch(hello: Hello, user: User) -> bool:
    """Whether the device's history may carry this one on, though this file has never heard of it.

    So it is if a copy was put back by hand from before the hub was restored. The device knows where
    its history left this one; it finds the way if this one is told by its name, as one that ended.
    """
    history = user.history
    is_unknown = hello.log_id is not None and hello.log_id != history.log_id
    return is_unknown and hello.epoch is not None and not history.continues and user.head > 0


def lost_history(hello: Hello, user: User) -> str | None:
    """The device's history, if the copy is from before the user and had nothing of it."""
    name = hello.log_id
    if name is None or hello.epoch is None or name in _names(user) or not is_log_id(name):
        return None
    return name if user.history.has_lost_all else None


def shared_with(hello: Hello, user: User) -> int | None:
    """Up to which clock a device's line and this one are the same, as far as its epochs say.

    They were at least until the newest epoch that both know ended here. None: they know none.
    """
    named = (hello.epoch, *hello.earlier) if hello.epoch is not None else hello.earlier
    ends = (user.epochs.end(name, user.head) for name in named)
    return next((end for end in ends if end is not None), None)


def _is_new(hello: Hello) -> bool:
    return hello.log_id is None and hello.logical_clock == 0 and hello.half is None


def _is_in_line(hello: Hello, user: User) -> bool:
    """Whether all that the device has is a part of the user's history, by whichever name."""
    if hello.epoch is None:
        return hello.log_id == user.history.log_id
    return hello.log_id in _names(user) and _was_level(hello, hello.epoch, user)


def _names(user: User) -> tuple[str, ...]:
    """What the user's history is called, and was called before."""
    history = user.history
    return (history.log_id, *(each.log_id for each in history.continues))


def _was_level(hello: Hello, epoch: str, user: User) -> bool:
    """Whether the user had come as far as the device has, when that epoch ended."""
    end = user.epochs.end(epoch, user.head)
    return end is not None and _seen(hello) <= end


def _seen(hello: Hello) -> int:
    """Up to which clock it has seen its history; a page may have ended in the middle of a push."""
    half = hello.half
    return max(hello.logical_clock, half.head, half.seen) if half else hello.logical_clock


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
        log_id=user.history.log_id,
        logical_clock=user.head,
        last_push_id=standing.last_push_id,
        reset=reset,
        server_time=now,
        expires=grant.expires,
        limits=_told(limits),
        epoch=user.epochs.starts.current,
        continues=user.history.as_told_to(
            hello.log_id, _most_shared(hello, user), is_in_line=_is_in_line(hello, user)
        ),
        refill=user.refill and not grant.read_only,
    )


def _told(limits: Limits) -> dict[str, int]:
    """The limits that a device keeps to."""
    return {
        "max_diffs": limits.max_diffs,
        "max_frame_bytes": limits.max_frame_bytes,
        "max_object_bytes": limits.max_object_bytes,
        "max_depth": limits.max_depth,
    }


def _most_shared(hello: Hello, user: User) -> int:
    """How far a history that the user's carries on may be the device's, too."""
    shared = shared_with(hello, user)
    return user.head if shared is None else shared
