"""Looking for the planted bugs, one after another, each from the first seed on."""

import time
from collections.abc import Mapping
from typing import Final

from rich.console import Console

from tests.simulation.mutants.table import MUTANTS, hunt

_console: Final = Console(stderr=True)


def hunt_all(most: int) -> bool:
    """Say in which seed each is found, with the seconds that took; whether all are."""
    found: dict[str, int] = {}
    missed = []
    for mutant in MUTANTS:
        began = time.monotonic()
        find = hunt(mutant, range(most))
        seconds = time.monotonic() - began
        if find is None:
            missed.append(mutant.name)
            _console.print(f"{mutant.name}: NOT in {most} seeds ({seconds:.1f} s). {mutant.harm}")
        else:
            found[mutant.name] = find.seed
            words = f"{mutant.name}: {find.tried} seeds, {seconds:.1f} s: {find.words}"
            _console.print(words, markup=False)
    _tell(found)
    return not missed


def _tell(found: Mapping[str, int]) -> None:
    """As tests/simulation/mutants/found.py has it."""
    print("FOUND_IN: dict[str, int] = {")
    for name, seed in found.items():
        print(f'    "{name}": {seed},')
    print("}")
