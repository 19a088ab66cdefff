"""What it costs the store when devices come back: units of work are counted, not time.

Each unit is a hop to a thread of the store and back, with a handful of statements by index.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hub.limits import Limits
from tests.hub.catching_up import comes, folded, kinds, writer_of
from tests.hub.fakes import Site, a_hub, create, in_virtual_time

CALLS = ("user", "device", "first_clock", "log", "count", "page", "objects")
USERS = 20
DEVICES = 5


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Site], Counter[str]]:
    """Counts what the store is asked from here on."""

    def counting(site: Site) -> Counter[str]:
        count: Counter[str] = Counter()

        def counted(name: str, ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            async def answer(*args: Any) -> Any:
                count[name] += 1
                return await ask(*args)

            return answer

        for name in CALLS:
            monkeypatch.setattr(site.store, name, counted(name, getattr(site.store, name)))
        return count

    return counting


@in_virtual_time
async def test_a_device_that_missed_nothing_costs_two_units(
    tmp_path: Path, asked: Callable[[Site], Counter[str]]
) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        await writer_of(site, [create("a")])
        count = asked(site)
        assert kinds(await comes(site, "phone", 1)) == ["welcome", "ready"]
        assert count == {"device": 2}


@in_virtual_time
async def test_a_device_that_missed_five_pushes_costs_four_units(
    tmp_path: Path, asked: Callable[[Site], Counter[str]]
) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        await writer_of(site, *([create(f"o{n}")] for n in range(6)))
        count = asked(site)
        assert kinds(await comes(site, "phone", 1)) == ["welcome", *["changes"] * 5, "ready"]
        assert count == {"device": 2, "first_clock": 1, "log": 1}


@in_virtual_time
async def test_a_hundred_devices_that_come_back_at_once_cost_four_units_each_and_one_a_user(
    tmp_path: Path, asked: Callable[[Site], Counter[str]]
) -> None:
    limits = Limits(max_devices_per_user=DEVICES + 1)
    async with a_hub(tmp_path / "hub.db", limits=limits) as site:
        for user in range(USERS):
            writer = await site.live("writer", f"user-{user}")
            for push_id in range(1, 7):
                writer.push(push_id, create(f"o{push_id}"))
                await writer.hear_until("ack")
            writer.vanish()
        await folded()
        count = asked(site)
        links = [site.connect() for _number in range(USERS * DEVICES)]
        for number, link in enumerate(links):
            user, device = divmod(number, DEVICES)
            log_id = f"log-{user + 1}"
            link.hello(f"d{device}", f"user-{user}", logical_clock=1, log_id=log_id)
        heard = await asyncio.gather(*(link.hear_until("ready") for link in links))
        assert all(kinds(frames).count("changes") == 5 for frames in heard)
        all_devices = USERS * DEVICES
        assert count == {
            "user": USERS,
            "device": 2 * all_devices,
            "first_clock": all_devices,
            "log": all_devices,
        }, "a device that comes back asks more of the store; see docs/performance.md"
