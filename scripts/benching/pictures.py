"""Which charts are drawn of a run, and with which words."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from scripts.benching.history import MICROSECONDS
from scripts.benching.measure import AFTERNOON, HUB, RELAY, Figures
from scripts.benching.svg import Axis, Bar, Frame, Group, Series, bar_chart, line_chart
from scripts.benching.table import figure
from scripts.benching.verdict import Outcome, Result, ratio_to_relay

_NAMES: Final = {
    RELAY: "bare relay, stores nothing",
    AFTERNOON: "'afternoon hub', an fsync a push",
    HUB: "mobync-hub, durable",
}
_SHORT: Final = {RELAY: "bare relay", AFTERNOON: "afternoon hub", HUB: "mobync-hub"}
_PERCENTILES: Final = (("p50", "50 %"), ("p90", "90 %"), ("p99", "99 %"), ("p999", "99.9 %"))
_IDLE_GOAL: Final = 16.0  # KB


def write_pictures(result: Result, folder: Path) -> list[Path]:
    """Draw all charts for which there are figures; return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, picture in pictures_of(result).items():
        path = folder / f"{name}.svg"
        path.write_text(picture, encoding="utf-8")
        written.append(path)
    return written


def pictures_of(result: Result) -> Mapping[str, str]:
    """Return the charts by name, of what was measured."""
    found = {outcome.name: outcome for outcome in result.outcomes}
    drawn = {
        "throughput": _throughput(found, _foot(result, "throughput")),
        "latency": _latency(_medians(found, "latency"), _foot(result, "latency")),
        "history": _history(_medians(found, "history"), _foot(result, "history")),
        "memory": _memory(found, result.scale.idle_devices, _foot(result, "idle")),
    }
    return {name: picture for name, picture in drawn.items() if picture is not None}


def _medians(found: Mapping[str, Outcome], name: str) -> Mapping[str, Figures]:
    return found[name].medians if name in found else {}


def _foot(result: Result, name: str) -> str:
    machine = result.machine
    cores = "a core for the server, one for the load" if machine.pinned else "cores shared"
    version = machine.packages.get("mobync-hub", "")
    rounds = [each for each in result.outcomes if each.name == name and each.rounds]
    count = max((len(turns) for each in rounds for turns in each.rounds.values()), default=0)
    taken = f"medians of {count} rounds" if count > 1 else "one round"
    return f"mobync-hub {version}, {cores}; {taken} ({result.form} form)"


def _throughput(found: Mapping[str, Outcome], foot: str) -> str | None:
    groups = [
        *_group("50 users x 2 devices: pushes/s", found.get("throughput"), "pushes"),
        *_group("5 users x 10 devices: deliveries/s", found.get("fanout"), "deliveries"),
    ]
    frame = Frame("Throughput", "Each writer pushes again when its ack has come; one core", foot)
    return bar_chart(frame, groups, figure) if groups else None


def _group(heading: str, outcome: Outcome | None, name: str) -> Iterator[Group]:
    medians = outcome.medians if outcome else {}
    bars = [
        Bar(_NAMES[target], figures[name], target, _share(outcome, target, name))
        for target, figures in medians.items()
        if name in figures
    ]
    if bars:
        yield Group(heading, bars)


def _share(outcome: Outcome | None, target: str, name: str) -> str:
    if outcome is None or target == RELAY:
        return ""
    ratio = ratio_to_relay(target, name, outcome.rounds)
    return "" if ratio is None else f"{ratio:.2f} x relay"


def _memory(found: Mapping[str, Outcome], devices: int, foot: str) -> str | None:
    groups = list(_group("KB of the server's memory a device", found.get("idle"), "memory"))
    if not groups:
        return None
    group = groups[0]._replace(goal=_IDLE_GOAL, goal_words=f"goal: {_IDLE_GOAL:g} KB")
    subtitle = f"{devices:,} devices, authenticated and live, who say nothing"
    return bar_chart(Frame("Memory per idle device", subtitle, foot), [group], figure)


def _latency(medians: Mapping[str, Figures], foot: str) -> str | None:
    series = [
        Series(_SHORT[target], target, [(n, figures[p]) for n, (p, _) in enumerate(_PERCENTILES)])
        for target, figures in medians.items()
    ]
    if not series:
        return None
    frame = Frame(
        "From push to receive",
        "50 pushes/s on schedule, 50 users x 2 devices; timed from when a push was due",
        foot,
    )
    x = Axis(
        "share of deliveries that took no longer",
        [(n, words) for n, (_, words) in enumerate(_PERCENTILES)],
        lambda number: number / (len(_PERCENTILES) - 1),
    )
    return line_chart(frame, series, x, _from_zero("ms", _points(series)))


def _history(medians: Mapping[str, Figures], foot: str) -> str | None:
    figures = medians.get(HUB, {})
    points = sorted(
        (float(name.removeprefix(MICROSECONDS)), value)
        for name, value in figures.items()
        if name.startswith(MICROSECONDS)
    )
    if not points:
        return None
    frame = Frame(
        "Cost of one write against the length of the history",
        "One writer, from push to ack, durable: the next push leaves when the ack has come",
        foot,
    )
    series = [Series(_SHORT[HUB], HUB, points)]
    x = _powers("pushes that the user's log holds", [pushes for pushes, _ in points])
    return line_chart(frame, series, x, _from_zero("µs a write", points))


def _points(series: Sequence[Series]) -> list[tuple[float, float]]:
    return [point for each in series for point in each.points]


def _from_zero(title: str, points: Sequence[tuple[float, float]]) -> Axis:
    """Return an axis from zero to a round number above all values."""
    most = max(value for _, value in points) or 1.0
    step = _round_step(most / 4)
    count = math.ceil(most / step)
    ticks = [(step * number, f"{step * number:,g}") for number in range(count + 1)]
    return Axis(title, ticks, partial(_linear, step * count))


def _linear(most: float, value: float) -> float:
    return value / most


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= least)


def _powers(title: str, values: Sequence[float]) -> Axis:
    """Return a logarithmic axis with a tick at each value."""
    return Axis(title, [(each, f"{each:,.0f}") for each in values], _logarithmic(values))


def _logarithmic(values: Sequence[float]) -> Callable[[float], float]:
    low, high = math.log10(values[0]), math.log10(values[-1])
    return lambda value: (math.log10(value) - low) / (high - low) if high > low else 0.5
