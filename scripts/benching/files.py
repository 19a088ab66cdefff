"""How many files, and so sockets, a process may open."""

import resource
from typing import Final

from scripts.loading.faults import LoadError

_BESIDE: Final = 200
"""Files that a process needs beside its sockets."""


def allow_files(sockets: int) -> None:
    """Raise the soft limit of this process, and of those it starts, to hold so many sockets.

    Raises:
        LoadError: the system does not allow it.

    """
    wanted = sockets + _BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise LoadError(
            f"{sockets} devices need as many open files, and this system allows {hard}; "
            "raise it (ulimit -Hn) or measure fewer (--share)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
