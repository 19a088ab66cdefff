"""Where a device keeps its data: one interface, in memory or in an SQLite file."""

from client.storage.interface import Identity, Kept, Storage
from client.storage.memory import MemoryStorage
from client.storage.sqlite import SqliteStorage

__all__ = ["Identity", "Kept", "MemoryStorage", "SqliteStorage", "Storage"]
