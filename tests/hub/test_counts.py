"""What the hub counts, seen from its devices' side: each thing that happens is counted once."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.auth import Grant
from hub.counts import OTHER, SECONDS, Counts, Spread
from hub.errors import Unauthorized
from hub.limits import Limits
from hub.rates import Rates
from hub.retention import Retention
from hub.store.interface import Incoming, Stored
from hub.user import Waiting
from protocol.messages import Rejected
from tests.hub.fakes import (
    FakeClock,
    a_hub,
    create,
    delete,
    in_virtual_time,
    settled,
    update,
)


@given(st.lists(st.floats(0, 20), min_size=1))
def test_each_value_is_counted_below_the_first_bound_that_it_does_not_exceed(
    values: list[float],
) -> None:
    one_by_one, at_once = Spread(SECONDS), Spread(SECONDS)
    for value in values:
        one_by_one.add(value)
    at_once.add_all(list(values))
    assert one_by_one.counts == at_once.counts
    assert at_once.sum == pytest.approx(sum(values))
    for place, bound in enumerate(SECONDS):
        assert sum(at_once.counts[: place + 1]) == sum(value <= bound for value in values)


@in_virtual_time
async def test_pushes_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        phone.push(1, create("a"), create("b"))
        phone.push(1, create("a"), create("b"))
        phone.push(2, update("nowhere", title="x"))
        await phone.hear_until("ack")
        await phone.hear_until("ack")
        counts = site.hub.counts
        assert (counts.pushes, counts.repeated, counts.failed) == (2, 1, 0)
        assert counts.diffs == 3
        assert counts.rejected == {"no_such_object": 1}
        assert counts.log_bytes > 0
        assert sum(counts.ack_seconds.counts) == 3
        assert sum(counts.group_pushes.counts) == sum(counts.commit_seconds.counts)
        assert sum(counts.broadcast_seconds.counts) == sum(counts.group_pushes.counts)


@in_virtual_time
async def test_what_the_store_could_not_take_is_counted_as_failed(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        site.store.failures = 1
        phone.push(1, create("a"))
        await phone.hear_all()
        counts = site.hub.counts
        assert (counts.pushes, counts.failed) == (0, 1)
        assert counts.closed == {1013: 1}
        assert sum(counts.ack_seconds.counts) == 0


@in_virtual_time
async def test_fields_that_lost_are_counted(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone, laptop = await site.live("phone"), await site.live("laptop")
        phone.push(1, create("a", title="one", done=False))
        await laptop.hear_until("changes")
        late = FakeClock()
        late.advance(30)
        phone.push(2, update("a", base=1, at=late.now, title="two", done=True))
        await laptop.hear_until("changes")
        laptop.push(1, update("a", base=1, title="three", done=False))
        await laptop.hear_until("ack")
        counts = site.hub.counts
        assert (counts.lost, counts.lost_fields) == (1, 2)


def test_what_an_application_rejects_is_counted_under_one_name_whatever_it_says() -> None:
    counts = Counts()
    rejected = [Rejected(0, "e1", code, "no") for code in ("forbidden", "ada", "bob's own")]
    stored = Stored(1, "phone", 1, b"[]", rejected=rejected)
    waiting = Waiting(Incoming("ada", "phone", 1, [{}] * 3), Nobody(), 100)
    counts.handed_out([waiting], [stored], waiting.came + 1)
    assert counts.rejected == {"forbidden": 1, OTHER: 2}
    assert counts.ack_seconds.sum == pytest.approx(1)


@in_virtual_time
async def test_each_way_to_be_brought_level_is_counted(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db", limits=Limits(max_log_pushes=2)) as site:
        phone = await site.live("phone")
        for number in range(1, 5):
            phone.push(number, create(f"a{number}"))
            await phone.hear_until("ack")
        await site.live("new")
        log_id = "log-1"
        await site.live("near", logical_clock=3, log_id=log_id)
        await site.live("far", logical_clock=1, log_id=log_id)
        await site.live("level", logical_clock=4, log_id=log_id)
        await site.live("astray", logical_clock=4, log_id="another")
        ways = site.hub.counts.catch_ups
        assert ways == {"level": 2, "objects": 2, "log": 1, "reset": 1}
        assert site.hub.counts.connections == 6


@in_virtual_time
async def test_a_slow_device_is_counted_when_it_falls_behind_and_when_it_is_cut_off(
    tmp_path: Path,
) -> None:
    limits = Limits(send_buffer_bytes=500, stall_seconds=20)
    async with a_hub(tmp_path / "hub.db", limits=limits) as site:
        phone, laptop = await site.live("phone"), await site.live("laptop")
        laptop.stall()
        for number in range(1, 4):
            phone.push(number, create(f"a{number}", title="x" * 300))
            await phone.hear_until("ack")
        assert site.hub.counts.fell_behind == 1
        await site.gone(laptop)
        assert site.hub.counts.stalled == 1


class Nobody:
    grant: Grant | None = None
    device = "phone"

    def settled(self, waiting: Waiting, stored: Stored | None, /) -> None: ...

    def failed(self, waiting: Waiting, /) -> None: ...


class Doubtful:
    def check(self, token: object) -> Any:
        raise Unauthorized("no", "expired")


@in_virtual_time
async def test_a_token_that_does_not_count_is_counted_by_the_reason(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db", authority=Doubtful()) as site:
        phone = site.connect()
        phone.hello("phone")
        await phone.hear_all()
        assert site.hub.counts.unauthorized == {"expired": 1}
        assert site.hub.counts.closed == {4401: 1}


@in_virtual_time
async def test_who_is_slowed_is_counted_once_each_time(tmp_path: Path) -> None:
    rates = Rates(user_rate=1, user_burst=1, address_rate=0, hello_rate=0)
    async with a_hub(tmp_path / "hub.db", rates=rates) as site:
        phone = await site.live("phone")
        for number in (1, 2, 3):
            phone.push(number, create(f"a{number}"))
        for _ in range(3):
            await phone.hear_until("ack")
        assert site.hub.counts.slowed == 3


@in_virtual_time
async def test_what_retention_lets_go_is_counted(tmp_path: Path) -> None:
    keeps = Retention(log_days=0, device_days=0, tombstone_days=0)
    clock = FakeClock()
    async with a_hub(tmp_path / "hub.db", retention=keeps, clock=clock) as site:
        phone = await site.live("phone")
        phone.push(1, create("a"))
        phone.push(2, delete("a", base=1))
        await phone.hear_until("ack")
        await phone.hear_until("ack")
        phone.say("received", logical_clock=2)
        await settled()
        clock.advance(60)
        await site.store._fold()
        clock.advance(60)
        while site.store._ledger.has_due:
            await site.store._retiring.retire()
            clock.advance(2)
        counts = site.store.counts
    assert (counts.rows, counts.tombstones) == (2, 1)
    assert counts.folds > 0
    assert counts.unfolded == 0
