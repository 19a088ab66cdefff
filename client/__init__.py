"""The Python device: `async with Device(url, token=…, path=…) as device:`."""

from client.batch import Batch
from client.device import Device
from client.errors import (
    BatchTooLarge,
    DeviceClosed,
    DeviceError,
    DeviceStopped,
    StorageError,
    StorageFailed,
    StorageForeign,
    StorageInUse,
    StorageTooNew,
    SynchronizeTimeout,
    UnknownSetback,
)
from client.filters import FilterType, ReadFilter
from client.states import State
from client.status import Status
from client.storage import MemoryStorage, SqliteStorage, Storage
from client.watch import Change, Watch
from client.world import World
from protocol.errors import InvalidDiff
from protocol.records import LostFields, RejectedEdit, Setback

__all__ = [
    "Batch",
    "BatchTooLarge",
    "Change",
    "Device",
    "DeviceClosed",
    "DeviceError",
    "DeviceStopped",
    "FilterType",
    "InvalidDiff",
    "LostFields",
    "MemoryStorage",
    "ReadFilter",
    "RejectedEdit",
    "Setback",
    "SqliteStorage",
    "State",
    "Status",
    "Storage",
    "StorageError",
    "StorageFailed",
    "StorageForeign",
    "StorageInUse",
    "StorageTooNew",
    "SynchronizeTimeout",
    "UnknownSetback",
    "Watch",
    "World",
]
