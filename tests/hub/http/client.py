"""A polling client as the released one behaves (Flutter package 0.0.8), written from its effects.

Its rows are like those of a SQL table: a `create` over a row that is there fails, an `update` of a
row that is not does nothing. Its own edits are made on its rows at once, and wait in a table in
which those with a clock not below its own are sent.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
Post: TypeAlias = Callable[[Json], Awaitable[Json]]


def by_clock(diff: Json) -> tuple[int, int]:
    """How the released client sorts an answer."""
    return diff["logical_clock"], diff["utc_timestamp"]


def by_timestamp(diff: Json) -> tuple[int]:
    """How a client that trusts the clocks of phones would sort it."""
    return (diff["utc_timestamp"],)


class PollingClient:
    def __init__(
        self,
        post: Post,
        token: str,
        name: str = "poller",
        order: Callable[[Json], Any] = by_clock,
    ) -> None:
        self.rows: dict[tuple[str, str], Json] = {}
        self.clock = 0
        self.diffs: list[Json] = []
        self.failures: list[Json] = []
        self._post = post
        self._token = token
        self._name = name
        self._order = order
        self._edits = 0
        self._now = 0

    def edit(self, kind: str, model: str, fields: Json, at: int) -> None:
        """Edit offline. A phone's clock may be wrong, and may stand still, but goes forward."""
        if self._commit(kind, model, fields):
            self._edits += 1
            self._now = max(self._now, at)
            self.diffs.append(
                {
                    "id": f"{self._name}-{self._edits}",
                    "owner": "constant",
                    "logical_clock": self.clock,
                    "utc_timestamp": self._now,
                    "type": kind,
                    "model": model,
                    "json_data": json.dumps(fields),
                }
            )

    def waiting(self) -> list[Json]:
        """What it sends: a stable sort where the client's own may be unstable."""
        return sorted((d for d in self.diffs if d["logical_clock"] >= self.clock), key=by_clock)

    async def synchronize(self, *, answer_is_lost: bool = False) -> Json:
        request = {
            "auth_token": self._token,
            "logical_clock": self.clock,
            "diffs": self.waiting(),
        }
        answer = await self._post(request)
        if not answer_is_lost and answer["success"] and answer["logical_clock"] > self.clock:
            for diff in sorted(answer["diffs"], key=self._order):
                self._take(diff)
            self.clock = answer["logical_clock"]
        return answer

    def _take(self, diff: Json) -> None:
        fields = json.loads(diff["json_data"])
        if not self._commit(diff["type"], diff["model"], fields) and diff["type"] != "delete":
            self.failures.append(diff)
        self.diffs.append(diff)

    def _commit(self, kind: str, model: str, fields: Json) -> bool:
        key = model, fields["id"]
        if (key in self.rows) == (kind == "create"):
            return False
        if kind == "delete":
            del self.rows[key]
        else:
            self.rows[key] = {**self.rows.get(key, {}), **fields}
        return True
