"""Which web pages may talk to the hub, by their origin (RFC 6454); on both ports it is the same.

A browser says in `Origin` which page asks, and lets no page say otherwise. Who is no browser names
none, and needs none: it is the token that says who somebody is.
"""

import re
from collections.abc import Sequence
from typing import Final, TypeAlias

from hub.errors import SettingsError

Pages: TypeAlias = Sequence[str | re.Pattern[str]] | None
"""Origins of pages that may talk to the hub; None: any."""

OF_THIS_MACHINE: Final = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")
"""Pages that are served by whoever sits here, and not by a site that they happen to look at."""

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+")
_LONGEST_SHOWN: Final = 80


def pages_of(origins: Sequence[str], *, dev: bool) -> Pages:
    """Which pages may talk to a hub with these settings.

    Where a token is but a user's name, any page in the browser of whoever tries the hub could be
    that user: so only those of this machine may.
    """
    if origins:
        return tuple(origins)
    return (OF_THIS_MACHINE,) if dev else None


def may_talk(pages: Pages, origin: str | None) -> bool:
    """Whether a peer may that names this origin; None: it names none, and is no page."""
    if pages is None or origin is None:
        return True
    return any(
        page == origin if isinstance(page, str) else page.fullmatch(origin) is not None
        for page in pages
    )


def check_origin(origin: str) -> None:
    """Refuse an origin with a path or a last slash: it would never equal what a browser sends.

    Raises:
        SettingsError: it is no origin.

    """
    if not _ORIGIN.fullmatch(origin):
        raise SettingsError(
            f"origins has {origin[:_LONGEST_SHOWN]!r}, which no browser would send",
            "give scheme, host and port only, as in https://app.example.com",
            "origins",
        )
