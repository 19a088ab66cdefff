"""What one device, one user and all of them together may cost the hub.

The defaults protect a small machine that anybody can reach (docs/protocol.md, section 2). The
names, types, bounds and texts here are also those of the flags, of the environment and of the
`[limits]` table of the TOML file: see hub/settings.py.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from hub.errors import SettingsError
from protocol.diffs import MAX_DEPTH, MAX_INTEGER, MAX_OBJECT_BYTES

_DAY: Final = 86_400.0
_DEEPEST: Final = 200
"""Each level of JSON costs the check three frames of Python's stack, which holds a thousand."""


def _count(description: str, most: int = MAX_INTEGER) -> Meta:
    return Meta(ge=1, le=most, description=description)


def _seconds(description: str) -> Meta:
    return Meta(gt=0, le=_DAY, description=description)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of everything; bytes in bytes, waits in seconds.

    Raises:
        SettingsError: a limit is not above 0, or two of them contradict each other.

    """

    max_diffs: Annotated[int, _count("Diffs in one push.")] = 1_000
    max_frame_bytes: Annotated[int, _count("Bytes of one frame from a device.")] = 1024 * 1024
    max_object_bytes: Annotated[
        int, _count("Bytes of one object as JSON; a diff that would make it larger is rejected.")
    ] = MAX_OBJECT_BYTES
    max_depth: Annotated[int, _count("Levels of nesting in an object's JSON.", _DEEPEST)] = (
        MAX_DEPTH
    )
    max_body_bytes: Annotated[int, _count("Bytes of the body of one POST /sync.")] = 8 * 1024 * 1024
    max_connections: Annotated[int, _count("Connections in all.")] = 10_000
    max_ungreeted: Annotated[int, _count("Connections that have not yet said hello.")] = 2_000
    max_per_address: Annotated[int, _count("Connections from one address.")] = 1_000
    max_ungreeted_per_address: Annotated[
        int, _count("Connections from one address that have not yet said hello.")
    ] = 200
    max_devices_per_user: Annotated[int, _count("Connections of one user.")] = 100
    max_known_devices: Annotated[
        int, _count("Devices of one user that were here in the last `device_days`.")
    ] = 1_000
    max_objects_per_user: Annotated[
        int, _count("Objects of one user; a diff that would make one more is rejected.")
    ] = 1_000_000
    max_bytes_per_user: Annotated[
        int, _count("Bytes of one user's objects as JSON; a diff that would add some is rejected.")
    ] = 1024**3
    max_pushes_under_way: Annotated[
        int, _count("Pushes of one connection that wait to be stored; more are not read.")
    ] = 64
    send_buffer_bytes: Annotated[
        int, _count("Bytes kept for a device that reads slowly; beyond, it goes back to the log.")
    ] = 256 * 1024
    max_log_pushes: Annotated[
        int, _count("Pushes a device may have missed and still get one by one; else objects.")
    ] = 1_000
    hello_seconds: Annotated[float, _seconds("Time for a new connection to say hello.")] = 10.0
    stall_seconds: Annotated[
        float, _seconds("Time after which a device that takes nothing at all is cut off.")
    ] = 60.0
    ping_seconds: Annotated[float, _seconds("Time between two pings to a quiet device.")] = 20.0
    ping_timeout_seconds: Annotated[
        float, _seconds("Time without an answer to a ping after which a device is given up.")
    ] = 60.0
    max_clock_ahead_seconds: Annotated[
        float,
        _seconds("How far ahead of the hub's clock an edit's time may count; later is clipped."),
    ] = 60.0
    stop_seconds: Annotated[
        float, _seconds("Time to stop in good order; what is left then is cut off.")
    ] = 10.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            self._check_positive(name)
        self._check_holds("max_frame_bytes", "a push")
        self._check_holds("max_body_bytes", "POST /sync")
        self._check_pings()

    def _check_positive(self, name: str) -> None:
        value = getattr(self, name)
        if not value > 0:
            raise SettingsError(f"{name} is {value}", "give a number above 0", name)

    def _check_holds(self, carrier: str, way: str) -> None:
        room = getattr(self, carrier)
        if self.max_object_bytes > room:
            raise SettingsError(
                f"max_object_bytes is {self.max_object_bytes}, above {carrier}, which is {room}: "
                f"an object of that size could never arrive by {way}",
                f"raise {carrier} or lower max_object_bytes",
                "max_object_bytes",
                carrier,
            )

    def _check_pings(self) -> None:
        if self.ping_timeout_seconds < self.ping_seconds:
            raise SettingsError(
                f"ping_timeout_seconds is {self.ping_timeout_seconds}, below ping_seconds, which "
                f"is {self.ping_seconds}: a device would be given up before it was asked",
                "raise ping_timeout_seconds or lower ping_seconds",
                "ping_timeout_seconds",
                "ping_seconds",
            )
