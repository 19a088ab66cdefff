"""Polls above a rate are answered later, and those far above it not at all for now."""

import asyncio
import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hub.http.app import listening
from hub.http.polling import PollRefused, poll
from hub.limits import Limits
from hub.rates import Rates
from tests.hub.fakes import START, Site, a_hub, in_virtual_time
from tests.hub.http.served import ServedHub, dev_settings

SLOW = Rates(user_rate=10, user_burst=20, address_rate=0, hello_rate=0)
HELLOS = Rates(user_rate=0, address_rate=0, hello_rate=1, hello_burst=2, exempt=())


def request(edits: int, user: str = "ada") -> dict[str, Any]:
    diffs = [
        {
            "id": f"{user}-{edits}-{number}",
            "owner": user,
            "logical_clock": 0,
            "utc_timestamp": START,
            "type": "create",
            "model": "tasks",
            "json_data": json.dumps({"id": f"{edits}-{number}"}),
        }
        for number in range(edits)
    ]
    return {"auth_token": user, "logical_clock": 0, "diffs": diffs}


async def seconds_for(site: Site, edits: int, user: str = "ada") -> float:
    begun = asyncio.get_running_loop().time()
    await poll(site.hub, json.dumps(request(edits, user)).encode())
    return asyncio.get_running_loop().time() - begun


@in_virtual_time
async def test_above_its_rate_a_user_s_polls_are_answered_later(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db", rates=SLOW) as site:
        assert await seconds_for(site, 19) < 0.1
        assert await seconds_for(site, 49) == pytest.approx(5, abs=0.1)
        assert await seconds_for(site, 9, "bob") < 0.1


@in_virtual_time
async def test_far_above_its_rate_a_user_s_polls_are_refused_and_nothing_of_them_is_stored(
    tmp_path: Path,
) -> None:
    async with a_hub(tmp_path / "hub.db", rates=SLOW) as site:
        with pytest.raises(PollRefused) as caught:
            await seconds_for(site, 300)
        assert caught.value.status is HTTPStatus.TOO_MANY_REQUESTS
        assert caught.value.retry_after == pytest.approx(28.1, abs=0.2)
        assert (await site.store.user("ada")).head == 0
        await asyncio.sleep(40)
        assert await seconds_for(site, 3) < 0.1


async def test_one_who_polls_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    async with (
        a_hub(tmp_path / "hub.db", rates=HELLOS) as site,
        listening(site.hub, dev_settings(tmp_path)) as url,
        aiohttp.ClientSession() as session,
    ):
        served = ServedHub("", url, session)
        address = site.hub.addresses.enter("127.0.0.1", asyncio.get_running_loop().time())
        assert address.hellos is not None
        address.hellos.spend(100, asyncio.get_running_loop().time())
        reply = await served.ask("POST", "/sync", json=request(0))
        assert reply.status == HTTPStatus.TOO_MANY_REQUESTS
        assert reply.json["success"] is False
        assert 90 <= int(reply.headers["retry-after"]) <= 100


async def test_an_address_has_so_many_requests_under_way(tmp_path: Path) -> None:
    limits = Limits(max_per_address=1)
    async with (
        a_hub(tmp_path / "hub.db", limits=limits, rates=Rates(exempt=())) as site,
        listening(site.hub, dev_settings(tmp_path, limits=limits)) as url,
        aiohttp.ClientSession() as session,
    ):
        served = ServedHub("", url, session)
        with site.hub.addresses.visit("127.0.0.1"):
            reply = await served.ask("POST", "/sync", json=request(0))
            assert reply.status == HTTPStatus.TOO_MANY_REQUESTS
        assert (await served.ask("POST", "/sync", json=request(0))).status == HTTPStatus.OK
