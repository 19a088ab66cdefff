"""What the hub's clock shows, reckoned on a device (docs/protocol.md, section 1, timestamp).

All in milliseconds. `skew` is what the hub's clock shows beyond the device's own. It is measured
with each `server_time`, and what lies between the question and the answer bounds the error.
"""

from collections.abc import Sequence
from typing import Final

LATEST: Final = 253_402_300_799_999
"""The end of the year 9999: what lies behind it is no date, and nothing is stamped by it."""
FAR_AHEAD: Final = 3_600_000
"""So far ahead of the hub's time no timestamp gets by rising; the hub's own clock was wrong."""
WORTH_CORRECTING: Final = 1_000
"""Below this, edits that wait are not stamped anew: nobody tells who was first within a second."""


def is_date(server_time: int) -> bool:
    """Whether a hub's time can be one at all; if not, the device goes by what it knew before."""
    return 0 <= server_time <= LATEST


def skew_of(known: int, server_time: int, now: int, trip: int) -> int:
    """The skew after a `server_time` that was read at most `trip` before `now`.

    The hub read its clock somewhere between the question and the answer, so the truth lies in an
    interval as long as the trip. A `known` skew within it is kept: a slow answer spoils no good
    one. Else it is the middle, half the trip after the hub has read its clock.
    """
    least = server_time - now
    return known if least <= known <= least + trip else least + trip // 2


def stamped(now: int, last: int) -> int:
    """The timestamp of an edit that is made at the hub's time `now`, behind the `last` one."""
    return max(min(now, LATEST), last + 1)


def restamped(timestamps: Sequence[int], by: int, floor: int, now: int) -> list[int]:
    """Rising timestamps of edits, moved by so much: above `floor`, rising, and none after `now`.

    Where they do not all fit between the two, `floor` and rising count more.
    """
    moved = []
    for still_to_come, timestamp in zip(reversed(range(len(timestamps))), timestamps, strict=True):
        floor = stamped(min(timestamp + by, now - still_to_come), floor)
        moved.append(floor)
    return moved
