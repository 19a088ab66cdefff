"""How long the hub's file keeps what only devices that were away still need (docs/design.md).

The names, types, bounds and texts here are also those of the flags, of the environment and of the
`[retention]` table of the TOML file: see hub/settings.py.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from hub.errors import SettingsError

_MS_PER_DAY: Final = 86_400_000
_LONGEST: Final = 36_500.0
"""Days: a hundred years is for ever."""
_MOST: Final = 10**12


def _days(description: str) -> Meta:
    return Meta(ge=0, le=_LONGEST, description=description, extra={"value": "DAYS"})


def _rows(description: str) -> Meta:
    return Meta(ge=0, le=_MOST, description=description)


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """What the log and the tombstones are kept for.

    Raises:
        SettingsError: two of them contradict each other.

    """

    log_days: Annotated[
        float, _days("How long a push stays in the log; 0: until the devices seen lately have it.")
    ] = 14.0
    log_rows: Annotated[
        int, _rows("Pushes of one user that stay in the log, about; older ones go earlier.")
    ] = 10_000
    held_log_rows: Annotated[
        int,
        _rows("The same, where a device seen lately still needs them; beyond, it gets objects."),
    ] = 100_000
    device_days: Annotated[
        float, _days("How long after a device was last here the log and tombstones wait for it.")
    ] = 30.0
    tombstone_days: Annotated[
        float, _days("How long a deletion is kept for a device that does not say it has heard.")
    ] = 180.0

    def __post_init__(self) -> None:
        if self.held_log_rows < self.log_rows:
            raise SettingsError(
                f"held_log_rows is {self.held_log_rows}, below log_rows, which is "
                f"{self.log_rows}: a device that needs the log would shorten it",
                "raise held_log_rows or lower log_rows",
                "held_log_rows",
                "log_rows",
            )

    @property
    def log_ms(self) -> int:
        """`log_days` in milliseconds."""
        return int(self.log_days * _MS_PER_DAY)

    @property
    def device_ms(self) -> int:
        """`device_days` in milliseconds."""
        return int(self.device_days * _MS_PER_DAY)

    @property
    def tombstone_ms(self) -> int:
        """`tombstone_days` in milliseconds."""
        return int(self.tombstone_days * _MS_PER_DAY)
