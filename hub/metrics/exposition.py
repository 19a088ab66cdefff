"""Metrics as text, in the format that whoever reads them asked for."""

import asyncio
from collections.abc import Iterable
from typing import Final, NamedTuple

from prometheus_client import PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

from hub.hub import Hub
from hub.metrics.families import families
from hub.store.interface import Sizes

_PROCESS: Final = (ProcessCollector(registry=None), PlatformCollector(registry=None))


class Exposition(NamedTuple):
    """Metrics as text, and of which type it is."""

    body: bytes
    content_type: str


class _Collected(NamedTuple):
    """What was collected already, and on the encoder's thread what the system says of the process.

    `/proc` is read there, and a thousand lines are written.
    """

    metrics: list[Metric]

    def collect(self) -> Iterable[Metric]:
        yield from self.metrics
        for collector in _PROCESS:
            yield from collector.collect()


async def expose(hub: Hub, sizes: Sizes | None, accepted: str) -> Exposition:
    """All metrics, in one of the formats that a reader accepts (its header of that name)."""
    encode, content_type = choose_encoder(accepted)
    body = await asyncio.to_thread(encode, _Collected(families(hub, sizes)))
    return Exposition(body, content_type)
