"""A hub that Ada uses, and one on which nobody has ever heard of her; Mallory comes to both.

What he is told by the one must be, word for word, what he is told by the other: then nothing of
hers was shown to him, nor that she is there.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from hub.auth import Grant, Secret, make_token
from hub.settings import Settings
from hub.tokens import Tokens
from tests.hub.http.served import Json, ServedHub, serve
from tests.hub.store.asking import asked

SECRET: Final = Secret("HS256", b"the secret of the hub that both use, long enough")
FORGED: Final = Secret("HS256", b"a secret that somebody made up, and long enough too")
HERS: Final = "only-ada-knows"
"""In every name and value of hers but the few that anybody may guess."""
NOTES: Final = f"notes-{HERS}"
Answers: TypeAlias = list[Any]
OWN: Final = ("log_id", "epoch", "server_time", "expires", "utc_timestamp")
"""What differs from hub to hub and from moment to moment."""


def token(user: str, secret: Secret = SECRET, *, lasts: int = 3600, **grant: Any) -> str:
    until = time.time_ns() // 1_000_000 + lasts * 1000
    return make_token(secret, Grant(user, expires=until, **grant))


def edit(kind: str, name: str, *, model: str = NOTES, diff: str = "", **more: Any) -> Json:
    """A diff with an id that anybody may guess, unless another is given."""
    at = more.pop("at", 1_790_000_000_000)
    special: Json = {key: more.pop(key) for key in ("was", "seen") if key in more}
    fields = {"id": name, **more}
    return {
        "id": diff or f"{kind}-{name}"[:64], "logical_clock": 0, "utc_timestamp": at, "type": kind,
        "model": model, "json_data": fields, **special,
    }  # fmt: skip


class Talk:
    """One connection, and all that was said on it to whoever opened it."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.heard: list[Json] = []

    async def say(self, **message: Any) -> None:
        await self._connection.send(json.dumps(message))

    async def hello(self, token: str, device: str, **more: Any) -> None:
        hello = {"type": "hello", "token": token, "device": device, "logical_clock": 0, **more}
        await self.say(**hello)
        await self.until("ready")

    async def until(self, kind: str) -> Json:
        """Hear on until this message comes, or the close."""
        try:
            self.heard.append(json.loads(await self._connection.recv()))
            while self.heard[-1]["type"] != kind:
                self.heard.append(json.loads(await self._connection.recv()))
        except ConnectionClosed as closed:
            code = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
            self.heard.append({"type": "closed", "code": code})
        return self.heard[-1]

    async def answers(self) -> list[Json]:
        """All that is told up to now: a pong comes behind whatever was stored before its ping."""
        if not self.heard or self.heard[-1]["type"] != "closed":
            with contextlib.suppress(ConnectionClosed):
                await self.say(type="ping", nonce="all of it?")
            await self.until("pong")
        return self.heard


@asynccontextmanager
async def talking(hub: ServedHub) -> AsyncIterator[Talk]:
    subprotocols = [Subprotocol("mobync.v1")]
    async with connect(hub.websocket_url, subprotocols=subprotocols, proxy=None) as connection:
        yield Talk(connection)


class Hers(NamedTuple):
    """What Mallory has come to know of Ada, and tries."""

    log_id: str
    clock: int


class Ada:
    """She has a phone that is live, a laptop that is away, and an app that polls."""

    def __init__(self, hub: ServedHub, data: Path, phone: Talk) -> None:
        self.knows = Hers("", 0)
        self._hub = hub
        self._data = data
        self._phone = phone

    async def settle(self) -> None:
        """Make all that can be got at: objects, deletions, refused edits, what she received."""
        phone = self._phone
        await phone.hello(token("ada"), "phone")
        note = edit("create", f"n1-{HERS}", diff=f"d1-{HERS}", text=f"dear diary, {HERS}")
        gone = edit("create", f"n2-{HERS}"), edit("delete", f"n2-{HERS}")
        guessed = edit("create", "n1", model="notes", diff="d1", text=f"guess, {HERS}")
        refused = edit("update", f"never-{HERS}", text=HERS)
        for push_id, diffs in enumerate(([note, guessed], gone, [refused]), 1):
            await phone.say(type="push", push_id=push_id, diffs=list(diffs))
        await phone.answers()
        await phone.say(type="received", logical_clock=2)
        polled = edit("create", f"n3-{HERS}", diff=f"d3-{HERS}")
        polled["json_data"] = json.dumps(polled["json_data"])
        request = {"auth_token": token("ada"), "logical_clock": 0, "diffs": [polled]}
        assert (await self._hub.post(request))["success"]
        last = (await phone.answers())[-2]
        assert last["type"] == "changes"
        self.knows = Hers(phone.heard[0]["log_id"], last["logical_clock"])
        await self._folded()

    async def _folded(self) -> None:
        """Let all of it be written to the file, so that it can be looked at there."""
        query = "SELECT head FROM users WHERE name = 'ada'"
        while self._rows(query) != [(self.knows.clock,)]:
            await asyncio.sleep(0.02)

    def _rows(self, query: str) -> list[Any]:
        return asked(self._data, query)

    def stored(self) -> Sequence[Any]:
        """All that the file has of her."""
        whose = "user_no = (SELECT user_no FROM users WHERE name = 'ada')"
        return [
            self._rows(f"SELECT log_id, head, line, dropped, continues FROM users WHERE {whose}"),  # noqa: S608 - a constant
            self._rows(f"SELECT name, last_push_id, received FROM devices WHERE {whose}"),  # noqa: S608 - a constant
            self._rows(f"SELECT * FROM log WHERE {whose} ORDER BY seq"),  # noqa: S608 - a constant
            self._rows(f"SELECT * FROM objects WHERE {whose} ORDER BY 1, 2, 3"),  # noqa: S608 - a constant
        ]

    async def heard_since(self, count: int) -> list[str]:
        """What her phone was told behind the first so many messages, but for the pong."""
        return [frame["type"] for frame in (await self._phone.answers())[count:-1]]

    @property
    def heard(self) -> int:
        return len(self._phone.heard)


@asynccontextmanager
async def a_hub(folder: Path) -> AsyncIterator[ServedHub]:
    folder.mkdir(exist_ok=True)
    (folder / "secret").write_bytes(SECRET.material)
    (folder / "secret").chmod(0o600)
    async with serve(settings_in(folder)) as hub:
        yield hub


def settings_in(folder: Path) -> Settings:
    """With the operator's way in open: nobody but the operator may go it."""
    secret, data, admin = folder / "secret", folder / "hub.db", folder / "admin"
    admin.write_text("the token of the operator, whom users do not know")
    admin.chmod(0o600)
    tokens = Tokens(admin_token_file=admin)
    return Settings(token_secret_file=secret, port=0, http_port=0, data=data, tokens=tokens)


async def greeted(hub: ServedHub, token: str, device: str, **hello: Any) -> Answers:
    """All that a hello is answered."""
    async with talking(hub) as talk:
        await talk.hello(token, device, **hello)
        return await talk.answers()


async def told(hub: ServedHub, *messages: Json, device: str = "phone") -> Answers:
    """All that Mallory's device is told when it says this, and what he then is served anew."""
    async with talking(hub) as talk:
        await talk.hello(token("mallory"), device)
        for message in messages:
            await talk.say(**message)
        answers = list(await talk.answers())
    return answers + await greeted(hub, token("mallory"), "another")


@asynccontextmanager
async def adas_hub(folder: Path) -> AsyncIterator[tuple[ServedHub, Ada]]:
    async with a_hub(folder) as hub, talking(hub) as phone:
        ada = Ada(hub, folder / "hub.db", phone)
        await ada.settle()
        yield hub, ada


def comparable(value: Any) -> Any:
    """An answer less what is another one in each hub."""
    if isinstance(value, list | tuple):
        return [comparable(each) for each in value]
    if isinstance(value, dict):
        return {k: "its own" if k in OWN and v else comparable(v) for k, v in value.items()}
    return value
