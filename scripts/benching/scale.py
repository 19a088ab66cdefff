"""How much is measured: the quick form, the full form, and either of them made smaller."""

from typing import Any, Final

import msgspec


class Scale(msgspec.Struct, frozen=True):
    """The sizes of all measures; times in seconds."""

    rounds: int
    heavy_rounds: int
    seconds: float
    latency_seconds: float
    sustained_seconds: float
    histories: tuple[int, ...]
    catchup_pushes: int
    objects: int
    idle_devices: int
    edits: int
    edited_objects: int
    storm_devices: int
    device_edits: int

    def shrunk(self, share: float) -> "Scale":
        """Return a scale with this share of everything that is counted in pushes or devices."""

        def less(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(sorted({less(each) for each in value}))
            return max(_LEAST, int(value * share))

        counted = {name: less(getattr(self, name)) for name in _COUNTED}
        return msgspec.structs.replace(self, **counted)

    def timed(self, seconds: float) -> "Scale":
        """Return a scale of which every window under load is so long."""
        return msgspec.structs.replace(
            self, seconds=seconds, latency_seconds=seconds, sustained_seconds=seconds
        )


_LEAST: Final = 20
_COUNTED: Final = (
    "histories",
    "catchup_pushes",
    "objects",
    "idle_devices",
    "edits",
    "edited_objects",
    "storm_devices",
    "device_edits",
)

QUICK: Final = Scale(
    rounds=3,
    heavy_rounds=1,
    seconds=1.5,
    latency_seconds=2.0,
    sustained_seconds=5.0,
    histories=(100, 1_000, 20_000),
    catchup_pushes=10_000,
    objects=20_000,
    idle_devices=1_000,
    edits=20_000,
    edited_objects=200,
    storm_devices=500,
    device_edits=10_000,
)
"""At most two minutes in all."""

FULL: Final = Scale(
    rounds=5,
    heavy_rounds=5,
    seconds=5.0,
    latency_seconds=20.0,
    sustained_seconds=120.0,
    histories=(100, 1_000, 10_000, 100_000, 1_000_000),
    catchup_pushes=10_000,
    objects=100_000,
    idle_devices=5_000,
    edits=100_000,
    edited_objects=1_000,
    storm_devices=5_000,
    device_edits=10_000,
)
"""The sizes that the goals are about."""
