"""`GET /admin/live` and the page's files: who gets them, what is told, and what it may cost."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import pytest

from hub.counts import SECONDS
from hub.http import live
from hub.page.moments import Moments, quantile
from hub.page.watching import A_SECOND, MOST_WATCHERS, Watch, touched
from hub.server import serving
from hub.settings import Settings
from hub.store.interface import Incoming, Stored
from hub.user import Waiting
from tests.hub.fakes import a_hub, create, in_virtual_time, update
from tests.hub.http.served import ServedHub, dev_settings, serve
from tests.hub.http.test_admin import SECRET, administered

BEARER: Final = {"Authorization": f"Bearer {SECRET}"}


@asynccontextmanager
async def watching(hub: ServedHub, query: str = "") -> AsyncIterator[AsyncIterator[Any]]:
    """The hub's events as (name, data)."""
    async with hub.session.get(f"{hub.url}/admin/live{query}", headers=BEARER) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        yield _events(response.content)


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[Any]:
    while name := (await content.readline()).decode():
        data = (await content.readline()).decode()
        assert await content.readline() == b"\n"
        yield name[len("event: ") : -1], json.loads(data[len("data: ") :])


async def told(events: AsyncIterator[Any], wanted: str) -> Any:
    async for name, data in events:
        if name == wanted:
            return data
    raise AssertionError(f"the hub ended before it told of {wanted}")


# What is told


async def test_who_watches_is_told_what_runs_how_it_stands_and_each_push(tmp_path: Path) -> None:
    async with (
        administered(tmp_path) as hub,
        hub.live_device("ada") as phone,
        watching(hub) as events,
    ):
        assert (await told(events, "hub"))["version"]
        await phone.say(type="push", push_id=1, diffs=[create("a"), update("nobody")])
        [push] = (await told(events, "pushes"))["pushes"]
        assert [push[name] for name in ("user", "device", "clock")] == ["ada", "phone", 1]
        assert [push[name] for name in ("diffs", "lost", "rejected")] == [2, 0, 1]
        assert [each["id"] for each in push["objects"]] == ["a", "nobody"]
        moments = await told(events, "moments")
        while not any(each["pushes"] for each in moments):
            moments = await told(events, "moments")
        assert (moments[-1]["connections"], moments[-1]["users"]) == (1, 1)
        standing = await told(events, "standing")
        assert (standing["live"], standing["trouble"]) == (1, "")
        assert standing["file"] > 0


async def test_no_value_of_a_push_is_told_to_who_watches(tmp_path: Path) -> None:
    async with (
        administered(tmp_path) as hub,
        hub.live_device("ada") as phone,
        watching(hub) as events,
    ):
        await told(events, "hub")
        await phone.say(type="push", push_id=1, diffs=[create("a", text="dear diary")])
        assert "diary" not in json.dumps(await told(events, "pushes"))


async def test_who_watches_one_user_is_told_of_nobody_else(tmp_path: Path) -> None:
    async with administered(tmp_path) as hub, watching(hub, "?user=ben") as events:
        await told(events, "hub")
        async with hub.live_device("ada") as adas, hub.live_device("ben") as bens:
            for phone in (adas, bens):
                await phone.say(type="push", push_id=1, diffs=[create("a")])
                assert (await phone.hear())["type"] == "ack"
            pushes = (await told(events, "pushes"))["pushes"]
            assert [push["user"] for push in pushes] == ["ben"]


async def test_a_hub_that_stops_says_so_to_who_watches(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        settings = dev_settings(tmp_path)
        async with serving(settings) as (websocket_url, http_url):
            watched = watching(ServedHub(websocket_url, http_url, session))
            events = await stack.enter_async_context(watched)
            await told(events, "hub")
        assert await told(events, "leaving") == {}


# Bounds


def a_push(user: str, clock: int) -> tuple[Waiting, Stored]:
    pusher: Any = None
    incoming = Incoming(user, "phone", clock, [create(f"o{clock}")])
    return Waiting(incoming, pusher, 100), Stored(clock, "phone", clock, b"[]")


def heard(watch: Watch, user: str, count: int) -> None:
    for clock in range(1, count + 1):
        waiting, stored = a_push(user, clock)
        watch.hear([waiting], [stored])


def test_who_takes_nothing_keeps_no_more_than_a_second_has_and_is_told_of_the_rest() -> None:
    watch = Watch()
    heard(watch, "ada", 1000)
    pushes = watch.taken()
    assert pushes is not None
    assert (len(pushes.pushes), pushes.left_out) == (A_SECOND, 1000 - A_SECOND)
    assert watch.taken() is None
    heard(watch, "ada", 1)
    assert (left := watch.taken()) is not None
    assert (len(left.pushes), left.left_out) == (0, 1)
    watch.make_room()
    heard(watch, "ada", 1)
    assert (more := watch.taken()) is not None
    assert (len(more.pushes), more.left_out) == (1, 0)


def test_a_busy_user_takes_no_room_from_the_one_who_is_watched() -> None:
    watch = Watch("ben")
    heard(watch, "ada", 1000)
    heard(watch, "ben", 1)
    assert (pushes := watch.taken()) is not None
    assert [each.user for each in pushes.pushes] == ["ben"]
    assert pushes.left_out == 0


def test_a_push_that_had_been_stored_before_is_not_told_again() -> None:
    watch = Watch()
    waiting, _ = a_push("ada", 1)
    watch.hear([waiting], [None])
    assert watch.taken() is None


@pytest.mark.parametrize("diff", [None, 1, [], {}, {"model": 5, "json_data": {"id": []}}])
def test_a_diff_may_be_any_json_and_then_names_nothing(diff: Any) -> None:
    assert (touched(diff).model, touched(diff).id) == ("", "")


def test_a_name_without_end_is_cut() -> None:
    assert len(touched(create("x" * 100_000)).id) == 300


async def test_only_so_many_watch_and_a_place_is_free_when_one_leaves(tmp_path: Path) -> None:
    async with administered(tmp_path) as hub:
        watchers = [watching(hub) for _ in range(MOST_WATCHERS)]
        for each in watchers:
            await told(await each.__aenter__(), "hub")
        refused = await hub.ask("GET", "/admin/live", headers=BEARER)
        assert (refused.status, "watch this hub already" in refused.json["message"]) == (503, True)
        await watchers[0].__aexit__(None, None, None)
        async with asyncio.timeout(10):
            while await _status(hub) != 200:
                pass
        for each in watchers[1:]:
            await each.__aexit__(None, None, None)


async def _status(hub: ServedHub) -> int:
    async with hub.session.get(f"{hub.url}/admin/live", headers=BEARER) as response:
        return response.status


async def test_who_takes_nothing_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off = asyncio.Event()
    monkeypatch.setattr(live, "logger", SimpleNamespace(info=lambda _said: cut_off.set()))
    monkeypatch.setattr(live, "TAKE_SECONDS", 0.2)
    monkeypatch.setattr(live, "event", lambda name, said: b": " + b"x" * 4_000_000 + b"\n\n")
    async with administered(tmp_path) as hub:
        host, port = hub.url.removeprefix("http://").split(":")
        _reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(
            b"GET /admin/live HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer %b\r\n\r\n"
            % SECRET.encode()
        )
        await asyncio.wait_for(cut_off.wait(), 10)
        writer.close()


# Moments


@in_virtual_time
async def test_the_last_minutes_are_kept_though_nobody_watches(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        moments = Moments(site.hub)
        taking = asyncio.create_task(moments.taking())
        phone = await site.live("phone", "ada")
        phone.push(1, create("a"))
        await phone.hear()
        await asyncio.sleep(400)
        taking.cancel()
        kept = moments.after(0)
        assert len(kept) == 300
        assert [each.number for each in kept] == list(range(kept[0].number, kept[0].number + 300))
        assert kept[-1].connections == 1
        assert moments.after(kept[-2].number) == [kept[-1]]


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([0] * 16, 0.5, None),
        ([4] + [0] * 15, 0.5, 0.00025),
        ([0, 2, 2] + [0] * 13, 0.5, 0.001),
        ([1] + [0] * 14 + [1], 0.99, 10.0),
    ],
)
def test_a_share_of_all_lies_between_the_bounds(
    counts: list[int], share: float, expected: float | None
) -> None:
    assert quantile(SECONDS, counts, share) == expected


# Who may


async def test_without_an_admin_token_the_page_says_how_to_turn_it_on_and_nothing_else(
    tmp_path: Path,
) -> None:
    (tmp_path / "secret").write_text("x" * 32)
    (tmp_path / "secret").chmod(0o600)
    settings = Settings(
        port=0, http_port=0, data=tmp_path / "hub.db", token_secret_file=tmp_path / "secret"
    )
    async with serve(settings) as hub:
        async with hub.session.get(f"{hub.url}/admin/") as response:
            assert response.status == 404
            assert "--admin-token-file" in await response.text()
        for path in ("/admin/live", "/admin/users", "/admin/page/main.js"):
            assert (await hub.ask("GET", path)).status == 404


async def test_the_pages_files_may_load_nothing_from_elsewhere_and_be_framed_by_nobody(
    tmp_path: Path,
) -> None:
    async with administered(tmp_path) as hub:
        for path in ("/admin/", "/admin/page/main.js", "/admin/page/style.css"):
            async with hub.session.get(hub.url + path) as response:
                assert response.status == 200
                policy = response.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "frame-ancestors 'none'" in policy
                assert "unsafe" not in policy
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Referrer-Policy"] == "no-referrer"
                assert "Server" not in response.headers
        async with hub.session.get(f"{hub.url}/admin", allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (308, "admin/")
        answer = await hub.ask("GET", "/admin/users", headers=BEARER)
        assert answer.headers["cache-control"] == "no-store"


async def test_a_hub_for_trying_lets_whoever_is_here_look_and_change_nothing(
    tmp_path: Path,
) -> None:
    async with serve(dev_settings(tmp_path)) as hub:
        assert (await hub.ask("GET", "/admin/users")).status == 200
        assert (await hub.ask("POST", "/admin/revoke", json={"user": "ada"})).status == 404
        assert (await hub.ask("POST", "/admin/restore", json={})).status == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Host": "evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_a_page_from_elsewhere_gets_nothing_of_a_hub_for_trying(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async with serve(dev_settings(tmp_path)) as hub:
        for path in ("/admin/users", "/admin/live"):
            assert (await hub.ask("GET", path, headers=headers)).status == 403
