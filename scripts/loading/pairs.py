"""What rounds of two hubs in turn say of the two: a table for people, JSON for programs."""

import statistics
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from scripts.loading.figures import UNKNOWN, cell, show
from scripts.loading.report import notes_on
from scripts.loading.rounds import Load, Round

SERVERS: Final = ("relay", "before", "after")
"""What is measured in each round."""

_COLUMNS: Final = (
    "round",
    "relay/s",
    "before/s",
    "after/s",
    "after/before",
    "before/relay",
    "after/relay",
    "before µs",
    "after µs",
    "errors",
)


class Pair(msgspec.Struct, frozen=True):
    """One round: the relay and both hubs, one after the other."""

    relay: Round
    before: Round
    after: Round

    @property
    def errors(self) -> int:
        """What went wrong in any of the three."""
        return self.relay.errors + self.before.errors + self.after.errors


class Range(msgspec.Struct, frozen=True):
    """How a figure came out in all rounds; `lower` and `upper` are its quartiles."""

    least: float
    lower: float
    median: float
    upper: float
    greatest: float


class Verdict(msgspec.Struct, frozen=True):
    """What the rounds say together.

    The figures are pushes/s; `change` and the two ratios are shares within a round; `before_cpu`
    and `after_cpu` are microseconds of processor time for a push, where the system tells.
    `differs`: 1 lies outside the quartiles of `change`, so that three rounds in four say the same.
    """

    relay: Range
    before: Range
    after: Range
    change: Range
    before_to_relay: Range
    after_to_relay: Range
    before_cpu: Range | None
    after_cpu: Range | None
    slower_rounds: int
    differs: bool


class Comparison(msgspec.Struct, frozen=True):
    """All of a run."""

    load: Load
    rounds: Sequence[Pair]
    verdict: Verdict
    errors: int
    notes: Sequence[str]


def compare(load: Load, rounds: Sequence[Pair]) -> Comparison:
    """Sum up at least one round."""
    errors = sum(pair.errors for pair in rounds)
    by_server = {name: [getattr(pair, name) for pair in rounds] for name in SERVERS}
    return Comparison(load, rounds, _verdict(rounds), errors, notes_on(load, by_server))


def _verdict(rounds: Sequence[Pair]) -> Verdict:
    rates = [_rates(pair) for pair in rounds]
    changes = [after / before for _, before, after in rates]
    change = _range(changes)
    return Verdict(
        relay=_range([relay for relay, _, _ in rates]),
        before=_range([before for _, before, _ in rates]),
        after=_range([after for _, _, after in rates]),
        change=change,
        before_to_relay=_range([before / relay for relay, before, _ in rates]),
        after_to_relay=_range([after / relay for relay, _, after in rates]),
        before_cpu=_range_if_known([_cpu_per_push(pair.before) for pair in rounds]),
        after_cpu=_range_if_known([_cpu_per_push(pair.after) for pair in rounds]),
        slower_rounds=sum(each < 1 for each in changes),
        differs=not change.lower <= 1 <= change.upper,
    )


def _rates(pair: Pair) -> tuple[float, float, float]:
    relay, before, after = pair.relay, pair.before, pair.after
    return relay.pushes_per_second, before.pushes_per_second, after.pushes_per_second


def _range(values: Sequence[float]) -> Range:
    lower, median, upper = (
        statistics.quantiles(values, n=4, method="inclusive")
        if len(values) > 1
        else [values[0]] * 3
    )
    return Range(min(values), lower, median, upper, max(values))


def _range_if_known(values: Sequence[float | None]) -> Range | None:
    known = [value for value in values if value is not None]
    return _range(known) if known else None


def as_json(found: Comparison) -> str:
    """Return the whole comparison as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(found)).decode()


def print_comparison(found: Comparison) -> None:
    """Print every round, the medians, the spreads, and whether the two hubs differ by more."""
    load = found.load
    title = f"{load.users} users x {load.devices} devices, {load.seconds:g} s, pushes/s"
    show(title, _COLUMNS, list(_rows(found)))
    for note in found.notes:
        print(note)
    print(verdict_of(found))


def verdict_of(found: Comparison) -> str:
    """Say in a sentence what came of it."""
    verdict, count = found.verdict, len(found.rounds)
    change = verdict.change
    if verdict.differs:
        end = "a difference beyond the spread"
    else:
        end = f"no difference beyond the spread, which hides one below {_hidden(change):.0%}"
    return (
        f"after/before: median {change.median:.3f}, half of the rounds within {change.lower:.3f} "
        f"to {change.upper:.3f}, all within {change.least:.3f} to {change.greatest:.3f}; slower in "
        f"{verdict.slower_rounds} of {count} rounds: {end}."
    )


def _hidden(change: Range) -> float:
    """How far the quartiles are from the median: a difference so small would not have been seen."""
    return max(change.upper - change.median, change.median - change.lower)


def _rows(found: Comparison) -> Iterator[list[str]]:
    for number, pair in enumerate(found.rounds, 1):
        yield _row(str(number), pair)
    verdict = found.verdict
    rates = verdict.relay, verdict.before, verdict.after
    shares = verdict.change, verdict.before_to_relay, verdict.after_to_relay
    cpu = verdict.before_cpu, verdict.after_cpu
    for name in ("median", "least", "lower", "upper", "greatest"):
        yield [
            name,
            *[f"{getattr(each, name):,.0f}" for each in rates],
            *[f"{getattr(each, name):.3f}" for each in shares],
            *[cell(each and getattr(each, name), ".1f") for each in cpu],
            UNKNOWN,
        ]


def _row(name: str, pair: Pair) -> list[str]:
    relay, before, after = _rates(pair)
    return [
        name,
        *[f"{rate:,.0f}" for rate in (relay, before, after)],
        *[f"{share:.3f}" for share in (after / before, before / relay, after / relay)],
        *[cell(_cpu_per_push(each), ".1f") for each in (pair.before, pair.after)],
        f"{pair.errors:,}",
    ]


def _cpu_per_push(each: Round) -> float | None:
    """Microseconds of the server's CPU."""
    if each.server_cpu_seconds is None:
        return None
    return each.server_cpu_seconds * 1e6 / max(each.pushes, 1)
