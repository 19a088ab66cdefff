"""A hub with many users that the tests of its page share, and what devices do there."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp

from client import Device
from hub.embedded import Hub
from hub.settings import Settings
from hub.tokens import Tokens
from tests.hub.http.served import Json, ServedHub

if TYPE_CHECKING:
    from playwright.async_api import Browser

TOKEN: Final = "the token of the operator who looks at the page"
MANY: Final = 100_000
_MANY_USERS: Final = """
INSERT INTO users (name, log_id, head, dropped)
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :many)
SELECT printf('u-%05d', n), 'log ' || n, 5, 5 FROM numbers
"""
_THEIR_DEVICES: Final = """
INSERT INTO devices (user_no, name, received, seen) SELECT user_no, 'phone', 2, 1 FROM users
"""


class Served(NamedTuple):
    settings: Settings
    hub: Hub
    browser: "Browser"


def settings_in(folder: Path, port: int = 0) -> Settings:
    token = folder / "admin.token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    tokens = Tokens(admin_token_file=token)
    return Settings(dev=True, port=0, http_port=port, data=folder / "hub.db", tokens=tokens)


async def fill(settings: Settings) -> None:
    """Have MANY users in the file of a hub that does not serve yet, each three pushes behind."""
    async with Hub(settings):
        pass
    with closing(sqlite3.connect(settings.data)) as file, file:
        file.execute(_MANY_USERS, {"many": MANY})
        file.execute(_THEIR_DEVICES)


def a_device(served: Served, user: str, name: str) -> Device:
    return Device(served.hub.url, token=user, name=name)


async def quarrel(served: Served, user: str) -> None:
    """Have a title of `tasks t1` set by two devices that had not heard of each other: Soy loses."""
    async with aiohttp.ClientSession() as session:
        hub = ServedHub(served.hub.url, served.hub.http_url, session)
        async with hub.live_device(user, "phone") as phone, hub.live_device(user, "tab") as tab:
            await phone.say(type="push", push_id=1, diffs=[title_set("create", "Milk", 0, 1000)])
            await phone.say(type="push", push_id=2, diffs=[title_set("update", "Oat", 1, 3000)])
            while (await tab.hear())["logical_clock"] < 2:
                pass
            await tab.say(type="push", push_id=1, diffs=[title_set("update", "Soy", 1, 2000)])
            while (await tab.hear())["type"] != "ack":
                pass


def title_set(kind: str, title: str, base: int, at: int) -> Json:
    fields = {"id": "t1", "title": title}
    return {
        "id": f"{kind}-{title}", "logical_clock": base, "utc_timestamp": at, "type": kind,
        "model": "tasks", "json_data": fields,
    }  # fmt: skip
