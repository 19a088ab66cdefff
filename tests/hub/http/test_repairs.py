"""An operator looks and repairs over HTTP, with the admin token, as by the verbs."""

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.http import repairs
from tests.hub.fakes import create, delete, update
from tests.hub.http.served import LiveDevice, Reply, ServedHub, serve
from tests.hub.http.test_admin import SECRET, administered
from tests.hub.http.test_metrics import settings_of

READS = (
    "users",
    "devices?user=ada",
    "log?user=ada",
    "objects?user=ada",
    "why?user=ada&model=tasks&id=a",
)


async def ask(hub: ServedHub, what: str, **body: object) -> Reply:
    headers = {"Authorization": f"Bearer {SECRET}"}
    method, data = ("POST", json.dumps(body)) if body else ("GET", None)
    return await hub.ask(method, f"/admin/{what}", headers=headers, data=data)


async def said(phone: LiveDevice, push_id: int, *diffs: Any) -> None:
    await phone.say(type="push", push_id=push_id, diffs=diffs)
    assert (await phone.hear())["type"] == "ack"


async def test_users_devices_and_objects_are_shown(tmp_path: Path) -> None:
    async with administered(tmp_path) as hub, hub.live_device("ada") as phone:
        await said(phone, 1, create("a", n=1), create("b"), create("c"))
        await said(phone, 2, update("a", 1, n=2), delete("b", 1))
        [user] = (await ask(hub, "users")).json["users"]
        assert (user["user"], user["clock"], user["objects"]) == ("ada", 2, 2)
        [device] = (await ask(hub, "devices?user=ada")).json["devices"]
        assert (device["device"], device["last_push_id"]) == ("phone", 2)
        reply = (await ask(hub, "objects?user=ada")).json
        assert ([each["id"] for each in reply["objects"]], reply["more"]) == (["a", "c"], False)
        before = (await ask(hub, "objects?user=ada&model=tasks&at=1")).json["objects"]
        assert [each["fields"].get("n") for each in before] == [1, None, None]


async def test_many_users_come_page_by_page_and_are_found_by_a_part_of_their_name(
    tmp_path: Path,
) -> None:
    async with administered(tmp_path) as hub:
        for name in ("ada", "ben", "Adam"):
            async with hub.live_device(name) as phone:
                await said(phone, 1, create("a"))
        first = (await ask(hub, "users?most=2")).json
        assert ([each["user"] for each in first["users"]], first["more"]) == (["Adam", "ada"], True)
        rest = (await ask(hub, "users?most=2&after=ada")).json
        assert ([each["user"] for each in rest["users"]], rest["more"]) == (["ben"], False)
        found = (await ask(hub, "users?find=AD&devices=5")).json
        assert [each["user"] for each in found["users"]] == ["Adam", "ada"]
        assert [each["device"] for each in found["devices"]["ada"]] == ["phone"]


async def test_who_is_connected_is_told_of_users_and_devices(tmp_path: Path) -> None:
    async with administered(tmp_path) as hub, hub.live_device("ada") as phone:
        await said(phone, 1, create("a"))
        async with hub.live_device("ben") as other:
            await said(other, 1, create("a"))
            here = (await ask(hub, "users?connected=true&find=A")).json
            assert here["connected"] == {"ada": {"phone": "live"}}
        assert (await ask(hub, "devices?user=ada")).json["connected"] == {"phone": "live"}


async def test_many_objects_come_page_by_page(tmp_path: Path) -> None:
    async with administered(tmp_path) as hub, hub.live_device("ada") as phone:
        await said(phone, 1, *(create(name) for name in "abcde"))
        pages: list[Any] = []
        behind = ""
        while not pages or pages[-1]["more"]:
            pages.append((await ask(hub, f"objects?user=ada&most=2{behind}")).json)
            last = pages[-1]["objects"][-1]
            behind = f"&after_model={last['model']}&after_id={last['id']}"
        assert [[each["id"] for each in page["objects"]] for page in pages] == [
            ["a", "b"],
            ["c", "d"],
            ["e"],
        ]


async def test_the_log_comes_some_pushes_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repairs, "PUSHES", 2)
    async with administered(tmp_path) as hub, hub.live_device("ada") as phone:
        for number in range(1, 4):
            await said(phone, number, create(f"o{number}"), update("nobody"))
        first = (await ask(hub, "log?user=ada")).json
        assert ([each["clock"] for each in first["pushes"]], first["more"]) == ([1, 2], True)
        assert first["pushes"][0]["diffs"][0]["json_data"] == {"id": "o1"}
        assert first["pushes"][0]["refused"]["rejected"][0]["code"] == "no_such_object"
        rest = (await ask(hub, "log?user=ada&after=2")).json
        assert ([each["clock"] for each in rest["pushes"]], rest["more"]) == ([3], False)
        assert (rest["first_clock"], (await ask(hub, "log?user=eve")).status) == (1, 404)


async def test_a_value_that_lost_is_explained_and_brought_back_to_live_devices(
    tmp_path: Path,
) -> None:
    async with administered(tmp_path) as hub, hub.live_device("ada") as phone:
        await said(phone, 1, create("a", n=1))
        await said(phone, 2, update("a", 1, n=2))
        why = (await ask(hub, "why?user=ada&model=tasks&id=a")).json["why"]
        assert [edit["fields"] for edit in why["edits"]] == [{"n": 1}, {"n": 2}]
        wanted = {"user": "ada", "model": "tasks", "id": "a", "field": "n", "clock": 1}
        with capture_logs() as logs:
            reply = await ask(hub, "restore", **wanted)
        assert reply.json == {"success": True, "clock": 3, "value": 1}
        assert (await phone.hear())["diffs"][0]["json_data"] == {"id": "a", "n": 1}
        assert [each["event"] for each in logs if each["log_level"] == "warning"] == [
            "value restored"
        ]


async def test_what_is_not_there_is_said_and_is_in_no_log(tmp_path: Path) -> None:
    async with administered(tmp_path) as hub, hub.live_device("ada") as phone:
        await said(phone, 1, create("a", n=1), update("secret diary", n=5))
        await said(phone, 2, delete("a", 1))
        lost = {"user": "ada", "model": "tasks", "id": "a", "field": "n", "clock": 1}
        with capture_logs() as logs:
            replies = [
                await ask(hub, "devices?user=eve"),
                await ask(hub, "why?user=ada&model=tasks&id=another+diary"),
                await ask(hub, "objects?user=ada&at=9"),
                await ask(hub, "restore", **{**lost, "clock": 9}),
                await ask(hub, "restore", **lost),
                await ask(hub, "restore", **{**lost, "id": "secret diary"}),
            ]
        assert [reply.status for reply in replies] == [404, 404, 404, 404, 409, 409]
        assert "object_deleted" in replies[4].json["message"]
        assert "no_such_object" in replies[5].json["message"]
        assert not any(reply.json["success"] for reply in replies)
        assert "diary" not in repr(logs)


@pytest.mark.parametrize(
    "what",
    ["devices", "devices?user=ada&x=1", "objects?user=ada&at=soon", "objects", "why?user=ada"],
)
async def test_what_is_asked_in_no_way_is_malformed(tmp_path: Path, what: str) -> None:
    async with administered(tmp_path) as hub:
        reply = await ask(hub, what)
        assert (reply.status, reply.json["success"]) == (400, False)
        assert reply.json["message"].startswith("malformed: ")


@pytest.mark.parametrize("body", ["", "[]", '{"user": "ada"}', "[" * 9999, '{"user": 5}'])
async def test_an_order_to_restore_that_is_none_is_malformed(tmp_path: Path, body: str) -> None:
    async with administered(tmp_path) as hub:
        headers = {"Authorization": f"Bearer {SECRET}"}
        reply = await hub.ask("POST", repairs.RESTORE, headers=headers, data=body)
        assert (reply.status, reply.json["success"]) == (400, False)


@pytest.mark.parametrize("shown", [{}, {"Authorization": f"Bearer {SECRET}x"}])
async def test_without_the_admin_token_nothing_is_shown_or_done(
    tmp_path: Path, shown: dict[str, str]
) -> None:
    async with administered(tmp_path) as hub:
        for what in READS:
            assert (await hub.ask("GET", f"/admin/{what}", headers=shown)).status == 401
        assert (await hub.ask("POST", repairs.RESTORE, headers=shown, data="{}")).status == 401


async def test_it_is_off_unless_there_is_an_admin_token(tmp_path: Path) -> None:
    async with serve(settings_of(tmp_path)) as served:
        for what in READS:
            assert (await served.ask("GET", f"/admin/{what}")).status == 404
