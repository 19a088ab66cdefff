"""All measures, in the order in which they are taken and shown."""

from collections.abc import Sequence
from typing import Final

from scripts.benching.catchup import CatchUp
from scripts.benching.disk import Disk
from scripts.benching.firstsync import FirstSync
from scripts.benching.history import LongHistory
from scripts.benching.idle import Idle
from scripts.benching.measure import Measure
from scripts.benching.pythondevice import PythonDevice
from scripts.benching.rates import Fanout, Latency, Sustained, Throughput
from scripts.benching.retiring import Retiring
from scripts.benching.storm import Storm

MEASURES: Final[Sequence[Measure]] = (
    Throughput(),
    Fanout(),
    Latency(),
    Sustained(),
    Retiring(),
    LongHistory(),
    CatchUp(),
    FirstSync(),
    Idle(),
    Disk(),
    Storm(),
    PythonDevice(),
)
