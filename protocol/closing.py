"""Why a connection ends, and whether the device comes back (docs/protocol.md, section 8)."""

from enum import Enum
from typing import Final, NamedTuple


class Comeback(Enum):
    """What a device does after its connection was closed."""

    SOON = "soon"
    LATER = "later and later"
    WITH_TOKEN = "with a fresh token"  # noqa: S105 - words, not a secret
    WITHOUT_THE_PUSH = "with the push that broke it set aside"
    NEVER = "not by itself"


class Closing(NamedTuple):
    """One row of section 8: `code` closes the WebSocket, `error` names it in the last frame."""

    code: int
    error: str | None
    comeback: Comeback


GOING_AWAY: Final = Closing(1001, "shutting_down", Comeback.SOON)
SHUTTING_DOWN: Final = Closing(1012, "shutting_down", Comeback.SOON)
TOO_BIG: Final = Closing(1009, None, Comeback.WITHOUT_THE_PUSH)
SERVER_BUSY: Final = Closing(1013, "server_busy", Comeback.LATER)
BAD_MESSAGE: Final = Closing(4400, "bad_message", Comeback.WITHOUT_THE_PUSH)
UNAUTHORIZED: Final = Closing(4401, "unauthorized", Comeback.WITH_TOKEN)
FORBIDDEN: Final = Closing(4403, "forbidden", Comeback.NEVER)
TIMEOUT: Final = Closing(4408, "timeout", Comeback.SOON)
REPLACED: Final = Closing(4409, "replaced", Comeback.NEVER)
TOO_MANY_REQUESTS: Final = Closing(4429, "too_many_requests", Comeback.LATER)

CLOSINGS: Final = {
    closing.code: closing
    for closing in (
        GOING_AWAY,
        SHUTTING_DOWN,
        TOO_BIG,
        SERVER_BUSY,
        BAD_MESSAGE,
        UNAUTHORIZED,
        FORBIDDEN,
        TIMEOUT,
        REPLACED,
        TOO_MANY_REQUESTS,
    )
}


def comeback(code: int | None) -> Comeback:
    """Whether a device comes back after `code`; None and unknown codes: the line broke."""
    closing = CLOSINGS.get(code) if code is not None else None
    return closing.comeback if closing else Comeback.LATER
