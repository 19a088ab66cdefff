"""What can go wrong on the hub's side, by whose fault it is."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

Doubt: TypeAlias = Literal[
    "malformed",
    "not_proved",
    "unknown_key",
    "issuer_away",
    "issuer",
    "audience",
    "not_yet",
    "expired",
    "other_device",
    "other_user",
    "revoked",
    "operator",
]
"""Why a token does not count, for the hub's own account."""
HandshakeFault: TypeAlias = Literal[
    "path",
    "origin",
    "not_upgraded",
    "subprotocol",
    "malformed",
    "too_large",
    "too_slow",
    "crowded",
    "tls",
]
"""Why a connection does not become a WebSocket, likewise."""


class HubError(Exception):
    """The hub cannot do what it was asked. Each subclass says whose fault it is and what to do."""


class SettingsError(HubError):
    """The operator's fault: a setting that cannot be. Mend it and start the hub again.

    `problem` says what is wrong, `remedy` how to mend it, `settings` which ones are concerned (by
    their names in hub/settings.py), and `places`, once known, where each of these was set.
    """

    def __init__(self, problem: str, remedy: str, *settings: str) -> None:
        super().__init__(problem, remedy, *settings)
        self.problem = problem
        self.remedy = remedy
        self.settings = settings
        self.places: dict[str, str] = {}

    def place(self, places: Mapping[str, str]) -> None:
        """Note where the settings concerned were set; one that is missing has its default."""
        self.places = {name: places.get(name, "the default") for name in self.settings}

    def __str__(self) -> str:
        where = "; ".join(f"{name}: {place}" for name, place in self.places.items())
        return f"{self.problem}{f' ({where})' if where else ''}. To mend it, {self.remedy}."


class Unauthorized(HubError):
    """The device's fault, or its application's: a token that does not count. Bring another.

    The message may be told to the device: it never contains the token.
    """

    def __init__(self, message: str, doubt: Doubt = "malformed") -> None:
        super().__init__(message)
        self.doubt = doubt
