"""One poll after another: what is stored, what is not, and what each is told."""

import asyncio
import itertools
import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from hub.auth import Grant
from hub.errors import Unauthorized
from hub.http import polling
from hub.http.polling import PAGE_BYTES, PAGE_KEYS, PollRefused, poll
from hub.limits import Limits
from hub.store.errors import StoreFailed
from tests.hub.fakes import START, Site, a_hub, create, in_virtual_time, settled
from tests.hub.http.test_agreement import forget_log

Json = dict[str, Any]

ADA = "ada"

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Virtual time knows nothing of threads."""
    monkeypatch.setattr(polling, "INLINE_BYTES", 2**40)


def diff(kind: str, name: str, at: int = START, **fields: Any) -> Json:
    return {
        "id": f"polled-{next(_numbers)}",
        "owner": "a constant",
        "logical_clock": 0,
        "utc_timestamp": at,
        "type": kind,
        "model": "tasks",
        "json_data": json.dumps({"id": name, **fields}),
    }


async def ask(site: Site, clock: int, *diffs: Json, token: str = ADA) -> Json:
    request = {"auth_token": token, "logical_clock": clock, "diffs": diffs}
    answer: Json = json.loads((await poll(site.hub, json.dumps(request).encode())).body)
    return answer


async def refusal(site: Site, clock: int, *diffs: Json, token: str = ADA) -> PollRefused:
    with pytest.raises(PollRefused) as caught:
        await ask(site, clock, *diffs, token=token)
    return caught.value


def told(answer: Json) -> list[tuple[str, Json]]:
    return [(each["type"], json.loads(each["json_data"])) for each in answer["diffs"]]


class Tokens:
    """What each token of a test gives."""

    def __init__(self, **grants: Grant) -> None:
        self._grants = grants

    def check(self, token: object) -> Grant:
        if not isinstance(token, str) or token not in self._grants:
            raise Unauthorized("nobody knows this token")
        return self._grants[token]


@in_virtual_time
async def test_a_request_without_diffs_takes_no_clock(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        expected = {"success": True, "message": "", "logical_clock": 0, "diffs": []}
        assert await ask(site, 0) == expected
        assert site.store.groups == []


@in_virtual_time
async def test_all_diffs_of_a_request_are_one_push(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        assert (await ask(site, 0, diff("create", "x"), diff("create", "y")))["logical_clock"] == 1
        heard = await phone.hear()
        assert (heard["logical_clock"], heard["device"]) == (1, "mobync")
        assert [each["json_data"]["id"] for each in heard["diffs"]] == ["x", "y"]


@in_virtual_time
async def test_the_same_request_sent_twice_changes_nothing_and_is_told_the_same(
    tmp_path: Path,
) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        phone.push(1, create("z", n=1))
        await phone.hear()
        request = [diff("create", "x", n=1), diff("update", "z", n=2), diff("update", "none", n=1)]
        first = await ask(site, 0, *request)
        await phone.hear()
        assert await ask(site, 0, *request) == first
        assert await phone.heard_by_now() == []


@in_virtual_time
async def test_of_a_request_that_has_grown_only_the_new_is_stored(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        made = diff("create", "x", n=1)
        await ask(site, 0, made)
        phone = await site.live("phone")
        assert (await ask(site, 0, made, diff("update", "x", n=2)))["logical_clock"] == 2
        (heard,) = await phone.heard_by_now()
        assert [(each["type"], each["json_data"]["n"]) for each in heard["diffs"]] == [
            ("update", 2)
        ]


@in_virtual_time
async def test_a_request_of_which_all_is_refused_takes_a_clock_once(tmp_path: Path) -> None:
    """Else the client, which waits for its clock to rise, would send it for ever."""
    async with a_hub(tmp_path / "hub.db") as site:
        flawed = {**diff("create", "x"), "json_data": "no JSON"}
        first = await ask(site, 0, flawed)
        assert first["logical_clock"] == 1
        assert f"{flawed['id']} (invalid_diff" in first["message"]
        assert await ask(site, 0, flawed) == first


@in_virtual_time
async def test_two_polling_clients_are_not_one_device(tmp_path: Path) -> None:
    """The older value of the one that had not seen the newer one loses."""
    async with a_hub(tmp_path / "hub.db") as site:
        await ask(site, 0, diff("create", "x", at=START, n=0))
        await ask(site, 1, diff("update", "x", at=START + 9, n=1))
        answer = await ask(site, 1, diff("update", "x", at=START + 5, n=2))
        assert told(answer) == [("update", {"id": "x", "n": 1})]


@in_virtual_time
async def test_more_diffs_than_a_socket_may_push_at_once_are_one_push(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db", limits=Limits(max_diffs=3)) as site:
        many = [diff("create", f"x{number}") for number in range(100)]
        assert (await ask(site, 0, *many))["logical_clock"] == 1
        assert len((await ask(site, 0))["diffs"]) == 100


@in_virtual_time
async def test_users_do_not_see_each_other(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        await ask(site, 0, diff("create", "x"), token="ada")
        assert (await ask(site, 0, token="ben"))["diffs"] == []


@in_virtual_time
async def test_a_clock_above_the_head_is_of_another_history(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        refused = await refusal(site, 1, diff("create", "x"))
        assert refused.status is HTTPStatus.CONFLICT
        assert "logical_clock is 1, above the hub's 0" in str(refused)
        assert site.store.groups == []


@in_virtual_time
async def test_a_clock_below_the_line_is_from_before_what_was_forgotten(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site, site.hub.users.visit("ada") as ada:
        for name in "xyz":
            await ask(site, 0, diff("create", name))
        ada.line = 2
        refused = await refusal(site, 1, diff("create", "late"))
        assert refused.status is HTTPStatus.CONFLICT
        assert (await ask(site, 2))["logical_clock"] == 3


@pytest.mark.parametrize("body", [b"", b"no JSON", b"{}", b"[1]", b"\xff\xfe", b"[" * 9999])
def test_a_body_that_is_no_request_is_malformed(tmp_path: Path, body: bytes) -> None:
    @in_virtual_time
    async def story() -> None:
        async with a_hub(tmp_path / "hub.db") as site:
            with pytest.raises(PollRefused) as caught:
                await poll(site.hub, body)
            assert caught.value.status is HTTPStatus.BAD_REQUEST

    story()


@in_virtual_time
async def test_a_token_that_does_not_count_is_unauthorized(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db", authority=Tokens()) as site:
        refused = await refusal(site, 0, diff("create", "x"), token="wrong")
        assert refused.status is HTTPStatus.UNAUTHORIZED
        assert site.store.groups == []


@in_virtual_time
async def test_a_token_that_is_not_there_is_unauthorized(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        with pytest.raises(PollRefused) as caught:
            await poll(site.hub, b'{"logical_clock": 0, "diffs": []}')
        assert caught.value.status is HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize(
    ("device", "is_allowed"), [(None, True), ("mobync", True), ("phone", False)]
)
def test_a_token_of_another_device_is_forbidden(
    tmp_path: Path, device: str | None, is_allowed: bool
) -> None:
    @in_virtual_time
    async def story() -> None:
        tokens = Tokens(bound=Grant("ada", device))
        async with a_hub(tmp_path / "hub.db", authority=tokens) as site:
            if is_allowed:
                assert (await ask(site, 0, token="bound"))["success"]
            else:
                refused = await refusal(site, 0, token="bound")
                assert refused.status is HTTPStatus.FORBIDDEN

    story()


@in_virtual_time
async def test_a_reader_reads_and_its_edits_are_refused(tmp_path: Path) -> None:
    tokens = Tokens(writes=Grant("ada"), reads=Grant("ada", read_only=True))
    async with a_hub(tmp_path / "hub.db", authority=tokens) as site:
        await ask(site, 0, diff("create", "x", n=1), token="writes")
        edit = diff("update", "x", n=2)
        answer = await ask(site, 1, edit, token="reads")
        assert answer["success"]
        assert f"{edit['id']} (forbidden" in answer["message"]
        assert told(answer) == [("update", {"id": "x", "n": 1})]
        assert len((await ask(site, 0, token="reads"))["diffs"]) == 1


@in_virtual_time
async def test_a_failing_store_stores_nothing_and_the_client_comes_again(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        made = diff("create", "x")
        site.store.failures = 1
        with pytest.raises(StoreFailed):
            await ask(site, 0, made)
        assert (await ask(site, 0, made))["logical_clock"] == 1


@in_virtual_time
async def test_a_push_is_stored_and_heard_though_its_client_has_given_up(tmp_path: Path) -> None:
    """Stories 8 and 11: the same request comes again and finds it stored."""
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        made = diff("create", "x")
        site.store.hold()
        asking = asyncio.create_task(ask(site, 0, made))
        await site.store.reached()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        site.store.let_go()
        assert (await phone.hear())["logical_clock"] == 1
        assert (await ask(site, 0, made))["logical_clock"] == 1


@in_virtual_time
async def test_requests_at_the_same_time_miss_nothing_of_each_other(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        made = {f"x{number}" for number in range(5)}
        site.store.hold()
        asking = [asyncio.create_task(ask(site, 0, diff("create", name))) for name in sorted(made)]
        await settled()
        site.store.let_go()
        for own, answer in zip(sorted(made), await asyncio.gather(*asking), strict=True):
            later = await ask(site, answer["logical_clock"])
            heard = [fields["id"] for _kind, fields in told(answer) + told(later)]
            assert sorted([own, *heard]) == sorted(made)


@in_virtual_time
async def test_what_is_stored_while_the_log_is_read_is_in_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        await ask(site, 0, diff("create", "x"))
        late = diff("create", "late")
        meanwhile(monkeypatch, site, "log", late)
        answer = await ask(site, 0)
        assert answer["logical_clock"] == 2
        assert answer["diffs"][-1]["id"] == late["id"]


@in_virtual_time
async def test_what_is_stored_while_objects_are_read_comes_behind_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the client would hold more than its clock says, and be told twice of a `create`."""
    async with a_hub(tmp_path / "hub.db") as site:
        await ask(site, 0, diff("create", "x", n=0))
        await ask(site, 1, diff("update", "x", n=1))
        meanwhile(monkeypatch, site, "objects", diff("update", "x", n=9, at=START + 9))
        answer = await ask(site, 1, diff("update", "x", m=1, at=START + 5))
        assert answer["logical_clock"] == 3
        assert told(answer) == [("update", {"id": "x", "n": 1, "m": 1})]
        await settled()
        assert told(await ask(site, 3)) == [("update", {"id": "x", "n": 9})]


def meanwhile(monkeypatch: pytest.MonkeyPatch, site: Site, method: str, pushed: Json) -> None:
    """Let somebody push, if that is possible, while the store is first asked this.

    A log once read may lack the push; objects are read again, and would show it.
    """
    original = getattr(site.store, method)
    pushing: list[asyncio.Task[Json]] = []

    async def ask_store(*args: Any) -> Any:
        if not pushing:
            before = await original(*args)
            pushing.append(asyncio.create_task(ask(site, 0, pushed)))
            await settled()
            return before if method == "log" else await original(*args)
        return await original(*args)

    monkeypatch.setattr(site.store, method, ask_store)


@in_virtual_time
async def test_a_long_log_is_answered_whole(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        text = "x" * 30_000
        count = 3 * PAGE_BYTES // len(text)
        for clock in range(count):
            await ask(site, clock, diff("create", f"x{clock}", text=text))
        names = [fields["id"] for _kind, fields in told(await ask(site, 0))]
        assert names == [f"x{clock}" for clock in range(count)]


@in_virtual_time
async def test_many_objects_come_whole_when_the_log_is_gone(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        names = [f"x{number}" for number in range(2 * PAGE_KEYS + 1)]
        await ask(site, 0, *(diff("create", name) for name in names))
        await ask(site, 1, diff("delete", "x0"))
        await forget_log(site)
        await ask(site, 2, diff("create", "last"))
        newcomer = await ask(site, 0)
        assert newcomer["logical_clock"] == 3
        made = [fields["id"] for kind, fields in told(newcomer) if kind == "create"]
        assert sorted(made) == sorted({*names, "last"} - {"x0"})
        assert told(await ask(site, 1)) == [
            ("delete", {"id": "x0"}),
            ("delete", {"id": "last"}),
            ("create", {"id": "last"}),
        ]
