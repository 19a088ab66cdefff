"""A disconnect at every step of the hub's way with a push, a hello and a catch-up."""

import tempfile
from pathlib import Path

import pytest

from tests.folders import IN_MEMORY
from tests.simulation.walk import Walk, Way

MOST_STEPS = 500
"""The sweep makes a step each second of the five that a walk takes, and the store folds."""


def walk(way: Way, steps: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="walk-", dir=IN_MEMORY) as folder:
        one = Walk(way, steps, Path(folder))
        try:
            one.run()
        except BaseException as error:
            error.add_note(f"the line broke at step {steps} of a {way}")
            raise
        return one.broke


@pytest.mark.parametrize(("way", "least"), [("push", 10), ("hello", 10), ("catch-up", 20)])
def test_wherever_the_line_breaks_nothing_is_lost_and_nobody_waits(way: Way, least: int) -> None:
    steps = 1
    while walk(way, steps):
        steps += 1
        assert steps < MOST_STEPS, "the way has no end"
    assert steps > least, "the line hardly ever broke"
