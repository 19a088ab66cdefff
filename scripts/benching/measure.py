"""What a measure is: one question about the servers, its figures, and the goals they have."""

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final, Literal, TypeAlias

import msgspec

from scripts.benching.scale import Scale
from scripts.loading.servers import Cores, Server, command

Figures: TypeAlias = dict[str, float]
"""What one round measured, by name. `LOAD_CPU` is among them where the load could be the limit."""

LOAD_CPU: Final = "load_cpu"
"""The share of its core that the load generator used."""

SERVER_CPU: Final = "server_cpu_share"
"""The share of its core that a server in a closed loop used, which leaves it no reason to rest."""

RELAY: Final = "relay"
AFTERNOON: Final = "afternoon"
HUB: Final = "hub"
TARGETS: Final = (RELAY, AFTERNOON, HUB)


Weight: TypeAlias = Literal["light", "heavy", "once"]
"""How often a measure is taken: heavy ones once in the quick form; some once in any form, for one
round takes long, or rounds would not differ."""


class Goal(msgspec.Struct, frozen=True):
    """How large a figure of the hub must be, at least or at most.

    By itself (`value`), as a share of the relay's (`ratio`), or in what it is above the relay's
    (`difference`).
    """

    of: Literal["value", "ratio", "difference"]
    side: Literal["at least", "at most"]
    bound: float

    def holds(self, value: float) -> bool:
        """Whether a value meets the goal."""
        return value >= self.bound if self.side == "at least" else value <= self.bound


class Row(msgspec.Struct, frozen=True):
    """A line of the table: a figure in words, its unit, and its goal if it has one."""

    what: str
    figure: str
    unit: str
    goal: Goal | None = None


class Site(msgspec.Struct, frozen=True):
    """Where and how large a measure is taken; its servers have their data in `folder`."""

    folder: Path
    scale: Scale
    cores: Cores | None


class Measure(abc.ABC):
    """One question."""

    name: ClassVar[str]
    title: ClassVar[str]
    targets: ClassVar[Sequence[str]] = (HUB,)
    rows: ClassVar[Sequence[Row]]
    weight: ClassVar[Weight] = "light"

    def rounds(self, scale: Scale) -> int:
        """Return how many rounds are taken of each target."""
        return {"light": scale.rounds, "heavy": scale.heavy_rounds, "once": 1}[self.weight]

    async def prepare(self, site: Site) -> None:  # noqa: B027 - most have nothing to prepare
        """Lay out what the servers will find."""

    def command(self, target: str, site: Site) -> list[str]:
        """Return the command line that starts a target."""
        return command(target, site.folder)

    @abc.abstractmethod
    async def run(self, server: Server, site: Site) -> Figures:
        """Measure once.

        Raises:
            LoadError: the server did something wrong; says what.

        """
