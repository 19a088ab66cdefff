"""Who is revoked is gone at once, and nothing more of theirs is stored, also after a restart."""

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from hub.auth import Grant
from hub.errors import Unauthorized
from hub.http.polling import PollRefused, poll
from hub.revoking import Revocation, of_subject
from hub.store.errors import StoreFailed
from tests.hub.fakes import (
    START,
    FakeLink,
    GatedStore,
    Site,
    a_hub,
    code,
    create,
    in_virtual_time,
    settled,
)
from tests.hub.http.test_app import request as poll_request

GRANTS = {
    "ada 1": Grant("ada", token_id="1", expires=START + 60_000),
    "ada 2": Grant("ada", token_id="2"),
    "ada": Grant("ada"),
    "bob 1": Grant("bob", token_id="1", expires=START + 90_000),
    "bob": Grant("bob"),
}
ADA, PHONE, FIRST = (
    of_subject("ada", "", ""),
    of_subject("ada", "phone", ""),
    of_subject("", "", "1"),
)


class Tokens:
    def __init__(self, grants: Mapping[str, Grant] = GRANTS) -> None:
        self._grants = grants

    def check(self, token: object) -> Grant:
        if str(token) not in self._grants:
            raise Unauthorized("the token is worth nothing")
        return self._grants[str(token)]


async def last_words(link: FakeLink) -> tuple[str, str, int | None]:
    frames = await link.hear_all()
    return frames[-1]["code"], frames[-1]["message"], code(link)


async def refused(site: Site, device: str, token: str) -> int | None:
    link = site.connect()
    link.hello(device, token)
    await link.hear_all()
    return code(link)


def a_poll(token: str, *names: str) -> bytes:
    return json.dumps({**poll_request(*names), "auth_token": token}).encode()


@pytest.mark.parametrize(
    ("what", "gone", "words"),
    [
        (ADA, {"phone/ada 1", "tab/ada 2", "pad/ada"}, ("forbidden", "the user is revoked", 4403)),
        (PHONE, {"phone/ada 1"}, ("forbidden", "the device is revoked", 4403)),
        (FIRST, {"phone/ada 1", "phone/bob 1"}, ("unauthorized", "the token is revoked", 4401)),
    ],
)
def test_who_is_revoked_is_gone_at_once_and_nobody_else_is(
    tmp_path: Path, what: Revocation, gone: set[str], words: tuple[str, str, int]
) -> None:
    @in_virtual_time
    async def story() -> None:
        async with a_hub(tmp_path / "h", authority=Tokens()) as site:
            names = ("phone/ada 1", "tab/ada 2", "pad/ada", "phone/bob 1", "tab/bob")
            links = {name: await site.live(*name.split("/")) for name in names}
            began = asyncio.get_running_loop().time()
            assert await site.hub.revoke(what) == len(gone)
            assert asyncio.get_running_loop().time() == began
            for name, link in links.items():
                if name in gone:
                    assert await last_words(link) == words
                    assert await refused(site, *name.split("/")) == words[2]
                else:
                    assert await link.heard_by_now() == []
                    assert link.closed is None

    story()


@in_virtual_time
async def test_it_survives_a_restart_until_it_is_undone(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "h", authority=Tokens()) as site:
        for what in (ADA, FIRST):
            await site.hub.revoke(what)
    async with a_hub(tmp_path / "h", authority=Tokens(), life="b") as site:
        assert await refused(site, "phone", "ada") == 4403
        assert await refused(site, "phone", "bob 1") == 4401
        assert await site.hub.reinstate(ADA)
        assert not await site.hub.reinstate(ADA)
        await site.live("phone", "ada")
        assert await refused(site, "tab", "ada 1") == 4401
    async with a_hub(tmp_path / "h", authority=Tokens(), life="c") as site:
        await site.live("phone", "ada")
        assert [each.subject for each in await site.store.revocations()] == [FIRST.subject]


@in_virtual_time
async def test_a_revoked_token_cannot_renew_and_one_that_renewed_in_time_stays(
    tmp_path: Path,
) -> None:
    async with a_hub(tmp_path / "h", authority=Tokens()) as site:
        phone, tab = await site.live("phone", "ada 1"), await site.live("tab", "ada")
        phone.say("auth", token="ada 2")
        await phone.hear_until("authenticated")
        assert await site.hub.revoke(FIRST) == 0
        assert phone.closed is None
        tab.say("auth", token="ada 1")
        assert await last_words(tab) == ("unauthorized", "the token is revoked", 4401)


# Nothing more is stored


@in_virtual_time
async def test_what_waits_of_the_revoked_is_dropped_and_what_is_being_stored_is_stored(
    tmp_path: Path,
) -> None:
    """The commit under way is let finish; of 20 pushes behind it not one is stored."""
    async with a_hub(tmp_path / "h", authority=Tokens()) as site:
        phone, tab = await site.live("phone", "ada"), await site.live("tab", "ada")
        site.store.hold()
        phone.push(1, create("a"))
        await site.store.reached()
        for number in range(2, 22):
            phone.push(number, create(f"b{number}"))
        tab.push(1, create("c"))
        await settled()
        revoking = asyncio.create_task(site.hub.revoke(PHONE))
        await settled()
        assert not revoking.done()
        site.store.let_go()
        assert await revoking == 1
        assert [frame["type"] for frame in await tab.heard_by_now()] == ["changes", "ack"]
        assert (await site.store.device("ada", "phone")).last_push_id == 1
        assert (await site.store.user("ada")).head == 2


@in_virtual_time
async def test_what_waits_of_a_device_that_has_left_is_dropped_as_well(tmp_path: Path) -> None:
    """Its line had broken behind 20 pushes: it was not there to be ended, and they were stored."""
    async with a_hub(tmp_path / "h", authority=Tokens()) as site:
        phone = await site.live("phone", "ada 1")
        site.store.hold()
        for number in range(1, 3):
            phone.push(number, create(f"a{number}"))
            await site.store.reached()
        phone.vanish()
        await site.gone(phone)
        revoking = asyncio.create_task(site.hub.revoke(FIRST))
        await settled()
        site.store.let_go()
        assert await revoking == 0
        assert (await site.store.user("ada")).head == 1


@in_virtual_time
async def test_a_device_that_renewed_keeps_what_it_pushed_before_in_its_order(
    tmp_path: Path,
) -> None:
    """To drop only the pushes that came under the old token would let later ones overtake them."""
    async with a_hub(tmp_path / "h", authority=Tokens()) as site:
        phone = await site.live("phone", "ada 1")
        site.store.hold()
        for number in range(1, 4):
            phone.push(number, create(f"a{number}"))
        phone.say("auth", token="ada 2")
        phone.push(4, create("a4"))
        await settled()
        revoking = asyncio.create_task(site.hub.revoke(FIRST))
        await settled()
        site.store.let_go()
        assert await revoking == 0
        while len(await site.store.log("ada", 0, 10**6)) < 4:
            await settled()
        assert [row.push_id for row in await site.store.log("ada", 0, 10**6)] == [1, 2, 3, 4]


@in_virtual_time
async def test_a_hello_that_is_under_way_is_refused_as_well(tmp_path: Path) -> None:
    """Its token had been looked at, and its user was being read, when the user was revoked."""
    async with a_hub(tmp_path / "h", authority=Tokens()) as site:
        async with site.hub.users.visit("ada") as user, user.lock:
            phone = site.connect()
            phone.hello("phone", "ada")
            await settled()
            revoking = asyncio.create_task(site.hub.revoke(ADA))
            await settled()
        await revoking
        assert await last_words(phone) == ("forbidden", "the user is revoked", 4403)
        await site.gone(phone)
        assert (await site.store.device("ada", "phone")).last_push_id == 0


@pytest.mark.parametrize(
    ("what", "status", "message"),
    [
        (ADA, HTTPStatus.FORBIDDEN, "forbidden: the user is revoked"),
        (of_subject("ada", "mobync", ""), HTTPStatus.FORBIDDEN, "forbidden: the device is revoked"),
        (FIRST, HTTPStatus.UNAUTHORIZED, "unauthorized: the token is revoked"),
    ],
)
def test_polls_are_refused_as_well(
    tmp_path: Path, what: Revocation, status: HTTPStatus, message: str
) -> None:
    @in_virtual_time
    async def story() -> None:
        async with a_hub(tmp_path / "h", authority=Tokens()) as site:
            await poll(site.hub, a_poll("ada 1", "a"))
            await site.hub.revoke(what)
            with pytest.raises(PollRefused, match=message) as caught:
                await poll(site.hub, a_poll("ada 1", "b"))
            assert caught.value.status is status
            assert (await site.store.user("ada")).head == 1
            await poll(site.hub, a_poll("bob", "a"))

    story()


@in_virtual_time
async def test_a_poll_that_waits_to_be_stored_is_dropped(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "h", authority=Tokens()) as site:
        site.store.hold()
        tab = await site.live("tab", "bob")
        tab.push(1, create("x"))
        await site.store.reached()  # all others wait behind this commit
        polling = asyncio.create_task(poll(site.hub, a_poll("ada 1", "a")))
        await settled()
        revoking = asyncio.create_task(site.hub.revoke(FIRST))
        await settled()
        site.store.let_go()
        assert await revoking == 0  # it has no connection that lasts
        with pytest.raises(PollRefused, match="unauthorized: the token is revoked"):
            await polling
        assert (await site.store.user("ada")).head == 0


# What is kept


@in_virtual_time
async def test_a_token_is_remembered_until_it_runs_out_where_that_is_known(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "h", authority=Tokens()) as site:
        await site.live("phone", "ada 1")
        await site.live("phone", "bob 1")
        for what in (FIRST, of_subject("", "", "2"), of_subject("", "", "3", START + 5)):
            await site.hub.revoke(what)
        known = {each.token: each.until for each in await site.store.revocations()}
        assert known == {"1": START + 90_000, "2": None, "3": START + 5}
        site.clock.advance(3_600 + 60)  # an hour more, which is the longest leeway
        await site.hub.revoke(ADA)
        known = {each.token: each.until for each in await site.store.revocations()}
        assert known == {"1": START + 90_000, "2": None, "": None}
        site.clock.advance(60)
        await site.hub.revoke(ADA)
        assert {each.token for each in await site.store.revocations()} == {"2", ""}


@in_virtual_time
async def test_what_cannot_be_stored_is_not_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would come back with the next start, and the operator had been told that it is so."""

    async def fails(_store: object, _revocation: Revocation) -> None:
        raise StoreFailed("disk full")

    monkeypatch.setattr(GatedStore, "revoke", fails)
    async with a_hub(tmp_path / "h", authority=Tokens()) as site:
        phone = await site.live("phone", "ada")
        with pytest.raises(StoreFailed):
            await site.hub.revoke(ADA)
        assert phone.closed is None
        await site.live("tab", "ada")


NAMES = ["it's", 'a "b"', "a/b", "a\\b", "\u202eright to left", "🦆" * 128, "x" * 64, "%s", "'; --"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_revoked_and_means_no_other(tmp_path: Path, name: str) -> None:
    @in_virtual_time
    async def story() -> None:
        device = name[:64]
        others = {"same": Grant(name, token_id=name), "other": Grant("bob", token_id="bob")}
        for what in (
            of_subject(name, "", ""),
            of_subject(name, device, ""),
            of_subject("", "", name),
        ):
            async with a_hub(tmp_path / "h", authority=Tokens(others), life=str(id(what))) as site:
                await site.live("phone", "other")
                link = await site.live(device, "same")
                assert await site.hub.revoke(what) == 1
                await link.hear_all()
                assert (await site.store.revocations())[0].subject == what.subject
                await site.hub.reinstate(what)

    story()


@pytest.mark.parametrize(
    "names",
    [("", "", ""), ("", "phone", ""), ("ada", "", "1"), ("ada", "phone", "1"), ("x" * 129, "", ""),
     ("ada", "x" * 65, ""), ("", "", "x" * 257), ("a\0", "", ""), ("\ud800", "", "")],
)  # fmt: skip
def test_what_names_nobody_or_too_much_is_refused(names: tuple[Any, Any, Any]) -> None:
    with pytest.raises(ValueError, match=r"named by|must be|no text|length"):
        of_subject(*names)
