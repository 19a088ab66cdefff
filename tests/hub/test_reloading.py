"""Settings that change in a hub that serves: which of them, for whom, and when none of them do."""

import asyncio
from pathlib import Path
from random import Random

import pytest
from structlog.testing import capture_logs

from hub.auth import (
    ChangingAuthority,
    DevAuthority,
    Grant,
    JwtAuthority,
    Keyring,
    Secret,
    make_token,
)
from hub.errors import HubError, SettingsError, Unauthorized
from hub.limits import Limits
from hub.rates import NO_RATES, Rates
from hub.reloading import LIVE, Reloading, change_of
from hub.service.notifier import Notifier
from hub.settings import DEFINITIONS, Settings
from hub.tokens import Tokens
from tests.hub.fakes import FakeClock, a_hub, code, create, in_virtual_time, settled
from tests.hub.issuer import ListedSource
from tests.hub.test_keyring import NOW, keys, token

OLD = Settings(token_secret_file=Path("secret"))


def changed(**changes: object) -> Settings:
    return Settings(**{"token_secret_file": Path("secret"), **changes})  # type: ignore[arg-type]


def test_what_can_change_is_all_of_it_settings() -> None:
    assert {item.name for item in DEFINITIONS} >= LIVE


def test_limits_and_logs_change_and_all_else_waits_for_a_restart() -> None:
    new = changed(
        log_level="debug",
        port=9,
        data=Path("other.db"),
        limits=Limits(max_diffs=7, stop_seconds=3),
        tokens=Tokens(token_issuer="https://id.example", admin_token_file=Path("admin")),
    )
    change = change_of(OLD, new)
    assert change.changed == ["log_level", "max_diffs", "token_issuer"]
    assert change.kept == ["port", "data", "stop_seconds", "admin_token_file"]
    assert change.settings == changed(
        log_level="debug",
        limits=Limits(max_diffs=7),
        tokens=Tokens(token_issuer="https://id.example"),
    )


def test_a_hub_for_trying_does_not_begin_to_ask_for_tokens() -> None:
    change = change_of(Settings(dev=True), OLD)
    assert (change.changed, change.kept) == ([], ["dev", "token_secret_file"])
    assert change.settings == Settings(dev=True)


def test_what_changes_may_not_contradict_what_stays() -> None:
    old = changed(limits=Limits(max_body_bytes=10_000, max_object_bytes=10_000))
    new = changed(limits=Limits(max_body_bytes=20_000, max_object_bytes=20_000))
    with pytest.raises(SettingsError, match="above max_body_bytes"):
        change_of(old, new)


async def reloaded(read: Settings | HubError, refusal: HubError | None = None) -> list[str]:
    """The events of a reload, and that the old settings stay if it goes wrong."""
    taken = []

    def given() -> Settings:
        if isinstance(read, HubError):
            raise read
        return read

    async def take(_old: Settings, new: Settings) -> None:
        if refusal is not None:
            raise refusal
        taken.append(new)

    reloading = Reloading(OLD, given, take)
    with capture_logs() as logs:
        await reloading.reload()
    assert reloading.settings == (taken[0] if taken else OLD)
    return [each["event"] for each in logs]


async def test_what_goes_wrong_leaves_the_old_settings() -> None:
    new, wrong = changed(log_level="debug"), SettingsError("a problem", "a remedy")
    assert await reloaded(new) == ["settings read again"]
    assert await reloaded(wrong) == ["the old settings still count"]
    assert await reloaded(new, wrong) == ["the old settings still count"]
    assert await reloaded(new, HubError("the disk")) == ["the old settings still count"]


async def test_a_bug_in_a_reload_ends_no_later_one() -> None:
    asked, tries = asyncio.Event(), asyncio.Semaphore(0)

    def read() -> Settings:
        tries.release()
        raise ZeroDivisionError

    async def take(_old: Settings, _new: Settings) -> None:
        pytest.fail("nothing was read")

    with capture_logs() as logs:
        async with Reloading(OLD, read, take).on_demand(asked, Notifier(), str):
            for _ in range(2):
                asked.set()
                async with asyncio.timeout(10):
                    await tries.acquire()
                while asked.is_set():
                    await asyncio.sleep(0)
            while len(logs) < 2:
                await asyncio.sleep(0)
    assert [each["event"] for each in logs] == ["settings not read again"] * 2


# In the hub


@in_virtual_time
async def test_a_device_that_is_here_keeps_to_the_limits_that_it_was_told_of(
    tmp_path: Path,
) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        await site.hub.keep_to(Limits(max_diffs=1, max_connections=2), NO_RATES)
        tab = site.connect()
        tab.hello("tab")
        (welcome, *_rest) = await tab.hear_until("ready")
        assert welcome["limits"]["max_diffs"] == 1
        phone.push(1, create("a"), create("b"))
        assert (await phone.hear())["type"] == "ack"
        await tab.hear_until("changes")
        tab.push(1, create("c"), create("d"))
        assert code(tab) is None
        assert (await tab.hear_all())[-1]["code"] == "bad_message"
        await site.live("pad")
        one_too_many = site.connect()
        await settled()
        assert code(one_too_many) == 1013


@in_virtual_time
async def test_the_store_decides_by_new_limits_from_the_next_push_on(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        phone.push(1, create("a", text="x" * 300))
        assert "rejected" not in await phone.hear()
        await site.hub.keep_to(Limits(max_object_bytes=200, max_objects_per_user=1), NO_RATES)
        phone.push(2, create("b", text="x" * 300), create("c"))
        rejected = (await phone.hear())["rejected"]
        assert [each["code"] for each in rejected] == ["too_large", "over_quota"]


@in_virtual_time
async def test_rates_change_for_who_is_here_and_may_be_none(tmp_path: Path) -> None:
    loop, slow = asyncio.get_running_loop(), Rates(user_rate=1, user_burst=2)
    async with a_hub(tmp_path / "hub.db", rates=Rates(user_rate=1_000, user_burst=1_000)) as site:
        phone = await site.live("phone")

        async def seconds_for(push_ids: range) -> float:
            began = loop.time()
            for push_id in push_ids:
                phone.push(push_id, create(f"o{push_id}"))
                await phone.hear_until("ack")
            return loop.time() - began

        assert await seconds_for(range(1, 11)) < 1
        await site.hub.keep_to(Limits(), slow)
        assert 7 <= await seconds_for(range(11, 21)) <= 11
        await site.hub.keep_to(Limits(), NO_RATES)
        await asyncio.sleep(1)
        assert await seconds_for(range(21, 31)) < 1


# Keys


def secret(letter: str) -> Secret:
    return Secret("HS256", letter.encode() * 32)


async def test_a_secret_that_takes_anothers_place_counts_at_once() -> None:
    authority = ChangingAuthority(JwtAuthority(secret("o"), FakeClock(NOW)))
    old, new = (make_token(secret(letter), Grant("ada")) for letter in "on")
    async with authority.fresh():
        assert authority.check(old).user == "ada"
        await authority.change(JwtAuthority(secret("n"), FakeClock(NOW)))
        assert authority.check(new).user == "ada"
        with pytest.raises(Unauthorized):
            authority.check(old)
        authority.look()


@in_virtual_time
async def test_an_issuer_without_keys_takes_nobodys_place() -> None:
    authority = ChangingAuthority(DevAuthority())
    nothing = ListedSource(b"no keys")
    async with authority.fresh():
        with pytest.raises(SettingsError, match="cannot be had"):
            await authority.change(JwtAuthority(Keyring(nothing, Random(1)), FakeClock(NOW)))
        assert authority.check("ada").user == "ada"
        source = ListedSource(keys("old"))
        await authority.change(JwtAuthority(Keyring(source, Random(1)), FakeClock(NOW)))
        assert authority.check(token("old")).user == "ada"
        source.text = keys("new")
        authority.look()
        await asyncio.sleep(10)
        assert authority.check(token("new")).user == "ada"
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "keys"]
