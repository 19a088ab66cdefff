"""Web pages that poll: which may, and what their browser has to hear so that it lets them."""

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from hub.edge import Edge
from hub.settings import Settings
from tests.hub.http.served import Reply, ServedHub, dev_settings, serve
from tests.hub.http.test_app import NOTHING, is_failure

APP, EVIL = "https://app.example", "https://evil.example"
ASKING = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


async def poll_from(hub: ServedHub, origin: str, **body: Any) -> Reply:
    return await hub.ask("POST", "/sync", json={**NOTHING, **body}, headers={"Origin": origin})


def allows(reply: Reply) -> str | None:
    allowed: str | None = reply.headers.get("access-control-allow-origin")
    return allowed


async def test_a_listed_page_may_poll_and_read_what_it_is_told(tmp_path: Path) -> None:
    async with serve(dev_settings(tmp_path, origins=(APP,))) as hub:
        for told, status in (({}, 200), ({"auth_token": ""}, 401), ({"logical_clock": 9}, 409)):
            reply = await poll_from(hub, APP, **told)
            assert (reply.status, allows(reply), reply.headers["vary"]) == (status, APP, "Origin")
            assert "access-control-allow-credentials" not in reply.headers


async def test_a_page_of_another_origin_is_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    async with serve(dev_settings(tmp_path, origins=(APP,))) as hub:
        for origin in (EVIL, "null", APP + ".evil.example", APP + ":8443", "http://app.example"):
            reply = await poll_from(hub, origin)
            assert is_failure(reply, 403)
            assert allows(reply) is None


async def test_who_is_no_page_polls_as_ever(tmp_path: Path) -> None:
    async with serve(dev_settings(tmp_path, origins=(APP,))) as hub:
        reply = await hub.ask("POST", "/sync", json=NOTHING)
        assert (reply.status, allows(reply)) == (200, None)


async def preflight(hub: ServedHub, origin: str) -> tuple[int, dict[str, str]]:
    headers = {"Origin": origin, **ASKING}
    async with hub.session.options(f"{hub.url}/sync", headers=headers) as answer:
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}


async def test_a_browser_that_asks_beforehand_is_told(tmp_path: Path) -> None:
    async with serve(dev_settings(tmp_path, origins=(APP,))) as hub:
        status, headers = await preflight(hub, APP)
        assert status == 204
        assert headers["access-control-allow-origin"] == APP
        assert headers["access-control-allow-methods"] == "POST"
        assert headers["access-control-allow-headers"] == "Content-Type"
        assert (await preflight(hub, EVIL))[0] == 403
        asked = await hub.ask("OPTIONS", "/sync", headers={"Origin": APP})
        assert is_failure(asked, 405)


async def test_without_a_list_the_token_alone_counts(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s" * 40)
    settings = Settings(token_secret_file=secret, port=0, http_port=0, data=tmp_path / "hub.db")
    async with serve(settings) as hub:
        reply = await poll_from(hub, EVIL)
        assert (reply.status, allows(reply)) == (401, EVIL)


@pytest.mark.parametrize(("origin", "status"), [("http://localhost:3000", 200), (EVIL, 403)])
async def test_under_dev_only_pages_of_this_machine_may_poll(
    served: ServedHub, origin: str, status: int
) -> None:
    assert (await poll_from(served, origin)).status == status


@pytest.mark.parametrize(("origin", "is_let_in"), [(APP, True), (None, True), (EVIL, False)])
async def test_on_a_websocket_it_is_the_same(
    tmp_path: Path, origin: str | None, is_let_in: bool
) -> None:
    async with serve(dev_settings(tmp_path, origins=(APP,))) as hub:
        named = Origin(origin) if origin else None
        opening = connect(hub.websocket_url, origin=named, subprotocols=[Subprotocol("mobync.v1")])
        if is_let_in:
            async with opening as page:
                assert page.subprotocol == "mobync.v1"
            return
        with pytest.raises(InvalidStatus) as refused:
            await opening
        assert refused.value.response.status_code == 403


async def test_health_is_for_no_page(tmp_path: Path) -> None:
    async with serve(dev_settings(tmp_path, origins=(APP,))) as hub:
        reply = await hub.ask("GET", "/healthz", headers={"Origin": EVIL})
        assert (reply.status, allows(reply)) == (200, None)


@pytest.mark.parametrize(
    ("trusted", "address"), [(("127.0.0.1",), "203.0.113.7"), ((), "127.0.0.1")]
)
async def test_a_request_s_address_is_the_peer_s_where_a_trusted_proxy_says_it(
    tmp_path: Path, trusted: tuple[str, ...], address: str
) -> None:
    settings = dev_settings(tmp_path, edge=Edge(trusted_proxies=trusted))
    with capture_logs() as logs:
        async with serve(settings) as hub:
            headers = {"X-Forwarded-For": "10.1.2.3, 203.0.113.7"}
            await hub.ask("POST", "/sync", json=NOTHING, headers=headers)
            await hub.ask("POST", "/sync", json={**NOTHING, "auth_token": ""}, headers=headers)
    assert [line["address"] for line in logs if "address" in line] == [address] * 2
