"""Why a connection ends, where whoever finds it out leaves it to its session to say so."""

from protocol.closing import Closing


class Refusal(Exception):
    """The session ends, for a reason of section 8 of docs/protocol.md."""

    def __init__(self, reason: Closing, message: str, push_id: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.push_id = push_id
