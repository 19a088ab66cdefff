"""Each metric of the hub: its name, its text, and where its value is.

Names follow Prometheus' conventions: base units, `_total` for what only grows. Every series is
there from the start, at 0, so that a rate over its first event is right.
"""

import platform
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Final, get_args

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from hub.counts import CODES, OTHER, Counts, Spread, Way
from hub.errors import Doubt, HandshakeFault
from hub.hub import Hub
from hub.states import counted
from hub.store.interface import Sizes, StoreCounts
from hub.store.versions import SQLITE
from protocol.closing import CLOSINGS, TOO_MANY_REQUESTS

_STATUSES: Final = (200, 400, 401, 403, 408, 409, 413, 415, 429, 500, 503)
"""What a polling client is answered."""
_TOO_MANY: Final = 429
_ENDLESS: Final = float("inf")
_BUILD: Final = {
    "version": version("mobync-hub"),
    "python": platform.python_version(),
    "sqlite": SQLITE,
}


def families(hub: Hub, sizes: Sizes | None) -> list[Metric]:
    """All of a hub's metrics as they are now; `sizes` is None if its store does not say.

    To be called on the hub's loop, which is what writes them.
    """
    return [
        InfoMetricFamily("mobync_build", "What runs.", _BUILD),
        *_connections(hub),
        *_tokens(hub.counts),
        *_pushes(hub),
        *_times(hub.counts),
        *_devices(hub),
        _counter("mobync_log_bytes", "Bytes of diffs added to the log.", hub.counts.log_bytes),
        *_store(hub.store.counts, sizes),
    ]


def _connections(hub: Hub) -> Iterator[Metric]:
    counts = hub.counts
    states = counted(session.state for session in hub.sessions)
    here = {state.name.lower(): number for state, number in states.items()}
    yield _gauges("mobync_connections", "WebSockets that are open.", "state", here)
    yield _counter("mobync_connections_accepted", "WebSockets that came.", counts.connections)
    faults = {fault: counts.handshakes_refused[fault] for fault in get_args(HandshakeFault)}
    text = "Connections that did not become WebSockets."
    yield _counters("mobync_handshakes_refused", text, "reason", faults)
    closed = {str(code): counts.closed[code] for code in CLOSINGS}
    yield _counters("mobync_connections_closed", "WebSockets the hub closed.", "code", closed)
    yield _gauge(
        "mobync_users", "Users who are connected or have something waiting.", len(hub.users)
    )
    yield _counter("mobync_http_requests", "Requests, scrapes among them.", counts.requests)
    polls = {str(status): counts.polls[status] for status in sorted({*_STATUSES, *counts.polls})}
    yield _counters("mobync_polls", "Answers to polling clients.", "status", polls)


def _tokens(counts: Counts) -> Iterator[Metric]:
    doubts = {doubt: counts.unauthorized[doubt] for doubt in get_args(Doubt)}
    yield _counters("mobync_auth_failures", "Tokens that did not count.", "reason", doubts)
    refused = counts.closed[TOO_MANY_REQUESTS.code] + counts.polls[_TOO_MANY]
    limited = {"slowed": counts.slowed, "refused": refused}
    text = "How often somebody above a rate or a cap was read slowly, or turned away."
    yield _counters("mobync_rate_limited", text, "effect", limited)


def _pushes(hub: Hub) -> Iterator[Metric]:
    counts = hub.counts
    outcomes = {"stored": counts.pushes, "repeated": counts.repeated, "failed": counts.failed}
    yield _counters("mobync_pushes", "Pushes by what became of them.", "outcome", outcomes)
    yield _counter("mobync_diffs", "Diffs in stored pushes, as they came.", counts.diffs)
    codes = {code: counts.rejected[code] for code in sorted({*CODES, OTHER})}
    yield _counters("mobync_rejected_diffs", "Diffs that were rejected.", "code", codes)
    yield _counter("mobync_lost_diffs", "Diffs of which fields lost.", counts.lost)
    yield _counter("mobync_lost_fields", "Fields that lost.", counts.lost_fields)
    yield _gauge("mobync_pushes_waiting", "Pushes that wait to be stored.", hub.users.waiting)


def _times(counts: Counts) -> Iterator[Metric]:
    yield _histogram(
        "mobync_ack_seconds", "From a push's frame to its ack, for each push.", counts.ack_seconds
    )
    yield _histogram("mobync_commit_pushes", "Pushes in a transaction.", counts.group_pushes)
    yield _histogram(
        "mobync_commit_seconds", "How long a transaction took to be durable.", counts.commit_seconds
    )
    yield _histogram(
        "mobync_broadcast_seconds",
        "From a transaction's end to all live devices having their frames in their sockets.",
        counts.broadcast_seconds,
    )
    yield _histogram(
        "mobync_loop_lag_seconds",
        "How late what is due each second comes: everybody waits so long.",
        counts.loop_lag_seconds,
    )


def _devices(hub: Hub) -> Iterator[Metric]:
    counts = hub.counts
    ways = {way: counts.catch_ups[way] for way in get_args(Way)}
    yield _counters("mobync_catchups", "Devices brought level, by the way.", "way", ways)
    slow = {"fell_behind": counts.fell_behind, "stalled": counts.stalled}
    text = "Devices that read too slowly: back to catching up, or cut off."
    yield _counters("mobync_slow_sessions", text, "what", slow)
    buffered = [session.link.buffered for session in hub.sessions]
    yield _gauge("mobync_send_buffer_bytes", "Sent, and not yet taken, of all.", sum(buffered))
    most = max(buffered, default=0)
    yield _gauge("mobync_send_buffer_largest_bytes", "The same, of the slowest.", most)


def _store(counts: StoreCounts, sizes: Sizes | None) -> Iterator[Metric]:
    yield _counter("mobync_retired_rows", "Pushes that retention let go.", counts.rows)
    yield _counter("mobync_retired_tombstones", "Deletions it let go.", counts.tombstones)
    yield _counter("mobync_folds", "Steps that wrote objects behind the log.", counts.folds)
    yield _counter("mobync_checkpoints", "Checkpoints the hub made.", counts.checkpoints)
    yield _gauge("mobync_unfolded_rows", "Pushes whose objects are not written.", counts.unfolded)
    yield _gauge("mobync_store_up", "1 if the store answered in time.", int(sizes is not None))
    if sizes is not None:
        yield _gauge("mobync_file_bytes", "Size of the data file.", sizes.file)
        yield _gauge("mobync_wal_bytes", "Size of its WAL.", sizes.wal)
        yield _gauge("mobync_free_bytes", "Bytes in the file that are free.", sizes.free)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _labelled(GaugeMetricFamily(name, text, labels=[label]), values)


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _labelled(CounterMetricFamily(name, text, labels=[label]), values)


def _labelled(
    family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[str, float]
) -> Metric:
    for label, value in values.items():
        family.add_metric([label], value)
    return family


def _histogram(name: str, text: str, spread: Spread) -> Metric:
    return HistogramMetricFamily(name, text, list(_buckets(spread)), spread.sum)


def _buckets(spread: Spread) -> Iterable[tuple[str, float]]:
    """How many were at most as great as each bound, smaller ones among them."""
    count = 0
    for bound, more in zip((*spread.bounds, _ENDLESS), spread.counts, strict=True):
        count += more
        yield ("+Inf" if bound == _ENDLESS else str(float(bound))), count
