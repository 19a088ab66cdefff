"""The simulation can tell: each bug that is planted in the product is found within a few seeds."""

import pytest

from tests.simulation.mutants.found import ELUSIVE, FOUND_IN
from tests.simulation.mutants.mutant import Mutant
from tests.simulation.mutants.table import MUTANTS, hunt, likely_first

MOST_SEEDS = 40
FINDABLE = [mutant for mutant in MUTANTS if mutant.name not in ELUSIVE]
EACH = 5
"""In the normal run it is each so-manieth that is planted; by night it is all of them."""


CASES = [
    pytest.param(mutant, id=mutant.name, marks=pytest.mark.nightly if number % EACH else ())
    for number, mutant in enumerate(FINDABLE)
]


@pytest.mark.parametrize("mutant", CASES)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    find = hunt(mutant, likely_first(mutant, MOST_SEEDS))
    assert find is not None, f"not found in {MOST_SEEDS} seeds: {mutant.harm}"
    print(f"{mutant.name}: seed {find.seed} after {find.tried}: {find.words}")


def test_each_planted_bug_has_a_name_and_a_harm_of_its_own() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names)
    assert len(FINDABLE) >= 16
    assert set(names) >= ELUSIVE.keys() | FOUND_IN.keys()
    assert all(mutant.harm.endswith(".") for mutant in MUTANTS)
