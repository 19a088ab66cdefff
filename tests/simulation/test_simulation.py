"""Whole worlds, each of one seed: whatever befalls them, after a calm all agree."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.simulation import Told, simulate

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 200
AT_ONCE = 20
FOUND = (23, 399, 536, 1222, 1768, 3903, 4499, 5097, 5506, 8287, 8493)
"""Seeds that once failed, of the product or of the account of it: each is always run."""
HASHED_ANEW = (
    "import logging, structlog; logging.disable(50); "
    "structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50)); "
    "from tests.simulation.simulation import simulate; print(simulate({seed}).trace)"
)


def live_through(seed: int) -> Told:
    try:
        return simulate(seed)
    except BaseException as error:
        error.add_note(f"replay it with: scripts/simulate --seed {seed}")
        raise


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_after_a_calm_all_agree_and_nothing_acked_is_missing(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        live_through(seed)


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_once_is_not_found_again(seed: int) -> None:
    live_through(seed)


@pytest.mark.parametrize("seed", [1, 4])
def test_a_seed_is_one_world_in_any_process(seed: int) -> None:
    traces = {simulate(seed).trace}
    for hash_seed in ("0", "4711"):
        traces.add(
            subprocess.run(
                [sys.executable, "-c", HASHED_ANEW.format(seed=seed)],
                env={**os.environ, "PYTHONHASHSEED": hash_seed},
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
        )
    assert len(traces) == 1


def test_two_seeds_are_two_worlds() -> None:
    assert simulate(1).trace != simulate(2).trace
