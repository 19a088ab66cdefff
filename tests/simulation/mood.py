"""What one world is like: how small things are, how long they are kept, what befalls it how often.

Each seed has a part of all dangers only, each at a strength of its own (swarm testing: Groce et
al., 2012). A world in which everything happens at once hardly ever comes to where one danger, again
and again, would do harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hub.retention import Retention
from tests.simulation.dangers import DANGERS, TORMENT, Danger
from tests.simulation.torment import COURSES, Course

if TYPE_CHECKING:
    from random import Random

STRENGTHS = (0.3, 1.0, 3.0)
SHARE_OF_DANGERS = 0.55


class Sizes(NamedTuple):
    """How small everything is made, so that half-ways and fallings behind happen at all."""

    log_pushes: int
    send_buffer: int
    page_bytes: int
    last_step: int
    fold_rows: int
    step_rows: int
    under_way: int


SIZES = (
    Sizes(4, 300, 100, 2, 2, 3, 4),
    Sizes(6, 1_600, 450, 4, 20, 64, 8),
    Sizes(30, 400, 120, 1, 200, 5, 16),
    Sizes(1_000, 500, 150, 3, 8_000, 64, 64),
)

SHARE_OF_WAITING = 0.5
"""Of seeds whose hub waits for its disk on the loop, at each commit that it may."""

KEEPS = (
    Retention(),
    Retention(log_rows=4, held_log_rows=9, log_days=1, device_days=2, tombstone_days=5),
    Retention(log_rows=0, held_log_rows=40, log_days=0, device_days=3, tombstone_days=20),
    Retention(log_rows=30, held_log_rows=30, log_days=2, device_days=1, tombstone_days=1),
)
"""How long the hub keeps what; the first lets nothing go within the days of a world."""


class Mood(NamedTuple):
    """What a seed has of all that."""

    sizes: Sizes
    keeps: Retention
    has_power_cuts: bool
    dangers: tuple[Danger, ...]
    weights: tuple[float, ...]
    courses: tuple[Course, ...]
    waits_for_disk: bool


def mood_of(chance: Random) -> Mood:
    dangers = tuple(d for d in DANGERS if d is TORMENT or chance.random() < SHARE_OF_DANGERS)
    courses = tuple(chance.sample(COURSES, chance.choice((1, 1, 2, len(COURSES)))))
    return Mood(
        sizes=chance.choices(SIZES, (2, 1, 3, 3))[0],
        keeps=chance.choices(KEEPS, (1, 2, 2, 2))[0],
        has_power_cuts=chance.random() < 0.3,
        dangers=dangers,
        weights=tuple(danger.weight * chance.choice(STRENGTHS) for danger in dangers),
        courses=courses,
        waits_for_disk=chance.random() < SHARE_OF_WAITING,
    )
