"""Devices that reach the hub through Caddy and through nginx, as docs/examples sets these up.

Both are run where they are installed; `.ci/run` installs them.
"""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from client import Device
from hub.limits import Limits
from tests.certificates import make_pair
from tests.crash.processes import HubProcess, PlainDevice, a_device, a_hub_process, in_time
from tests.hub.http.test_app import NOTHING
from tests.proxies.running import (
    CADDY,
    EXAMPLES,
    NGINX,
    SHORT_SECONDS,
    Place,
    Proxy,
    free_port,
    running,
)

ELSEWHERE: Final = "127.0.0.2"
"""Another address of this machine, from which a peer comes; the proxy is at 127.0.0.1."""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason=f"only Linux has {ELSEWHERE} without being told"
)


class Site:
    """A hub behind a proxy."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.url = f"wss://localhost:{place.port}/sync"
        self.trust = ssl.create_default_context(cafile=str(place.cert))

    @asynccontextmanager
    async def hub(self) -> AsyncIterator[HubProcess]:
        """It serves for as long as this lasts, always at the same place."""
        ports = "--port", str(self.place.hub_port), "--http-port", str(self.place.http_port)
        pings = "--ping-seconds", "0.4", "--ping-timeout-seconds", "5"
        data = self.place.folder / "hub.db"
        with a_hub_process(data, *ports, *pings, "--trusted-proxies", "127.0.0.1") as served:
            yield served
            assert await asyncio.to_thread(served.stop) == 0  # devices answer meanwhile

    @asynccontextmanager
    async def device(self, name: str, **options: Any) -> AsyncIterator[PlainDevice]:
        here = (ELSEWHERE, 0)
        async with a_device(self.url, name, ssl=self.trust, local_addr=here, **options) as device:
            await in_time(device.hear_until("ready"))
            yield device

    async def poll(self, **headers: str) -> int:
        connector = aiohttp.TCPConnector(local_addr=(ELSEWHERE, 0), ssl=self.trust)
        url = self.url.replace("wss", "https")
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(url, json=NOTHING, headers=headers) as answer,
        ):
            return answer.status

    def addresses(self, event: str) -> set[str]:
        """From where, by the hub's log, this was done."""
        lines = (self.place.folder / "hub.log").read_text().splitlines()
        logged = [json.loads(line) for line in lines if line.startswith("{")]
        return {line["address"] for line in logged if line["event"] == event}


@pytest.fixture(params=[CADDY, NGINX], ids=["caddy", "nginx"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    proxy: Proxy = request.param
    place = Place(tmp_path, free_port(), free_port(), free_port())
    make_pair(place.cert, place.key)
    with running(proxy, place):
        yield Site(place)


async def test_a_device_and_a_polling_client_are_served_and_known_by_their_own_address(
    site: Site,
) -> None:
    """Whatever they say of themselves: the proxy says it better."""
    lies = {"X-Forwarded-For": "10.9.9.9", "Forwarded": "for=10.9.9.9"}
    async with site.hub():
        async with site.device("phone", additional_headers=lies):
            pass
        assert await site.poll(**lies) == 200
    assert site.addresses("hello") == {ELSEWHERE}
    assert site.addresses("poll") == {ELSEWHERE}


async def test_a_quiet_socket_outlives_the_proxy_s_patience_for_the_hub_pings_it(
    site: Site,
) -> None:
    async with site.hub(), site.device("phone") as phone:
        await asyncio.sleep(2.2 * SHORT_SECONDS)  # What is tested is that it may pass.
        await phone.say("ping")
        assert (await in_time(phone.hear()))["type"] == "pong"


async def test_a_device_comes_back_by_itself_when_the_hub_has_been_started_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(site.place.cert))
    async with Device(site.url, token="ada", name="phone") as phone:
        for life in ("first", "second"):
            async with site.hub():
                await phone.create("tasks", {"id": life, "text": "x" * 100_000})
                await phone.synchronize(60)
                async with site.device("laptop") as laptop:
                    await laptop.say("ping")
                    assert (await in_time(laptop.hear()))["type"] == "pong"


async def test_nothing_but_sync_is_for_the_internet(site: Site) -> None:
    async with site.hub(), aiohttp.ClientSession() as session:
        for path in ("/healthz", "/readyz", "/metrics", "/", "/sync/"):
            url = f"https://localhost:{site.place.port}{path}"
            async with session.get(url, ssl=site.trust) as answer:
                assert answer.status == 404


def test_nginx_waits_for_longer_than_the_hub() -> None:
    text = (EXAMPLES / "nginx.conf").read_text()
    for name in ("proxy_read_timeout", "proxy_send_timeout"):
        assert int(text.split(f"{name} ")[1].split("s;")[0]) > Limits().ping_timeout_seconds
    assert Limits().max_body_bytes == 8 * 2**20
    assert "client_max_body_size  8m;" in text
