"""Many writers at once: how many pushes, how many deliveries, and how long they take."""

from typing import Any, ClassVar, Final

import msgspec

from scripts.benching.measure import (
    LOAD_CPU,
    SERVER_CPU,
    TARGETS,
    Figures,
    Goal,
    Measure,
    Row,
    Site,
)
from scripts.loading.faults import LoadError
from scripts.loading.figures import Spread
from scripts.loading.rounds import Load, Round, run_round
from scripts.loading.servers import Server

MANY_USERS: Final = Load(users=50, devices=2, seconds=1, size=200, objects=20, rate=None)
MANY_DEVICES: Final = Load(users=5, devices=10, seconds=1, size=200, objects=20, rate=None)

_SHARE: Final = 0.7
"""Of its own top rate: what a busy hub has to hold with short latencies."""


class Throughput(Measure):
    """Fifty users who push as fast as they are acked, each with one device that listens."""

    name: ClassVar = "throughput"
    title: ClassVar = "50 users x 2 devices, each push after the last ack"
    targets: ClassVar = TARGETS
    rows: ClassVar = (
        Row("durable pushes", "pushes", "/s", Goal("ratio", "at least", 0.7)),
        Row("server's CPU for a push", "server_cpu", "µs"),
    )

    async def run(self, server: Server, site: Site) -> Figures:
        """Measure a closed loop."""
        found = await loaded(server, MANY_USERS, site.scale.seconds)
        return closed_loop(found)


class Fanout(Measure):
    """Five users with ten devices: most of the work is handing out."""

    name: ClassVar = "fanout"
    title: ClassVar = "5 users x 10 devices, one writing in each"
    targets: ClassVar = TARGETS
    rows: ClassVar = (Row("deliveries", "deliveries", "/s", Goal("ratio", "at least", 0.8)),)

    async def run(self, server: Server, site: Site) -> Figures:
        """Measure a closed loop."""
        found = await loaded(server, MANY_DEVICES, site.scale.seconds)
        return closed_loop(found)


class Latency(Measure):
    """Pushes on schedule at a rate that no server feels."""

    name: ClassVar = "latency"
    title: ClassVar = "50 pushes/s, sent on schedule and timed from when they were due"
    targets: ClassVar = TARGETS
    rows: ClassVar = (
        Row("push to receive, p50", "p50", "ms", Goal("difference", "at most", 1.0)),
        Row("push to receive, p99", "p99", "ms", Goal("ratio", "at most", 2.0)),
    )

    async def run(self, server: Server, site: Site) -> Figures:
        """Measure an open loop."""
        load = msgspec.structs.replace(MANY_USERS, rate=50.0)
        found = await loaded(server, load, site.scale.latency_seconds)
        return open_loop(found)


class Sustained(Measure):
    """The hub near its limit, and for long."""

    name: ClassVar = "sustained"
    title: ClassVar = "at 70 % of its own top rate, on schedule"
    rows: ClassVar = (
        Row("rate held", "pushes", "/s"),
        Row("push to receive, p99", "p99", "ms", Goal("value", "at most", 25.0)),
        Row("longest", "max", "ms"),
    )
    weight: ClassVar = "once"

    async def run(self, server: Server, site: Site) -> Figures:
        """Find the top rate, then measure at a share of it."""
        top = await loaded(server, MANY_USERS, site.scale.seconds)
        load = msgspec.structs.replace(MANY_USERS, rate=_SHARE * top.pushes_per_second)
        found = await loaded(server, load, site.scale.sustained_seconds)
        return open_loop(found)


async def loaded(server: Server, load: Load, seconds: float) -> Round:
    """Put a server under load.

    Raises:
        LoadError: it closed a connection, or a delivery was missing, late or out of order.

    """
    found = await run_round(server, msgspec.structs.replace(load, seconds=seconds), _no_tick)
    if found.errors:
        raise LoadError(f"{found.errors} errors under load, the first: {found.first_errors[0]}")
    return found


def closed_loop(found: Round) -> Figures:
    """Return what a closed loop shows."""
    figures: dict[str, Any] = {
        "pushes": found.pushes_per_second,
        "deliveries": found.deliveries_per_second,
        LOAD_CPU: found.load_cpu_share,
    }
    if found.server_cpu_seconds is not None and found.pushes:
        figures["server_cpu"] = found.server_cpu_seconds / found.pushes * 1e6
        figures[SERVER_CPU] = found.server_cpu_seconds * found.pushes_per_second / found.pushes
    return figures


def open_loop(found: Round) -> Figures:
    """Return what an open loop shows."""
    if found.push_to_receive is None:
        raise LoadError("no push arrived: the time under load was too short")
    return {
        "pushes": found.pushes_per_second,
        LOAD_CPU: found.load_cpu_share,
        **spread_figures(found.push_to_receive),
    }


def spread_figures(times: Spread) -> Figures:
    """Return the percentiles, in milliseconds, by their names."""
    figures: Figures = msgspec.structs.asdict(times)
    return figures


def _no_tick() -> None:
    """Nobody watches a round from inside: drawing costs time."""
