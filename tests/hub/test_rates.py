"""Rates: who asks too much is read more slowly, and turned away only far above."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from hub.addresses import EXEMPT, Addresses, TooManyFromThere
from hub.edge import Edge
from hub.errors import SettingsError
from hub.forwarded import proxies_of
from hub.limits import Limits
from hub.rates import NO_RATES, Bucket, Buckets, Rates, pay
from hub.settings import Settings
from tests.hub.fakes import Site, a_hub, code, create, in_virtual_time, settled
from tests.hub.http.served import serve

ELSEWHERE = "192.0.2.7"


def test_a_bucket_gives_what_it_holds_at_once_and_then_what_comes_back() -> None:
    bucket = Bucket(rate=10, burst=100, now=0.0)
    assert bucket.spend(100, 0.0) == 0
    assert bucket.spend(5, 0.0) == pytest.approx(0.5)
    assert bucket.spend(10, 1.0) == pytest.approx(0.5)
    assert bucket.spend(0, 1.5) == pytest.approx(0)


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    bucket = Bucket(rate=10, burst=100, now=0.0)
    assert bucket.spend(110, 1_000.0) == pytest.approx(1.0)


def test_the_slowest_of_several_buckets_counts() -> None:
    slow, fast = Bucket(1, 1, 0.0), Bucket(10, 1, 0.0)
    assert pay((slow, fast), 11, 0.0) == pytest.approx(10)
    assert pay((), 11, 0.0) == 0


def test_a_bucket_that_is_full_again_is_forgotten_and_one_that_is_not_is_kept() -> None:
    buckets = Buckets(rate=1, burst=10)
    debtor = buckets.of("debtor", 0.0)
    assert debtor is not None
    debtor.spend(1_000_000, 0.0)
    for number in range(10_000):
        buckets.of(f"passer-by {number}", float(number))
    assert len(buckets) <= 1_025
    assert buckets.of("debtor", 10_000.0) is debtor


def test_without_a_rate_there_is_no_bucket() -> None:
    assert Buckets(rate=0, burst=1).of("ada", 0.0) is None


@pytest.mark.parametrize("text", ["here", "10.0.0.1/8", "1.2.3", ""])
def test_what_is_no_network_cannot_be_exempt(text: str) -> None:
    with pytest.raises(SettingsError, match="no network"):
        Rates(exempt=(text,))


# Addresses

ADDRESS_RATES = Rates(user_rate=0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7", "::ffff:192.0.2.7"),
        ("2001:db8::1", "2001:db8::ffff:2"),
    ],
)
def test_these_are_one_address(one: str, other: str) -> None:
    addresses = Addresses(Limits(), ADDRESS_RATES)
    assert addresses.enter(one, 0.0) is addresses.enter(other, 0.0)


@pytest.mark.parametrize(
    ("one", "other"),
    [("192.0.2.7", "192.0.2.8"), ("2001:db8::1", "2001:db8:0:1::1")],
)
def test_these_are_two_addresses(one: str, other: str) -> None:
    addresses = Addresses(Limits(), ADDRESS_RATES)
    assert addresses.enter(one, 0.0) is not addresses.enter(other, 0.0)


@pytest.mark.parametrize("where", ["127.0.0.1", "::1", "?", "test", ""])
def test_loopback_is_exempt_and_so_is_what_is_no_address(where: str) -> None:
    assert Addresses(Limits(), ADDRESS_RATES).enter(where, 0.0) is EXEMPT


def test_the_operator_says_who_is_exempt() -> None:
    addresses = Addresses(Limits(), Rates(exempt=("192.0.2.0/24",)))
    assert addresses.enter(ELSEWHERE, 0.0) is EXEMPT
    assert addresses.enter("127.0.0.1", 0.0) is not EXEMPT


def test_an_address_that_left_in_debt_comes_back_in_debt() -> None:
    addresses = Addresses(Limits(), ADDRESS_RATES)
    for _visit in range(2):
        address = addresses.enter(ELSEWHERE, 0.0)
        assert address.hellos is not None
        waits = address.hellos.spend(4_000, 0.0)
        addresses.greeted(address)
        addresses.leave(address)
    assert waits == pytest.approx(30)


async def test_requests_from_an_address_count_while_they_last() -> None:
    addresses = Addresses(Limits(max_per_address=1), ADDRESS_RATES)
    with addresses.visit(ELSEWHERE):
        with pytest.raises(TooManyFromThere), addresses.visit(ELSEWHERE):
            pass
        with addresses.visit("192.0.2.8"):
            pass
    with addresses.visit(ELSEWHERE):
        pass


# The hub

SLOW = Rates(user_rate=10, user_burst=20, address_rate=0, hello_rate=0, patience_seconds=30)


async def acks_in(site: Site, pushes: int, diffs: int) -> float:
    """Seconds until a device has so many pushes of so many diffs acked, all sent at once."""
    device = await site.live("phone")
    begun = asyncio.get_running_loop().time()
    for push_id in range(1, pushes + 1):
        device.push(push_id, *(create(f"{push_id}-{n}") for n in range(diffs)))
    while (await device.hear())["push_id"] < pushes:
        pass
    return asyncio.get_running_loop().time() - begun


@in_virtual_time
async def test_above_its_rate_a_user_is_read_more_slowly_and_nothing_is_refused(
    tmp_path: Path,
) -> None:
    async with a_hub(tmp_path / "hub.db", rates=SLOW) as site:
        took = await acks_in(site, pushes=20, diffs=5)
        assert took == pytest.approx((100 + 1 - 20 - 5) / 10, abs=1)


@in_virtual_time
async def test_without_rates_nobody_waits(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db", rates=NO_RATES) as site:
        assert await acks_in(site, pushes=20, diffs=5) < 0.1


@in_virtual_time
async def test_all_devices_of_a_user_share_its_rate_and_another_user_has_its_own(
    tmp_path: Path,
) -> None:
    async with a_hub(tmp_path / "hub.db", rates=SLOW) as site:
        phone, laptop = await site.live("phone"), await site.live("laptop")
        other = await site.live("phone", "bob")
        phone.push(1, *(create(f"a{n}") for n in range(100)))
        await phone.hear()
        begun = asyncio.get_running_loop().time()
        laptop.push(1, create("b"))
        laptop.push(2, create("c"))
        other.push(1, create("a"))
        await other.hear_until("ack")
        assert asyncio.get_running_loop().time() - begun < 0.1
        heard = await laptop.hear_until("ack")
        while heard[-1]["push_id"] < 2:
            heard = await laptop.hear_until("ack")
        assert asyncio.get_running_loop().time() - begun == pytest.approx(8, abs=1)


@in_virtual_time
async def test_far_above_its_rate_a_user_is_turned_away_and_so_is_its_hello(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db", rates=SLOW) as site:
        phone, laptop = await site.live("phone"), await site.live("laptop")
        phone.push(1, *(create(f"a{n}") for n in range(300)))
        await phone.hear()
        laptop.push(1, *(create(f"b{n}") for n in range(300)))
        frames = await laptop.hear_all()
        assert (frames[-1]["code"], code(laptop)) == ("too_many_requests", 4429)
        assert (await site.store.user("ada")).head == 1, "what was turned away is not stored"
        again = site.connect()
        again.hello("laptop")
        assert [frame["code"] for frame in await again.hear_all()] == ["too_many_requests"]
        await asyncio.sleep(40)
        await site.live("laptop")


@in_virtual_time
async def test_a_connection_that_breaks_while_it_is_slowed_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    async with a_hub(tmp_path / "hub.db", rates=SLOW) as site:
        phone = await site.live("phone")
        phone.push(1, *(create(f"a{n}") for n in range(100)))
        await phone.hear()
        phone.vanish()
        await site.gone(phone)
        assert not site.hub.sessions
        await asyncio.sleep(20)


HELLOS = Rates(user_rate=0, address_rate=0, hello_rate=1, hello_burst=2, patience_seconds=5)


@in_virtual_time
async def test_hellos_from_one_address_come_in_at_its_rate_and_others_at_once(
    tmp_path: Path,
) -> None:
    async with a_hub(tmp_path / "hub.db", rates=HELLOS) as site:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        links = [site.connect(address=ELSEWHERE) for _ in range(8)]
        for number, link in enumerate(links):
            link.hello(f"d{number}")
        other = site.connect(address="192.0.2.8")
        other.hello("other", "bob")
        await other.hear_until("ready")
        assert loop.time() - begun < 0.1
        for link in links[:7]:
            await link.hear_until("ready")
        assert loop.time() - begun == pytest.approx(5, abs=0.5)
        assert code(links[7]) == 4429


@in_virtual_time
async def test_an_address_has_so_many_connections_and_so_many_that_say_nothing(
    tmp_path: Path,
) -> None:
    limits = Limits(max_per_address=3, max_ungreeted_per_address=2)
    rates = Rates(user_rate=0, address_rate=0, hello_rate=0)
    async with a_hub(tmp_path / "hub.db", limits=limits, rates=rates) as site:
        mute = [site.connect(address=ELSEWHERE) for _ in range(3)]
        await settled()
        assert [code(link) for link in mute] == [None, None, 4429]
        assert await mute[2].hear() == {
            "type": "error",
            "code": "too_many_requests",
            "message": "too many connections from this address",
        }
        mute[0].hello("phone")
        mute[1].hello("laptop")
        for link in mute[:2]:
            await link.hear_until("ready")
        third, fourth = (site.connect(address=ELSEWHERE) for _ in range(2))
        await settled()
        assert [code(third), code(fourth)] == [None, 4429]
        near = [site.connect(address="127.0.0.1") for _ in range(5)]
        await settled()
        assert [code(link) for link in near] == [None] * 5


async def is_cut_off(reader: asyncio.StreamReader) -> bool:
    """Whether the hub hangs up at once; it waits ten seconds for those whom it lets in."""
    try:
        async with asyncio.timeout(1.0):
            return await reader.read(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


async def hang_up(*lines: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    for _reader, writer in lines:
        writer.close()
    closed = (writer.wait_closed() for _reader, writer in lines)
    await asyncio.gather(*closed, return_exceptions=True)


async def test_one_address_cannot_take_all_the_handshakes(tmp_path: Path) -> None:
    """Somebody opened 2,000 connections and said nothing, and nobody else came in meanwhile."""
    settings = msgspec.structs.replace(
        settings_in_folder(tmp_path),
        limits=Limits(max_ungreeted_per_address=3),
        rates=Rates(exempt=()),
    )
    async with serve(settings) as hub, asyncio.TaskGroup() as tasks:
        host, port = urlsplit(hub.websocket_url).hostname, urlsplit(hub.websocket_url).port
        lines = [await asyncio.open_connection(host, port) for _ in range(5)]
        looks = [tasks.create_task(is_cut_off(reader)) for reader, _writer in lines]
        assert [await look for look in looks] == [False] * 3 + [True] * 2
        await hang_up(*lines)
        another = await asyncio.open_connection(host, port)
        assert not await is_cut_off(another[0])
        await hang_up(another)


def settings_in_folder(folder: Path) -> Settings:
    secret = folder / "secret"
    secret.write_bytes(b"s" * 40)
    secret.chmod(0o600)
    return Settings(token_secret_file=secret, port=0, http_port=0, data=folder / "hub.db")


def test_named_proxies_are_exempt_unless_the_operator_says_otherwise() -> None:
    proxies = proxies_of(Edge(trusted_proxies=("192.0.2.7",)))
    assert Addresses(Limits(), Rates(), proxies).enter("192.0.2.7", 0.0) is EXEMPT
    strict = Rates(exempt=("127.0.0.0/8",))
    assert Addresses(Limits(), strict, proxies).enter("192.0.2.7", 0.0) is not EXEMPT
