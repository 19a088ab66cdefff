"""All planted bugs, and in which seed each is found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tests.simulation.mutants.device import DEVICE
from tests.simulation.mutants.found import FOUND_IN
from tests.simulation.mutants.hub import HUB
from tests.simulation.mutants.mutant import Mutant
from tests.simulation.mutants.refill import REFILL
from tests.simulation.mutants.store import STORE
from tests.simulation.simulation import simulate

MUTANTS: tuple[Mutant, ...] = (*HUB, *STORE, *DEVICE, *REFILL)


class Find(NamedTuple):
    """The seed in which a bug was found, how many were tried, and what was found wrong."""

    seed: int
    tried: int
    words: str


def hunt(mutant: Mutant, seeds: Iterable[int]) -> Find | None:
    """Live through these seeds until one shows the bug; None if none does."""
    for tried, seed in enumerate(seeds, 1):
        try:
            with mutant.planted():
                simulate(seed)
        except (AssertionError, TimeoutError) as error:
            words = (str(error).splitlines() or [""])[0]
            return Find(seed, tried, words or type(error).__name__)
    return None


def likely_first(mutant: Mutant, most: int) -> list[int]:
    """So many seeds, the one in which it was found last time before all others."""
    likely = FOUND_IN.get(mutant.name)
    others = (seed for seed in range(most) if seed != likely)
    return [*([] if likely is None else [likely]), *others][:most]
