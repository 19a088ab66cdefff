"""What can go wrong between a device and the hub, by whose fault it is."""

import re
from typing import Final

_VALUE: Final = re.compile(r"^(Invalid (?:enum )?value) '.*'(?= - at `|$)", re.DOTALL)
"""How msgspec begins where a word is not one of those that there are."""


class ProtocolError(Exception):
    """One side did not keep to docs/protocol.md. Each subclass says which, and what to do."""


class BadMessage(ProtocolError):
    """The sender's fault: a frame that is no message. The hub closes with 4400 (section 8).

    `push_id` names the push that the frame was about, where that can still be told.
    """

    def __init__(self, message: str, push_id: int | None = None) -> None:
        super().__init__(message)
        self.push_id = push_id


class InvalidDiff(ProtocolError):
    """The application's fault: an edit that is not well formed (section 3).

    A device raises it when the edit is made; the hub rejects the diff `invalid_diff`.
    """


class HistoryGap(ProtocolError):
    """The hub's fault: a clock was left out or came out of order. Connect again to be level."""


class NotRefilled(ProtocolError):
    """The device's fault: an offer (section 10) that the hub cannot take. It is rejected `code`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def flaw(error: Exception) -> str:
    """What was wrong with what somebody sent, and where, but not what it was.

    It is logged, and what was sent may be a token, or somebody's diary.
    """
    return _VALUE.sub(r"\1", str(error))
