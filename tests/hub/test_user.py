"""One user: who is let in, what is handed to whom, and when the user may be forgotten."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hub.limits import Limits
from hub.rates import Buckets
from hub.states import State
from hub.store.errors import StoreFailed
from hub.store.interface import Incoming, Stored
from hub.user import User, Users, Waiting
from protocol.closing import Closing
from tests.hub.fakes import GatedStore, a_hub, create, in_virtual_time, rules, settled


class Device:
    """A receiver that writes down what it is told."""

    grant = None
    device = "phone"
    state = State.LIVE

    def __init__(self) -> None:
        self.told: list[Any] = []

    def hear(self, clock: int, frame: bytes) -> None:
        self.told.append(("heard", clock))

    def acknowledge(self, stored: Stored) -> None:
        self.told.append(("acked", stored.clock))

    def settled(self, waiting: Waiting, stored: Stored | None, /) -> None:
        self.told.append(("settled", stored and stored.clock))

    def failed(self, waiting: Waiting, /) -> None:
        self.told.append(("failed", waiting.incoming.push_id))

    def end(self, reason: Closing, message: str) -> None:
        self.told.append(("ended", reason.code))


class Line:
    """Where users stand who have something to store."""

    def __init__(self) -> None:
        self.submitted: list[str] = []
        self.idle: list[str] = []

    def user(self, name: str = "ada") -> User:
        return User(
            name,
            lambda user: self.submitted.append(user.name),
            lambda user: self.idle.append(user.name),
        )


def waiting(pusher: Device, push_id: int, device: str = "phone", diffs: int = 1) -> Waiting:
    return Waiting(Incoming("ada", device, push_id, [create("a")] * diffs), pusher, 100)


def stored(clock: int) -> Stored:
    return Stored(clock, "phone", clock, b"[]")


def test_everybody_live_hears_of_a_push_and_its_pusher_is_acked() -> None:
    user, pusher, other, catching_up = Line().user(), Device(), Device(), Device()
    for name, device in (("phone", pusher), ("laptop", other), ("tab", catching_up)):
        user.enter(name, device)
    user.live.update(phone=pusher, laptop=other)
    user.hand_out(waiting(pusher, 1), stored(1))
    assert pusher.told == [("acked", 1)]
    assert other.told == [("heard", 1)]
    assert catching_up.told == []
    assert user.head == 1


def test_a_push_stored_before_is_nobodys_news() -> None:
    user, pusher, other = Line().user(), Device(), Device()
    user.live.update(phone=pusher, laptop=other)
    user.hand_out(waiting(pusher, 1), None)
    assert pusher.told == other.told == []
    assert user.head == 0


def test_a_pusher_that_vanished_does_not_keep_the_push_from_the_others() -> None:
    """Story 8: the ack failed to go out, and the broadcast behind it was never reached."""
    user, gone, other = Line().user(), Device(), Device()
    user.enter("phone", gone)
    user.live.update(laptop=other)
    user.leave("phone", gone)
    user.hand_out(waiting(gone, 1), stored(1))
    assert other.told == [("heard", 1)]
    assert gone.told == []


def test_the_others_hear_of_a_push_before_its_pusher_is_acked() -> None:
    """Who pushed knows what it pushed; to have its ack sent first was a quarter of a millisecond
    that the others waited."""
    order: list[str] = []

    class Noting(Device):
        def hear(self, clock: int, frame: bytes) -> None:
            order.append("heard")

        def acknowledge(self, stored: Stored) -> None:
            order.append("acked")

    user, pusher = Line().user(), Noting()
    user.live.update(phone=pusher, laptop=Noting(), tab=Noting())
    user.hand_out(waiting(pusher, 1), stored(1))
    assert order == ["heard", "heard", "acked"]


def test_a_device_that_falls_out_of_the_live_ones_in_a_broadcast_disturbs_nobody() -> None:
    class Leaver(Device):
        def hear(self, clock: int, frame: bytes) -> None:
            super().hear(clock, frame)
            user.live.pop("leaver")

    user, leaver, other = Line().user(), Leaver(), Device()
    user.live.update(leaver=leaver, laptop=other)
    user.hand_out(waiting(Device(), 1), stored(1))
    user.hand_out(waiting(Device(), 2), stored(2))
    assert leaver.told == [("heard", 1)]
    assert other.told == [("heard", 1), ("heard", 2)]


def test_a_device_that_comes_back_takes_the_place_of_its_older_self() -> None:
    """Story 9: what the older socket had waiting is not stored behind the newer one's back."""
    user, older, newer, other = Line().user(), Device(), Device(), Device()
    user.enter("phone", older)
    user.enter("laptop", other)
    user.live.update(phone=older, laptop=other)
    for push in (waiting(older, 1), waiting(other, 1, "laptop"), waiting(older, 2)):
        user.push(push)
    assert user.enter("phone", newer) is older
    assert [push.pusher for push in user.next_run(10)] == [other]
    assert list(user.live) == ["laptop"]
    user.leave("phone", older)
    assert user.devices == {"phone": newer, "laptop": other}


def test_a_run_takes_pushes_in_order_and_no_more_than_asked() -> None:
    user, pusher = Line().user(), Device()
    for push_id in range(1, 6):
        user.push(waiting(pusher, push_id))
    assert [push.incoming.push_id for push in user.next_run(3)] == [1, 2, 3]
    assert [push.incoming.push_id for push in user.next_run(3)] == [4, 5]
    assert list(user.next_run(3)) == []


def test_a_run_ends_behind_the_push_that_reaches_its_diffs() -> None:
    user, pusher = Line().user(), Device()
    for push_id in range(1, 6):
        user.push(waiting(pusher, push_id, diffs=10))
    assert [push.incoming.push_id for push in user.next_run(20)] == [1, 2]
    assert [push.incoming.push_id for push in user.next_run(11)] == [3, 4]
    assert [push.incoming.push_id for push in user.next_run(1)] == [5]


def test_a_user_with_more_to_store_lines_up_again_when_its_lock_is_free() -> None:
    line, pusher = Line(), Device()
    user = line.user()
    assert user.lock.try_acquire()
    user.push(waiting(pusher, 1))
    user.push(waiting(pusher, 2))
    list(user.next_run(1))
    user.lock.release()
    assert line.submitted == ["ada"] * 3
    assert user.lock.try_acquire()
    list(user.next_run(1))
    user.lock.release()
    assert line.submitted == ["ada"] * 3
    assert line.idle == ["ada"]


@in_virtual_time
async def test_a_user_is_kept_while_somebody_visits_and_forgotten_afterwards(
    tmp_path: Path,
) -> None:
    store = GatedStore(tmp_path / "hub.db", rules())
    await store.open()
    users = Users(store, lambda _user: None, Buckets(0, 1))
    async with users.visit("ada") as first, users.visit("ada") as second:
        assert first is second
        assert (first.history.log_id, first.head, first.line) == ("log-1", 0, 0)
    async with users.visit("ada") as third:
        assert third is not first
        assert third.history.log_id == "log-1"
    await store.close()


@in_virtual_time
async def test_a_user_whom_the_store_could_not_load_is_asked_for_again(tmp_path: Path) -> None:
    class Failing(GatedStore):
        async def user(self, name: str) -> Any:
            if self.failures:
                self.failures -= 1
                raise StoreFailed("the disk is failing")
            return await super().user(name)

    store = Failing(tmp_path / "hub.db", rules())
    await store.open()
    store.failures = 1
    users = Users(store, lambda _user: None, Buckets(0, 1))
    with pytest.raises(StoreFailed):
        async with users.visit("ada"):
            pytest.fail("nobody may visit a user of whom nothing is known")
    async with users.visit("ada") as user:
        assert user.history.log_id == "log-1"
    await store.close()


@in_virtual_time
async def test_a_user_whose_push_is_still_being_stored_is_the_same_one_when_it_comes_back(
    tmp_path: Path,
) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        site.store.hold()
        phone.push(1, create("a"))
        await site.store.reached()
        phone.vanish()
        await site.gone(phone)
        coming = asyncio.create_task(site.live("laptop"))
        await settled()
        assert not coming.done()
        site.store.let_go()
        laptop = await coming
        assert site.session(laptop).place.clock == 1


@in_virtual_time
async def test_there_is_never_a_second_one_of_a_user(tmp_path: Path) -> None:
    """A forgotten user stayed in the writer's line and took its successor's name with it.

    A phone had a push waiting while somebody else's group was written, came back on a new socket
    (which forgets that push), and left. The user was forgotten too, but still stood in line. The
    phone came again, as a new user; when the old one's turn came, with nothing to store, it
    was forgotten once more, by its name. From then on whoever came was a third one: two devices
    of the same user, each live, never heard of each other.
    """
    async with a_hub(tmp_path / "hub.db") as site:
        other = await site.live("phone", "other")
        phone = await site.live("phone")
        site.store.hold()
        other.push(1, create("a"))
        await site.store.reached()
        phone.push(1, create("a"))
        await settled()
        newer = await site.live("phone")
        newer.vanish()
        await site.gone(newer)
        await site.gone(phone)

        phone = await site.live("phone")
        site.store.let_go()
        await other.hear_until("ack")
        await settled()
        laptop = await site.live("laptop")
        phone.push(1, create("a"))
        assert (await phone.hear())["logical_clock"] == 1
        assert (await laptop.hear())["logical_clock"] == 1


@in_virtual_time
async def test_one_user_has_no_more_devices_connected_than_allowed(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db", limits=Limits(max_devices_per_user=2)) as site:
        first = await site.live("first")
        await site.live("second")
        third = site.connect()
        third.hello("third")
        assert [frame["code"] for frame in await third.hear_all()] == ["server_busy"]
        assert third.closed is not None
        assert third.closed[0] == 1013

        await site.live("elsewhere", "bob")
        await site.live("second")
        first.vanish()
        await site.gone(first)
        await site.live("third")


@in_virtual_time
async def test_one_user_has_no_more_devices_than_allowed_and_those_long_gone_do_not_count(
    tmp_path: Path,
) -> None:
    limits = Limits(max_known_devices=2)
    async with a_hub(tmp_path / "hub.db", limits=limits) as site:
        for name in ("first", "second"):
            device = await site.live(name)
            device.push(1, create(name))
            await device.hear()
            device.vanish()
            await site.gone(device)
        third = site.connect()
        third.hello("third")
        frames = await third.hear_all()
        assert [frame["code"] for frame in frames] == ["forbidden"]
        assert "2 other devices" in frames[0]["message"]
        await site.live("second")
        await site.live("third", "bob")
        await site.store._fold()
        site.clock.advance(31 * 86_400)
        await site.live("third")


@in_virtual_time
async def test_a_device_refused_for_want_of_room_does_not_replace_or_disturb_anybody(
    tmp_path: Path,
) -> None:
    async with a_hub(tmp_path / "hub.db", limits=Limits(max_devices_per_user=1)) as site:
        phone = await site.live("phone")
        refused = site.connect()
        refused.hello("laptop")
        await refused.hear_all()
        await site.gone(refused)
        phone.push(1, create("a"))
        assert (await phone.hear())["type"] == "ack"
