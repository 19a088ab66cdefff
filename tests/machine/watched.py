"""What stands between the hub and the test: a store that tells what it decided and let go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.store.interface import nothing
from hub.store.sqlite import SqliteStore
from protocol.history import NO_HISTORY
from tests.machine.keeping import Gone, Sight

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from hub.store.interface import Incoming, Meanwhile, Stored
    from protocol.history import History
    from tests.machine.world import World


class Watched(SqliteStore):
    """The store, telling the test what it has decided."""

    def __init__(self, *args: Any, world: World) -> None:
        super().__init__(*args)
        self._world = world

    async def commit(
        self, group: Sequence[Incoming], meanwhile: Meanwhile = nothing
    ) -> Sequence[Stored | None]:
        self._world.witness.unheard = group
        try:
            stored = await super().commit(group, meanwhile)
        finally:
            self._world.witness.unheard = ()
        self._world.witness.observe(group, stored)
        return stored

    def history_of(self, user: str) -> History:
        """The history in which the writer decides."""
        memory = self._ledger._memory
        entry = memory.known_user(user) if memory is not None else None
        return entry.history if entry is not None else NO_HISTORY

    def received(self, user: str, device: str, clock: int) -> None:
        self._world.witness.record(user).keeping.see(device, self._world.now, clock)
        super().received(user, device, clock)

    def on_line(self, tell: Callable[[str, int], None]) -> None:
        def told(user: str, line: int) -> None:
            keeping = self._world.witness.record(user).keeping
            keeping.announced = max(keeping.announced, line)
            tell(user, line)

        super().on_line(told)

    async def _write(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """What a unit let go is looked at in the same unit, and told when its end is heard of."""

        def watched(connection: sqlite3.Connection) -> tuple[Any, dict[str, Gone]]:
            return work(connection), gone(connection)

        done, found = await super()._write(watched)
        self._world.witness.observe_gone(found)
        return done


def gone(connection: sqlite3.Connection) -> dict[str, Gone]:
    """What the file says was let go, by users."""
    rows = connection.execute("SELECT name, dropped, line FROM users")
    return {name: Gone(*clocks) for name, *clocks in rows}


def written_down(connection: sqlite3.Connection) -> dict[str, dict[str, Sight]]:
    """What the file knows of the devices, by users."""
    query = (
        "SELECT users.name, devices.name, seen, received FROM devices JOIN users USING (user_no)"
    )
    found: dict[str, dict[str, Sight]] = {}
    for user, device, *sight in connection.execute(query):
        found.setdefault(user, {})[device] = Sight(*sight)
    return found
