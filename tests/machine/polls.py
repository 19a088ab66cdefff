"""Applications in the field that poll (docs/protocol.md, section 9)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hub.store.errors import StoreFailed
from hub.store.interface import Incoming
from hub.user import Waiting
from protocol.messages import POLLING_DEVICE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hub.hub import Hub
    from hub.store.interface import Stored
    from tests.machine.world import World


class Poller:
    """A polling client's request, as the session of a socket would be: told when it is stored."""

    grant = None
    device = POLLING_DEVICE

    def __init__(self) -> None:
        self.done = asyncio.Event()

    def settled(self, _waiting: Waiting, _stored: Stored | None, /) -> None:
        self.done.set()

    def failed(self, _waiting: Waiting, /) -> None:
        self.done.set()


class Polls:
    """What was asked last for each user, to be asked again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._requests: dict[str, Incoming] = {}

    def poll(self, user: str, diffs: Sequence[Any]) -> None:
        self._requests[user] = Incoming(user, POLLING_DEVICE, 0, diffs, polled=True)
        self.poll_again(user)

    def poll_again(self, user: str) -> None:
        """The same request, its answer lost."""
        incoming = self._requests.get(user)
        if incoming is not None and self._world.hub is not None and not self._is_refused(incoming):
            self._world.serve(self._poll(self._world.hub, incoming))
            self._world.settle()

    def _is_refused(self, incoming: Incoming) -> bool:
        """Whether it is answered 409, for deletions behind its clock are forgotten (section 9)."""
        keeping = self._world.witness.record(incoming.user).keeping
        base = min(diff["logical_clock"] for diff in incoming.diffs)
        is_below: bool = base < max(keeping.announced, keeping.gone.line)
        self._world.happened["poll answered 409"] += is_below
        return is_below

    async def _poll(self, hub: Hub, incoming: Incoming) -> None:
        poller = Poller()
        try:
            async with hub.users.visit(incoming.user) as user:
                user.push(Waiting(incoming, poller, 1))
                await poller.done.wait()
        except StoreFailed:
            self._world.happened["poll answered 503"] += 1
