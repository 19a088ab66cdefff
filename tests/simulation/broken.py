"""Stores that are wrong, to show that the simulation can tell."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from hub.store.interface import Incoming, Stored
from tests.simulation.simulation import Simulation
from tests.simulation.site import WatchedLedger, WatchedStore


class ForgetfulStore(WatchedStore):
    """It says of every seventh group that it is stored, and does not store it."""

    _groups = 0

    async def commit(self, group: Sequence[Incoming]) -> Sequence[Stored | None]:
        self._groups += 1
        if self._groups % 7:
            return await super().commit(group)
        user = await self.user(group[0].user)
        return [
            Stored(user.head + n, one.device, one.push_id, b"[]", differs=False)
            for n, one in enumerate(group, 1)
        ]


class UnsyncedLedger(WatchedLedger):
    """What it commits is in the file, and is not synced."""

    def _set_synchronous(self, _synchronous: str, connection: sqlite3.Connection) -> None:
        super()._set_synchronous("NORMAL", connection)


class UnsyncedStore(WatchedStore):
    ledger_class = UnsyncedLedger


class Forgetful(Simulation):
    store_class = ForgetfulStore


class Unsynced(Simulation):
    store_class = UnsyncedStore
