"""All measures, in the order in which they are taken and shown."""

from collections.abc import Sequence
from typing import Final

from scripts.benching.measure import Measure
from scripts.benching.rates import Fanout, Latency, Sustained, Throughput

MEASURES: Final[Sequence[Measure]] = (Throughput(), Fanout(), Latency(), Sustained())
