"""A polling client of mobync's, which comes now and then; now and then its answer is lost."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from hub.http.polling import PollRefused
from hub.store.errors import StoreFailed
from tests.hub.http.client import PollingClient, by_clock

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

USER = "ada"
PATIENCE = 30.0


class Poller:
    """Its rows are held to the model in the end. Begun anew when the hub no longer knows it."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._chance = simulation.branch("poller")
        self._names = 0
        self._edits = 0
        self._begin()

    def _begin(self) -> None:
        self._names += 1
        name = f"poller-{self._names}"
        self.client = PollingClient(self._post, f"{USER}|", name, by_clock)

    def edit(self) -> None:
        """Make an edit offline."""
        self._edits += 1
        name = f"t{self._chance.randint(1, 12)}"
        kind = self._chance.choice(("create", "update", "delete"))
        fields = {"id": name} if kind == "delete" else {"id": name, "a": f"poll-{self._edits}"}
        self._simulation.account.edited(USER, kind, fields)
        self.client.edit(kind, "tasks", fields, self._simulation.steady())

    def begin_anew(self) -> None:
        """It knows of no histories: where the hub is restored, its user has to see to it."""
        self._begin()

    async def come(self) -> None:
        """Poll once, and be answered, or not."""
        lost = not self._simulation.is_calm and self._chance.random() < 0.2
        try:
            async with asyncio.timeout(PATIENCE):
                await self.client.synchronize(answer_is_lost=lost)
        except PollRefused:
            self._begin()
        except (StoreFailed, TimeoutError, ConnectionError, asyncio.CancelledError):
            """It comes again."""

    async def _post(self, request: dict[str, Any]) -> dict[str, Any]:
        site = self._simulation.site
        if not site.is_up:
            raise ConnectionError("there is nobody")
        body = json.dumps(request).encode()
        self._simulation.note(f"poll {body.decode()}")
        answer = await asyncio.shield(site.poll(body))
        self._simulation.note(f"polled {answer.body.decode()}")
        return dict(json.loads(answer.body))

    async def check(self) -> None:
        """Level, its rows are what the model has; one begun anew may need two polls."""
        for _poll in range(3):
            await self.come()
        assert self.client.rows == self._simulation.account.record(USER).states[-1], (
            "a polling client's rows differ"
        )
