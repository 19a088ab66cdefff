"""What stands between the hub and the test: a store and a poll that tell what was decided."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hub.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hub.store.interface import Incoming, Stored
    from hub.user import Waiting
    from tests.machine.world import World


class Watched(SqliteStore):
    """The store, telling the test what it has decided."""

    def __init__(self, *args: Any, world: World) -> None:
        super().__init__(*args)
        self._world = world

    async def commit(self, group: Sequence[Incoming]) -> Sequence[Stored | None]:
        self._world.unheard = group
        try:
            stored = await super().commit(group)
        finally:
            self._world.unheard = ()
        self._world.observe(group, stored)
        return stored


class Poller:
    """A polling client's request, as the session of a socket would be: told when it is stored."""

    def __init__(self) -> None:
        self.done = asyncio.Event()

    def settled(self, _waiting: Waiting, _stored: Stored | None, /) -> None:
        self.done.set()

    def failed(self, _waiting: Waiting, /) -> None:
        self.done.set()
