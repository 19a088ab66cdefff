"""The keys of an issuer change while the hub serves, and its address is not always there."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from structlog.testing import capture_logs

from hub.auth import Grant, JwtAuthority, Keyring, KeysNotHad, admit, authority_from, sources
from hub.auth.keyring import WAIT_SECONDS
from hub.auth.sources import FileSource, SourceFailed, UrlSource
from hub.errors import SettingsError, Unauthorized
from hub.loading import load
from tests.hub.fakes import FakeClock, a_hub, code, create, in_virtual_time, settled
from tests.hub.http.served import serve
from tests.hub.issuer import ListedSource, an_issuer
from tests.hub.test_jwks import jwk, key_set

OLD, NEW = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
KEYS = {"old": OLD, "new": NEW}
NOW = 1_790_000_000_000


def keys(*names: str) -> bytes:
    return key_set(*(jwk(KEYS[name], kid=name) for name in names))


def token(kid: str, key: Any = None, user: str = "ada", **claims: object) -> str:
    return jwt.encode({"sub": user, **claims}, key or KEYS[kid], "EdDSA", {"kid": kid})


class Rotating:
    """A keyring over a source, both in the test's hand."""

    def __init__(self, *names: str) -> None:
        self.source = ListedSource(keys(*names))
        self.keyring = Keyring(self.source, Random(1))
        self.hub = JwtAuthority(self.keyring, FakeClock(NOW))

    async def admitted(self, kid: str) -> str:
        """The user that a token of this key gives, or what is said instead."""
        try:
            return (await admit(self.hub, token(kid, NEW if kid not in KEYS else None))).user
        except (Unauthorized, KeysNotHad) as error:
            return str(error)


UNKNOWN = "the token's key is none of the issuer's"
NOT_HAD = "the keys that prove tokens cannot be had now; try again later"


@in_virtual_time
async def test_a_new_key_is_looked_for_once_however_many_devices_bring_it() -> None:
    """1,000 devices come with tokens of a key that the hub has not heard of: one question."""
    rotating = Rotating("old")
    async with rotating.hub.fresh():
        await asyncio.sleep(60)
        assert len(rotating.source.asked) == 1
        rotating.source.text = keys("old", "new")
        asked = [rotating.admitted("new") for _ in range(1_000)]
        assert set(await asyncio.gather(*asked)) == {"ada"}
        assert len(rotating.source.asked) == 2
        assert await rotating.admitted("old") == "ada"
        assert len(rotating.source.asked) == 2


@in_virtual_time
async def test_keys_that_nobody_has_do_not_flood_the_issuer() -> None:
    """A minute of made-up names of keys, 100 at a time: one question in five seconds at most."""
    rotating = Rotating("old")
    loop = asyncio.get_running_loop()
    async with rotating.hub.fresh():
        began = loop.time()
        while loop.time() < began + 60:
            forged = [rotating.admitted(f"forged {number}") for number in range(100)]
            assert set(await asyncio.gather(*forged)) <= {UNKNOWN, NOT_HAD}
        times = rotating.source.asked
    gaps = [after - before for before, after in pairwise(times)]
    assert min(gaps) >= 5
    assert len(set(gaps)) > len(gaps) // 2, "with jitter"
    assert 8 <= len(times) <= 14


@in_virtual_time
async def test_whoever_waits_for_a_key_keeps_nobody_else_waiting() -> None:
    rotating = Rotating("old")
    loop = asyncio.get_running_loop()
    async with rotating.hub.fresh():
        rotating.source.answers.clear()
        waiting = asyncio.create_task(rotating.admitted("new"))
        began = loop.time()
        await settled()
        assert rotating.hub.check(token("old")) == Grant("ada")
        assert loop.time() == began
        assert await waiting == NOT_HAD
        assert loop.time() - began == WAIT_SECONDS


@in_virtual_time
async def test_an_issuer_that_is_down_leaves_the_last_good_keys_and_is_warned_of_once() -> None:
    rotating = Rotating("old")
    async with rotating.hub.fresh():
        with capture_logs() as logs:
            rotating.source.text = None
            assert await rotating.admitted("new") == NOT_HAD
            await asyncio.sleep(600)
            assert await rotating.admitted("old") == "ada"
            rotating.source.text = b"<html>we are busy</html>"
            await asyncio.sleep(600)
            assert await rotating.admitted("old") == "ada"
        warned = [(each["why"], each["meanwhile"]) for each in logs if each["log_level"] != "info"]
        assert warned == [
            ("the issuer is down", "the last good set counts"),
            ("that is no JSON Web Key Set", "the last good set counts"),
        ]
        tries = len(rotating.source.asked)
        rotating.source.text = keys("new")
        await asyncio.sleep(8)
        assert len(rotating.source.asked) > tries
        assert await rotating.admitted("new") == "ada"


@in_virtual_time
async def test_a_bug_in_a_reading_ends_that_reading_only() -> None:
    rotating = Rotating("old")
    async with rotating.hub.fresh():
        rotating.source.bug = RuntimeError("nobody thought of this")
        assert await rotating.admitted("new") == NOT_HAD
        assert await rotating.admitted("old") == "ada"
        rotating.source.bug, rotating.source.text = None, keys("old", "new")
        assert await rotating.admitted("new") == "ada"


@in_virtual_time
async def test_a_key_that_its_issuer_took_back_counts_no_more_after_some_minutes() -> None:
    rotating = Rotating("old", "new")
    async with rotating.hub.fresh():
        rotating.source.text = keys("new")
        await asyncio.sleep(1.5 * 300 + 8)
        assert await rotating.admitted("old") == UNKNOWN
        assert await rotating.admitted("new") == "ada"


@in_virtual_time
async def test_a_hub_whose_issuer_is_down_at_the_start_tells_devices_to_come_later() -> None:
    rotating = Rotating("old")
    rotating.source.text = None
    async with rotating.hub.fresh():
        assert await rotating.admitted("old") == NOT_HAD
        rotating.source.text = keys("old")
        assert await rotating.admitted("old") == "ada"


# Devices of such a hub


@in_virtual_time
async def test_a_device_with_a_new_key_waits_for_it_and_others_do_not(tmp_path: Path) -> None:
    rotating = Rotating("old")
    async with rotating.hub.fresh(), a_hub(tmp_path / "h", authority=rotating.hub) as site:
        await asyncio.sleep(60)
        rotating.source.answers.clear()
        rotating.source.text = keys("old", "new")
        phone, tab = site.connect(), site.connect()
        phone.hello("phone", token("new"))
        await settled()
        tab.hello("tab", token("old"))
        await tab.hear_until("ready")
        assert await phone.heard_by_now() == []
        rotating.source.answers.set()
        await phone.hear_until("ready")


@in_virtual_time
async def test_a_device_whose_key_cannot_be_looked_for_comes_later(tmp_path: Path) -> None:
    """Not 4401: a device that has only this token would stop for good over its issuer's outage."""
    rotating = Rotating("old")
    async with rotating.hub.fresh(), a_hub(tmp_path / "h", authority=rotating.hub) as site:
        rotating.source.text = None
        phone = site.connect()
        phone.hello("phone", token("new"))
        assert [frame["code"] for frame in await phone.hear_all()] == ["server_busy"]
        assert code(phone) == 1013
        rotating.source.text = keys("old")
        tab = site.connect()
        tab.hello("tab", token("new"))
        assert [frame["code"] for frame in await tab.hear_all()] == ["unauthorized"]
        assert code(tab) == 4401


@in_virtual_time
async def test_a_renewal_with_a_new_key_holds_up_no_push_and_outlives_an_outage(
    tmp_path: Path,
) -> None:
    rotating = Rotating("old")
    async with rotating.hub.fresh(), a_hub(tmp_path / "h", authority=rotating.hub) as site:
        phone = await site.live("phone", token("old"))
        rotating.source.text = None
        phone.say("auth", token=token("new"))
        phone.push(1, create("a"))
        assert (await phone.hear())["type"] == "ack"
        await asyncio.sleep(60)
        assert await phone.heard_by_now() == []
        rotating.source.text = keys("old", "new")
        assert await phone.hear() == {"type": "authenticated", "expires": None}
        phone.push(2, create("b"))
        assert (await phone.hear())["type"] == "ack"


@pytest.mark.parametrize("closed_with", [4401, 4403])
@in_virtual_time
async def test_a_renewal_that_waited_in_vain_ends_the_connection(
    tmp_path: Path, closed_with: int
) -> None:
    rotating = Rotating("old")
    async with rotating.hub.fresh(), a_hub(tmp_path / "h", authority=rotating.hub) as site:
        phone = await site.live("phone", token("old"))
        user = "bob" if closed_with == 4403 else "ada"
        rotating.source.text = keys("old", *(["new"] if closed_with == 4403 else []))
        phone.say("auth", token=token("new", user=user))
        assert [frame["type"] for frame in await phone.hear_all()] == ["error"]
        assert code(phone) == closed_with
        await site.gone(phone)


@in_virtual_time
async def test_a_device_that_leaves_while_its_key_is_looked_for_leaves_no_task(
    tmp_path: Path,
) -> None:
    rotating = Rotating("old")
    async with rotating.hub.fresh(), a_hub(tmp_path / "h", authority=rotating.hub) as site:
        phone = await site.live("phone", token("old"))
        rotating.source.answers.clear()
        for _ in range(2):
            phone.say("auth", token=token("new"))
        await settled()
        phone.vanish()
        await site.gone(phone)
        assert [task for task in asyncio.all_tasks() if task.get_name() == "renewal"] == []


# Real addresses


async def failure_of(reading: Callable[[], Awaitable[object]]) -> str:
    with pytest.raises(SourceFailed) as caught:
        await reading()
    return str(caught.value)


async def test_an_address_is_read_within_a_bound_and_nothing_is_followed_from_there() -> None:
    async with an_issuer() as issuer:
        source = UrlSource(issuer.url)
        issuer.text = keys("old")
        assert await source.read() == issuer.text
        issuer.text = b" " * (sources.MAX_BYTES + 1)
        assert "larger than 262144 bytes" in await failure_of(source.read)
        issuer.status, issuer.headers = 302, {"Location": issuer.url}
        assert "status 302" in await failure_of(source.read)
        issuer.status = 500
        assert "status 500" in await failure_of(source.read)
    assert await failure_of(source.read)


async def test_what_an_address_has_behind_its_question_mark_is_not_logged() -> None:
    async with an_issuer() as issuer:
        issuer.text = keys("old")
        source = UrlSource(issuer.url + "?key=hush")
        with capture_logs() as logs:
            async with Keyring(source).fresh():
                pass
            issuer.status = 500
            async with Keyring(source).fresh():
                pass
    assert [each["source"] for each in logs] == [issuer.url, issuer.url]


async def test_an_address_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FETCH_SECONDS", 0.05)
    async with an_issuer() as issuer:
        issuer.answers.clear()
        assert "no answer within 0.05 s" in await failure_of(UrlSource(issuer.url).read)


async def test_a_hub_over_real_sockets_follows_its_issuers_new_key(tmp_path: Path) -> None:
    """Old keys, then new ones, asked for by a device, then by a poll."""
    async with an_issuer() as issuer:
        issuer.text = keys("old")
        settings = load(
            {"token_jwks": issuer.url, "token_issuer": "i", "port": "0", "http_port": "0",
             "data": str(tmp_path / "hub.db")}, {},
        ).settings  # fmt: skip
        async with serve(settings) as hub:
            async with hub.live_device(token("old", iss="i")):
                assert issuer.asked == 1
            issuer.text = keys("new")
            async with hub.live_device(token("new", iss="i")):
                assert issuer.asked == 2
            poll = {"logical_clock": 0, "diffs": []}
            for kid, status in (("new", 200), ("old", 401)):
                asked = {"auth_token": token(kid, iss="i"), **poll}
                assert (await hub.ask("POST", "/sync", json=asked)).status == status
            asked = {"auth_token": token("new", iss="j"), **poll}
            assert (await hub.ask("POST", "/sync", json=asked)).status == 401


async def test_a_poll_whose_key_cannot_be_looked_for_comes_again(tmp_path: Path) -> None:
    async with an_issuer() as issuer:
        issuer.status = 503
        flags = {"token_jwks": issuer.url, "port": "0", "http_port": "0"}
        settings = load({**flags, "data": str(tmp_path / "hub.db")}, {}).settings
        async with serve(settings) as hub:
            poll = {"auth_token": token("old"), "logical_clock": 0, "diffs": []}
            answer = await hub.ask("POST", "/sync", json=poll)
            assert (answer.status, answer.json["message"]) == (503, NOT_HAD)


# Files


def test_a_file_is_read_when_it_has_changed_or_was_replaced(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(keys("old"))
    source = FileSource(path)
    assert source.read_now() == keys("old")
    assert source.read_now() is None
    (tmp_path / "next").write_bytes(keys("new"))
    (tmp_path / "next").replace(path)
    assert source.read_now() == keys("new")
    path.unlink()
    for _ in range(2):
        with pytest.raises(SourceFailed, match="No such file"):
            source.read_now()
    path.write_bytes(keys("new"))
    assert source.read_now() == keys("new")
    path.write_bytes(b" " * (sources.MAX_BYTES + 1))
    with pytest.raises(SourceFailed, match="larger"):
        source.read_now()


async def test_a_hub_takes_the_keys_of_a_file_that_was_replaced_and_keeps_them_if_it_breaks(
    tmp_path: Path,
) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(keys("old"))
    hub = authority_from(load({"token_jwks": str(path)}, {}).settings, lambda: NOW)
    assert isinstance(hub, JwtAuthority)
    async with hub.fresh():
        assert hub.check(token("old")) == Grant("ada")
        path.write_bytes(keys("new"))
        assert await admit(hub, token("new")) == Grant("ada")
        path.write_text("half a fi")
        for _ in range(2):
            with pytest.raises(KeysNotHad):
                await admit(hub, token("old"))
        assert hub.check(token("new")) == Grant("ada")


@pytest.mark.parametrize("content", [None, "", "no JSON", '{"keys": []}', '{"keys": [{}]}'])
def test_a_file_without_a_key_of_use_stops_the_start(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError) as caught:
        authority_from(load({"token_jwks": str(path)}, {}).settings, lambda: NOW)
    assert caught.value.settings == ("token_jwks",)
    assert "keys.json" in caught.value.problem
