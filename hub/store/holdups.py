"""Where a commit waits for the disk: on the loop's own thread while the disk is swift.

To hand a commit to the store's thread and to take it up again costs as much processor time as to
send it to ten devices, and while it lasts the loop has little to do: those who push wait for it.
So where the disk takes a tenth of a millisecond, nothing is gained by handing over.

Invariant: what the disk makes the loop wait beyond `SHORT_SECONDS` is paid back by `PAID_BACK`
times as long in which all commits go to the thread. So a slow disk holds the sockets up for one
part in `PAID_BACK` of the time, and one that hangs for no longer than it hangs, once.
"""

from collections.abc import Callable, Sequence
from time import monotonic, thread_time
from typing import Final, TypeVar

from hub.store.interface import Incoming

T = TypeVar("T")
SHORT_SECONDS: Final = 0.0005
"""What the loop may wait for the disk at each commit."""
PAID_BACK: Final = 20
TRIAL_SECONDS: Final = 10.0
"""How long a store knows nothing of its disk, from its start on."""
MOST_DIFFS: Final = 128
"""In a group that is decided on the loop: about a millisecond's worth."""


class HoldUps:
    """Waits while the disk is swift, as the invariant above says; times in seconds.

    With an endless `trial` all work goes to the thread.
    """

    def __init__(self, trial: float = TRIAL_SECONDS, paid_back: float = PAID_BACK) -> None:
        self._paid_back = paid_back
        self._from = monotonic() + trial

    @property
    def may_wait(self) -> bool:
        """Whether all is paid back."""
        return monotonic() >= self._from

    def run(self, work: Callable[[], T]) -> T:
        """Run a piece of work; what it did not compute it was held up."""
        began, computed = monotonic(), thread_time()
        try:
            return work()
        finally:
            now = monotonic()
            waited = now - began - (thread_time() - computed)
            self._from = now + self._paid_back * max(waited - SHORT_SECONDS, 0.0)


def is_short(group: Sequence[Incoming]) -> bool:
    """Whether a group is decided in about a millisecond.

    A push that is sent again, or polled, is compared with what may be much of the log.
    """
    if any(each.again or each.polled for each in group):
        return False
    return sum([len(each.diffs) for each in group]) <= MOST_DIFFS
