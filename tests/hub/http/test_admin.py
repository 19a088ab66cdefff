"""An operator revokes over HTTP, with the admin token, and by the socket beside the hub's file."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs
from websockets.exceptions import ConnectionClosed

from hub.errors import HubError, SettingsError
from hub.http import control
from hub.http.admin import PATH, Order
from hub.http.bearer import read_token
from hub.http.control import NotReached, order, short_name, socket_of
from hub.hub import Hub
from hub.server import serving
from hub.tokens import Tokens
from tests.hub.http.served import LiveDevice, Reply, ServedHub, dev_settings, serve

SECRET = "an admin token that is long enough, and nobody's business"


def admin_settings(folder: Path) -> Any:
    (folder / "admin.token").write_text(SECRET + "\n")
    (folder / "admin.token").chmod(0o600)
    return dev_settings(folder, tokens=Tokens(admin_token_file=folder / "admin.token"))


@asynccontextmanager
async def administered(folder: Path) -> AsyncIterator[ServedHub]:
    async with serve(admin_settings(folder)) as hub:
        yield hub


async def say(hub: ServedHub, method: str = "POST", **body: object) -> Reply:
    headers = {"Authorization": f"Bearer {SECRET}"}
    return await hub.ask(method, PATH, headers=headers, data=json.dumps(body) if body else None)


async def ended(device: LiveDevice) -> int | None:
    """The code with which the hub closed, once it has."""
    try:
        while True:
            await device.hear()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


async def test_a_revoked_user_is_gone_when_the_answer_comes(tmp_path: Path) -> None:
    async with administered(tmp_path) as hub, hub.live_device("ada") as phone:
        reply = await say(hub, user="ada")
        assert (reply.status, reply.json) == (200, {"success": True, "revoked": True, "closed": 1})
        assert await ended(phone) == 4403
        poll = {"auth_token": "ada", "logical_clock": 0, "diffs": []}
        assert (await hub.ask("POST", "/sync", json=poll)).status == 403
        listed = (await say(hub, "GET")).json["revoked"]
        assert [(each["kind"], each["user"]) for each in listed] == [("user", "ada")]
        for changed in (True, False):
            undone = {"success": True, "revoked": False, "changed": changed}
            assert (await say(hub, user="ada", undo=True)).json == undone
        async with hub.live_device("ada"):
            pass


async def test_a_device_and_a_token_are_named_by_their_own_fields(tmp_path: Path) -> None:
    async with administered(tmp_path) as hub, hub.live_device("ada", "tab") as tab:
        async with hub.live_device("ada", "phone"):
            assert (await say(hub, user="ada", device="tab")).json["closed"] == 1
            assert await ended(tab) == 4403
        assert (await say(hub, token="6f1c", until=2**53 - 1)).json["closed"] == 0
        listed = (await say(hub, "GET")).json["revoked"]
        assert [sorted(each.keys() - {"at"}) for each in listed] == [
            ["device", "kind", "user"],
            ["kind", "token", "until"],
        ]


async def test_the_request_that_the_page_shows_revokes_alice(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "operating.md").read_text()
    head, _, body = page.partition("```http\n")[2].partition("```")[0].partition("\n\n")
    request, header = head.splitlines()
    method, path = request.split()
    name, shown = header.replace("THE-ADMIN-TOKEN", SECRET).split(": ")
    async with administered(tmp_path) as hub, hub.live_device("alice") as phone:
        reply = await hub.ask(method, path, headers={name: shown}, data=body)
        assert json.dumps(reply.json) in page
        assert await ended(phone) == 4403


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "Bearer",
        "Bearer wrong",
        SECRET,
        f"Basic {SECRET}",
        f"Bearer {SECRET}x",
        f"bearer {SECRET}",
        "Bearer \xe9",
    ],
)
async def test_without_the_admin_token_nothing_is_said_or_done(tmp_path: Path, shown: str) -> None:
    async with administered(tmp_path) as hub, hub.live_device("ada") as phone:
        with capture_logs() as logs:
            for method in ("POST", "GET"):
                headers = {"Authorization": shown} if shown else {}
                reply = await hub.ask(method, PATH, headers=headers, data='{"user": "ada"}')
                assert (reply.status, reply.json["success"]) == (401, False)
        assert SECRET not in repr(logs)
        await phone.say(type="ping")
        assert (await phone.hear())["type"] == "pong"


@pytest.mark.parametrize(
    "body",
    ["", "{}", "[]", "no JSON", '{"user": ""}', '{"user": 5}', '{"user": "a", "token": "b"}',
     '{"device": "phone"}', '{"user": "ada", "devise": "phone"}', '{"token": "a\\u0000b"}',
     '{"user": "' + "x" * 129 + '"}', "[" * 9999, '{"user": "a\\nb"}', '{"undo": true}'],
)  # fmt: skip
async def test_an_order_that_is_none_is_malformed(tmp_path: Path, body: str) -> None:
    async with administered(tmp_path) as hub:
        headers = {"Authorization": f"Bearer {SECRET}"}
        reply = await hub.ask("POST", PATH, headers=headers, data=body)
        assert (reply.status, reply.json["success"]) == (400, False)
        assert reply.json["message"].startswith("malformed: ")
        assert (await say(hub, "GET")).json["revoked"] == []


async def test_it_is_off_unless_there_is_an_admin_token(served: ServedHub) -> None:
    for method in ("POST", "GET"):
        assert (await served.ask(method, PATH, data="{}")).status == 404


def test_an_admin_token_that_could_be_guessed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("x" * 31 + "\n")
    with pytest.raises(SettingsError, match="has 31 bytes") as caught:
        read_token(tmp_path / "t", "admin_token_file")
    assert caught.value.settings == ("admin_token_file",)
    assert "xxx" not in str(caught.value)
    (tmp_path / "t").write_text("x" * 32 + "\n")
    (tmp_path / "t").chmod(0o644)
    with capture_logs() as logs:
        assert read_token(tmp_path / "t", "admin_token_file") == b"x" * 32
    assert [each["log_level"] for each in logs] == ["warning"]
    with pytest.raises(SettingsError, match="cannot be read"):
        read_token(tmp_path / "none", "admin_token_file")


# The socket beside the file


async def test_only_the_hubs_own_user_gets_at_the_socket_and_it_goes_with_the_hub(
    tmp_path: Path,
) -> None:
    data = tmp_path / "hub.db"
    async with serving(dev_settings(tmp_path)):
        mode = socket_of(data).stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        assert (await order(data, Order("ada")))["closed"] == 0
    assert not socket_of(data).exists()
    with pytest.raises(NotReached, match=r"did not answer .* Try again"):
        await order(data, Order("ada"))


async def test_a_socket_that_a_killed_hub_left_is_taken_over(tmp_path: Path) -> None:
    socket_of(tmp_path / "hub.db").touch()
    async with serving(dev_settings(tmp_path)):
        assert (await order(tmp_path / "hub.db", Order("ada")))["revoked"]


async def test_the_socket_takes_no_polls_and_says_what_is_wrong(tmp_path: Path) -> None:
    data = tmp_path / "hub.db"
    async with serving(dev_settings(tmp_path)):
        with pytest.raises(HubError, match="malformed"):
            await order(data, Order("ada", token="both"))
        assert await status_of_a_poll(data) == 404


async def status_of_a_poll(data: Path) -> int:
    with short_name(socket_of(data)) as name:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(name)) as session,
            session.post("http://hub/sync", data=b"{}") as response,
        ):
            return response.status


async def test_a_socket_in_a_folder_of_a_long_name_is_reached(tmp_path: Path) -> None:
    """The system takes names of 107 bytes, and folders of tests and applications have longer ones.

    The hub warned and served, and the command that turns somebody away could not reach it.
    """
    long = tmp_path / ("x" * 120)
    long.mkdir()
    async with serving(dev_settings(long)):
        assert (await order(long / "hub.db", Order("ada")))["revoked"]
    assert not socket_of(long / "hub.db").exists()


async def test_a_hub_whose_socket_cannot_be_serves_all_the_same(tmp_path: Path) -> None:
    socket_of(tmp_path / "hub.db").mkdir()
    with capture_logs() as logs:
        async with serve(dev_settings(tmp_path)) as hub, hub.live_device("ada"):
            pass
    assert [each["event"] for each in logs].count("no control socket") == 1


async def test_a_hub_that_does_not_answer_in_time_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its work lasts for as long as the test likes: a swift one answers within a millisecond."""
    go_on = asyncio.Event()

    async def revoke(_hub: Hub, _revocation: object) -> int:
        await go_on.wait()
        return 0

    monkeypatch.setattr(Hub, "revoke", revoke)
    monkeypatch.setattr(control, "ANSWER_SECONDS", 0.05)
    async with serving(dev_settings(tmp_path)):
        with pytest.raises(NotReached):
            await order(tmp_path / "hub.db", Order("ada"))
        go_on.set()
