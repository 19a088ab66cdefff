"""What a run came to: medians, the hub beside the relay, and which goals were met."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from scripts.benching.measure import HUB, LOAD_CPU, RELAY, SERVER_CPU, Figures, Goal, Measure, Row
from scripts.benching.scale import FULL, Scale
from scripts.loading.figures import median
from scripts.loading.report import BUSY, WORKING

Verdict: TypeAlias = Literal["met", "missed", "not measured"]


class Line(msgspec.Struct, frozen=True):
    """A row with its medians by target.

    `ratio` and `difference` compare the hub with the relay round by round, and are the medians of
    that: a shared machine drifts more from turn to turn than within one.
    """

    what: str
    unit: str
    medians: Mapping[str, float]
    ratio: float | None
    difference: float | None
    goal: Goal | None
    verdict: Verdict | None


class Outcome(msgspec.Struct, frozen=True):
    """All that one measure found. `load_cpu`: the greatest median share of all targets."""

    name: str
    title: str
    lines: Sequence[Line]
    load_cpu: float | None
    medians: Mapping[str, Figures]
    rounds: Mapping[str, Sequence[Figures]]


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured; without `pinned`, servers and load shared all cores."""

    cores: int
    pinned: bool
    system: str
    python: str
    packages: Mapping[str, str]


class Result(msgspec.Struct, frozen=True):
    """A whole run, as it is written to the JSON file."""

    form: str
    scale: Scale
    machine: Machine
    outcomes: Sequence[Outcome]
    notes: Sequence[str]


def outcome_of(measure: Measure, rounds: Mapping[str, Sequence[Figures]]) -> Outcome:
    """Sum up the rounds of one measure."""
    medians = {target: _medians(each) for target, each in rounds.items()}
    shares = [each[LOAD_CPU] for each in medians.values() if LOAD_CPU in each]
    return Outcome(
        name=measure.name,
        title=measure.title,
        lines=[_line(row, rounds, medians) for row in measure.rows],
        load_cpu=max(shares, default=None),
        medians=medians,
        rounds=rounds,
    )


def notes_of(outcomes: Sequence[Outcome], machine: Machine, scale: Scale) -> list[str]:
    """Return what must be known to read the figures."""
    notes = [f"{each.name}: {words}" for each in outcomes for words in _words(each)]
    if not machine.pinned:
        notes.append("servers and load shared all cores: read nothing but the order of magnitude")
    if scale != FULL:
        notes.append("these are not the sizes that the goals are about: --full takes those")
    return notes


def is_busy(share: float | None) -> bool:
    """Whether the load generator, and not the server, may be what was measured."""
    return share is not None and share > BUSY


def _words(outcome: Outcome) -> Iterator[str]:
    for target, figures in outcome.medians.items():
        share = figures.get(LOAD_CPU)
        if is_busy(share):
            yield (
                f"the load generator used {share:.0%} of its core against the {target} and may "
                "have been the limit: the server can do more than is shown"
            )
    used = outcome.medians.get(RELAY, {}).get(SERVER_CPU)
    if used is not None and used < WORKING:
        yield (
            f"the relay had only {used:.0%} of its core, for other work on this machine: a low "
            "ceiling; compare the CPU for a push too"
        )


def _medians(rounds: Sequence[Figures]) -> Figures:
    names = dict.fromkeys(name for each in rounds for name in each)
    found = {name: median([each.get(name) for each in rounds]) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _line(
    row: Row, rounds: Mapping[str, Sequence[Figures]], medians: Mapping[str, Figures]
) -> Line:
    known = {target: each[row.figure] for target, each in medians.items() if row.figure in each}
    ratio = ratio_to_relay(HUB, row.figure, rounds)
    difference = median([hub - relay for hub, relay in _turns(HUB, row.figure, rounds)])
    return Line(
        what=row.what,
        unit=row.unit,
        medians=known,
        ratio=ratio,
        difference=difference,
        goal=row.goal,
        verdict=_verdict(row.goal, known.get(HUB), ratio, difference),
    )


def ratio_to_relay(
    target: str, figure: str, rounds: Mapping[str, Sequence[Figures]]
) -> float | None:
    """Return the median of what a target's figure is of the relay's, round by round."""
    return median([own / relay for own, relay in _turns(target, figure, rounds) if relay])


def _turns(
    target: str, figure: str, rounds: Mapping[str, Sequence[Figures]]
) -> list[tuple[float, float]]:
    """Return the figure of a target and of the relay, of each round in which both have it."""
    both = zip(rounds.get(target, ()), rounds.get(RELAY, ()), strict=False)
    return [(own[figure], relay[figure]) for own, relay in both if {figure} <= own.keys() & relay]


def _verdict(
    goal: Goal | None, value: float | None, ratio: float | None, difference: float | None
) -> Verdict | None:
    if goal is None:
        return None
    judged = {"value": value, "ratio": ratio, "difference": difference}[goal.of]
    if judged is None:
        return "not measured"
    return "met" if goal.holds(judged) else "missed"
