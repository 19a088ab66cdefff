"""What the hub's process asks of its interpreter and of the system, once, before it serves."""

import contextlib
import gc
import os
import resource
import sys
import threading
from typing import Final

import structlog

SWITCH_SECONDS: Final = 0.002
"""How long one thread computes while another waits: a few frames' worth."""
NICER: Final = 8
"""Steps of nice(2). With another program busy on the same core those who push waited a quarter
longer for it, and at 10 steps twice as long."""
SPARE_FILES: Final = 100
"""Files open beside the connections: the data, the logs, and those of HTTP."""

logger: Final = structlog.get_logger("hub")


def spare_the_collector() -> None:
    """Let the cycle collector look seldom, and not at what is there from the start.

    A push makes hundreds of objects and no cycle: counting frees them all. Looking for cycles among
    what all users and devices hold takes long, and everybody waits meanwhile.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


def keep_files_private() -> None:
    """Have files that this process makes readable to nobody but its own user."""
    os.umask(0o077)


def let_sockets_go_first() -> None:
    """Have the store's threads hand over soon: by default they compute for 5 ms on end.

    So long a frame would wait that came while a page is read or a group decided.
    """
    sys.setswitchinterval(SWITCH_SECONDS)


def step_back() -> None:
    """Have this thread, if it is not the main one, let the others of this process go first.

    Where there is one core, who reads a page of objects would have whoever pushes wait for the end
    of his turn. Not by more than this: while he holds the interpreter's lock, they wait for him,
    and he for all other programs of the machine.
    """
    if sys.platform != "linux" or threading.current_thread() is threading.main_thread():
        return
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):  # a sandbox that forbids it: it is a matter of milliseconds
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICER)


def allow_files(connections: int) -> None:
    """Allow as many open files as this many connections need, or as many as the system lets us."""
    wanted = connections + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        logger.warning(
            "too few files allowed",
            allowed=allowed,
            wanted=wanted,
            remedy="raise the limit of open files (ulimit -n, LimitNOFILE), or lower "
            "max_connections",
        )
