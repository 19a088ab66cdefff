"""Hubs of the model with an object on them, and what a stored push says, in short."""

from __future__ import annotations

import itertools
from typing import Any

from tests.model import strategies
from tests.model.hub import ModelHub

NOW = strategies.START
T1 = ("tasks", "t1")
MINUTE = 60_000

_names = itertools.count(1)


def edit(
    kind: str, fields: dict[str, Any] | None = None, *, base: int = 0, at: int = NOW, name: str = ""
) -> dict[str, Any]:
    """A diff of the task t1."""
    return {
        "id": name or f"edit-{next(_names)}",
        "logical_clock": base,
        "utc_timestamp": at,
        "type": kind,
        "model": "tasks",
        "json_data": {"id": "t1", **(fields or {})},
    }


class Hub(ModelHub):
    """The model with shorter words for what these tests do and look at."""

    def send(self, device: str, *diffs: Any, again: bool = False, now: int = NOW) -> dict[str, Any]:
        """Store the next push of this device; "mobync" polls."""
        polled = device == strategies.POLLER
        push_id = self.last_push_id(device) + 1
        stored = self.push(device, push_id, list(diffs), now=now, again=again, polled=polled)
        assert stored is not None
        return stored

    def task(self) -> dict[str, Any]:
        """The fields of t1 beside its id."""
        fields = self.objects()[T1]["fields"]
        return {name: value for name, value in fields.items() if name != "id"}


def codes(stored: dict[str, Any]) -> list[str]:
    return [rejection["code"] for rejection in stored["rejected"]]


def types(stored: dict[str, Any]) -> list[str]:
    return [diff["type"] for diff in stored["diffs"]]


def lost(stored: dict[str, Any]) -> list[dict[str, int]]:
    return [loss["fields"] for loss in stored["lost"]]


def hub_with(**fields: Any) -> Hub:
    """A hub on which the phone has made t1 at clock 1."""
    hub = Hub()
    hub.send("phone", edit("create", fields))
    return hub


def hub_without(*, at: int = NOW) -> Hub:
    """A hub on which the phone made t1 at clock 1 and deleted it at clock 2."""
    hub = hub_with(title="Milk")
    hub.send("phone", edit("delete", base=1, at=at))
    return hub
