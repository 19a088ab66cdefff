"""What a run found: medians, ratios, notes; as a table for people, as JSON for programs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from scripts.loading.figures import UNKNOWN, cell, median, median_spread, show
from scripts.loading.rounds import Load, Round

BUSY: Final = 0.85
"""The share of a core above which the load generator, not the server, may be what is measured."""

LATE: Final = 2.0
"""Milliseconds: pushes of an open loop that leave later than this spoil its latencies."""

WORKING: Final = 0.8
"""The share of a core below which a relay in a closed loop was kept from working."""

_COLUMNS: Final = (
    "target",
    "round",
    "pushes/s",
    "deliveries/s",
    "push→ack ms",
    "push→receive ms",
    "server CPU s",
    "µs/push",
    "server MB",
    "load CPU",
    "errors",
)


class Ratio(msgspec.Struct, frozen=True):
    """The hub's figures as shares of the relay's: the median of the turns.

    Each round of the hub is compared with the relay's of the same turn, next to it in time: on a
    machine that others use too, speed drifts more from turn to turn than it differs within one.
    """

    pushes_per_second: float | None
    deliveries_per_second: float | None
    server_cpu_per_push: float | None


class Report(msgspec.Struct, frozen=True):
    """All of a run. A median's `max` is the greatest of all rounds, its `errors` their sum."""

    load: Load
    rounds: Mapping[str, Sequence[Round]]
    medians: Mapping[str, Round]
    hub_to_relay: Ratio | None
    errors: int
    notes: Sequence[str]


def report(load: Load, rounds: Mapping[str, Sequence[Round]]) -> Report:
    """Sum up the rounds of each target."""
    medians = {name: _median_round(each) for name, each in rounds.items()}
    both = {"hub", "relay"} <= rounds.keys()
    return Report(
        load=load,
        rounds=rounds,
        medians=medians,
        hub_to_relay=_ratio(rounds["hub"], rounds["relay"]) if both else None,
        errors=sum(each.errors for each in medians.values()),
        notes=notes_on(load, rounds),
    )


def _median_round(rounds: Sequence[Round]) -> Round:
    def of(name: str) -> float | None:
        return median([getattr(each, name) for each in rounds])

    memory = of("server_memory_bytes")
    return Round(
        pushes=int(of("pushes") or 0),
        deliveries=int(of("deliveries") or 0),
        pushes_per_second=of("pushes_per_second") or 0.0,
        deliveries_per_second=of("deliveries_per_second") or 0.0,
        push_to_ack=median_spread([each.push_to_ack for each in rounds]),
        push_to_receive=median_spread([each.push_to_receive for each in rounds]),
        sent_late=median_spread([each.sent_late for each in rounds]),
        server_cpu_seconds=of("server_cpu_seconds"),
        server_memory_bytes=None if memory is None else int(memory),
        load_cpu_share=of("load_cpu_share") or 0.0,
        errors=sum(each.errors for each in rounds),
        first_errors=[words for each in rounds for words in each.first_errors],
    )


def _ratio(hub: Sequence[Round], relay: Sequence[Round]) -> Ratio:
    def of(figure: Callable[[Round], float | None]) -> float | None:
        turns = zip(map(figure, hub), map(figure, relay), strict=True)
        return median([_share(part, whole) for part, whole in turns])

    return Ratio(
        pushes_per_second=of(lambda each: each.pushes_per_second),
        deliveries_per_second=of(lambda each: each.deliveries_per_second),
        server_cpu_per_push=of(_cpu_per_push),
    )


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _cpu_per_push(each: Round) -> float | None:
    """CPU seconds of the server for each push that was acked in the window."""
    return _share(each.server_cpu_seconds, each.pushes)


def notes_on(load: Load, rounds: Mapping[str, Sequence[Round]]) -> list[str]:
    """Return what must be known to read these rounds."""
    return [
        f"{name}: {words}"
        for name, each in rounds.items()
        for words in (
            *_limit(each),
            *_lateness(each),
            *(_idleness(load, each) if name == "relay" else ()),
            *(words for one in each for words in one.first_errors),
        )
    ]


def _limit(rounds: Sequence[Round]) -> Iterator[str]:
    busy = median([one.load_cpu_share for one in rounds]) or 0.0
    if busy > BUSY:
        yield (
            f"the load generator used {busy:.0%} of a core and was the limit; "
            "the server can do more than is shown."
        )


def _lateness(rounds: Sequence[Round]) -> Iterator[str]:
    late = median_spread([one.sent_late for one in rounds])
    if late and late.p99 > LATE:
        yield (
            f"one push in a hundred left more than {late.p99:.1f} ms late; "
            "this machine cannot keep the schedule, and its latencies include that."
        )


def _idleness(load: Load, rounds: Sequence[Round]) -> Iterator[str]:
    """Of a relay in a closed loop, which waits for nothing but the processor."""
    used = median([one.server_cpu_seconds for one in rounds])
    if used is not None and load.rate is None and used / load.seconds < WORKING:
        yield (
            f"it had only {used / load.seconds:.0%} of a core: too few writers, or other work on "
            "this machine, which makes it a low ceiling; compare the µs/push too."
        )


def as_json(found: Report) -> str:
    """Return the whole report as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(found)).decode()


def print_report(found: Report) -> None:
    """Print the table, and what must be known to read it."""
    show(_title(found.load), _COLUMNS, _rows(found))
    for note in found.notes:
        print(note)


def _title(load: Load) -> str:
    loop = "each push after the last ack" if load.rate is None else f"{load.rate:g} pushes/s"
    return (
        f"{load.users} users x {load.devices} devices, {load.seconds:g} s, {loop}, "
        f"changes of {load.size} bytes; times as p50/p99/max"
    )


def _rows(found: Report) -> list[list[str]]:
    turns = max(map(len, found.rounds.values()))
    rows = [
        _row(name, str(turn + 1), each[turn])
        for turn in range(turns)
        for name, each in found.rounds.items()
    ]
    rows += [_row(name, "median", each) for name, each in found.medians.items()]
    return rows + ([_ratio_row(found.hub_to_relay)] if found.hub_to_relay else [])


def _row(name: str, turn: str, each: Round) -> list[str]:
    cpu, memory = _cpu_per_push(each), each.server_memory_bytes
    return [
        name,
        turn,
        f"{each.pushes_per_second:,.0f}",
        f"{each.deliveries_per_second:,.0f}",
        cell(each.push_to_ack),
        cell(each.push_to_receive),
        cell(each.server_cpu_seconds, ".2f"),
        cell(cpu and cpu * 1e6, ".0f"),
        cell(memory and memory / 1e6, ".0f"),
        f"{each.load_cpu_share:.0%}",
        f"{each.errors:,}",
    ]


def _ratio_row(ratio: Ratio) -> list[str]:
    known = [cell(ratio.pushes_per_second, ".2f"), cell(ratio.deliveries_per_second, ".2f")]
    cpu = cell(ratio.server_cpu_per_push, ".2f")
    return ["hub/relay", "median", *known, *[UNKNOWN] * 3, cpu, *[UNKNOWN] * 3]
