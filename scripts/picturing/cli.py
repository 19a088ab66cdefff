"""The command line of `scripts/screenshots`: pictures of the live page, for the docs."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import rich_click as click
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from hub import server
from hub.embedded import Hub
from hub.logs import configure
from scripts.picturing.crowd import lively_hub, settings_in
from tests.page.browser import a_browser
from tests.page.needs import what_is_missing

if TYPE_CHECKING:
    from playwright.async_api import Browser

ROOT: Final = Path(__file__).resolve().parents[2]


class Picture(NamedTuple):
    """One picture: what is shown, on how large a screen, in which colours."""

    name: str
    place: str
    wait_for: str
    size: tuple[int, int]
    scheme: Any


PICTURES: Final = (
    Picture("desktop", "", "table.users", (1120, 800), "light"),
    Picture("dark", "", "table.users", (1120, 800), "dark"),
    Picture("user", "#/user/ben", "#view table a.object", (1120, 800), "light"),
    Picture("history", "#/object/ben/tasks/lunch", ".edit.lost", (1120, 800), "dark"),
    Picture("phone", "", "table.users", (360, 1480), "light"),
)


@click.command(context_settings={"show_default": True})
@click.option("--seconds", default=240.0, help="How long the hub is busy before it is pictured.")
@click.option("--to", default=ROOT / "docs" / "page", type=click.Path(path_type=Path))
def main(*, seconds: float, to: Path) -> None:
    """Picture the live page of a hub with invented users."""
    if missing := what_is_missing():
        sys.exit(f"Nothing can be pictured: {missing}")
    configure("error", "text")
    to.mkdir(parents=True, exist_ok=True)
    asyncio.run(_picture_all(seconds, to))


async def _picture_all(seconds: float, to: Path) -> None:
    with TemporaryDirectory() as folder:
        async with a_browser() as browser, lively_hub(settings_in(Path(folder))) as hub:
            await _quarrel(hub)
            await asyncio.sleep(seconds)
            for picture in PICTURES:
                await _take(browser, hub, picture, to)


async def _take(browser: "Browser", hub: Hub, picture: Picture, to: Path) -> None:
    width, height = picture.size
    page = await browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme=picture.scheme,
        reduced_motion="reduce",  # or pushes would be pictured while they fade in
    )
    await page.goto(f"{hub.http_url}/admin/{picture.place}")
    await page.locator(picture.wait_for).first.wait_for()
    await page.locator(".pushes li:nth-child(6)").wait_for()
    if picture.place:  # of these, what is special to them, and not the charts once more
        await page.locator("#view").evaluate("view => view.scrollIntoView()")
    await page.screenshot(path=to / f"{picture.name}.png")
    await page.close()
    print(to / f"{picture.name}.png")


async def _quarrel(hub: Hub) -> None:
    """Two devices of ben's change one object without having heard of each other; one loses."""
    diffs = (
        ("create", {"title": "Lunch", "place": "the corner", "seats": 2}, 1),
        ("update", {"title": "Lunch with Ada", "seats": 3}, 3),
        ("update", {"title": "Late lunch", "place": "the harbour"}, 2),
    )
    async with _saying(hub, "work laptop") as laptop, _saying(hub, "watch") as watch:
        await _push(laptop, 1, *diffs[0])
        await _push(laptop, 2, *diffs[1])
        await _push(watch, 1, *diffs[2])


@asynccontextmanager
async def _saying(hub: Hub, device: str) -> AsyncIterator[ClientConnection]:
    protocol = Subprotocol("mobync.v1")
    async with connect(hub.url, subprotocols=[protocol], proxy=None) as connection:
        hello = {"type": "hello", "token": "ben", "device": device, "logical_clock": 0}
        await connection.send(json.dumps(hello))
        await _until(connection, "ready")
        yield connection


async def _push(
    connection: ClientConnection, push_id: int, kind: str, fields: dict[str, Any], second: int
) -> None:
    at = server.now() - 10_000 + second * 1000
    diff = {
        "id": f"lunch-{second}", "logical_clock": 0, "utc_timestamp": at, "type": kind,
        "model": "tasks", "json_data": {"id": "lunch", **fields},
    }  # fmt: skip
    await connection.send(json.dumps({"type": "push", "push_id": push_id, "diffs": [diff]}))
    await _until(connection, "ack")


async def _until(connection: ClientConnection, kind: str) -> None:
    while json.loads(await connection.recv())["type"] != kind:
        pass


if __name__ == "__main__":
    main()
