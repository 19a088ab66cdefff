"""Each message and endpoint is tried with another user's devices, ids and tokens.

Mallory knows what Ada's objects, edits, devices and history are called, how far she is, and even
some tokens that were made for her. He tries all of it, on her hub and on one that has never heard
of her: he must be told the same by both, and she must neither lose anything nor hear of him.
"""

import base64
import json
from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, TypeAlias, get_args

import pytest

from hub.counts import Counts
from hub.http.app import make_app, routes_of
from hub.limits import Limits
from protocol.messages import FromDevice
from tests.hub.apart.two import (
    FORGED,
    HERS,
    NOTES,
    Answers,
    Hers,
    a_hub,
    adas_hub,
    comparable,
    edit,
    greeted,
    settings_in,
    token,
    told,
)
from tests.hub.http.served import Json, ServedHub

Attempt: TypeAlias = Callable[[ServedHub, Hers], Awaitable[Answers]]


class Way(NamedTuple):
    """A way in: a message, or a route, what is tried there, and the errors that must be told."""

    into: str
    story: str
    errors: tuple[str, ...]
    attempt: Attempt

    def __repr__(self) -> str:
        return f"{self.into}: {self.story}"


WAYS: Final[list[Way]] = []


def way(into: str, story: str, *errors: str) -> Callable[[Attempt], Attempt]:
    def note(attempt: Attempt) -> Attempt:
        WAYS.append(Way(into, story, errors, attempt))
        return attempt

    return note


# hello


@way("hello", "as a device that is called as hers")
async def _her_device(hub: ServedHub, _hers: Hers) -> Answers:
    return [
        await greeted(hub, token("mallory"), name) for name in ("phone", "laptop", f"tab-{HERS}")
    ]


@way("hello", "with her history and her clock")
async def _her_history(hub: ServedHub, hers: Hers) -> Answers:
    clocks = (0, 1, hers.clock, hers.clock + 1)
    return [
        await greeted(hub, token("mallory"), "phone", log_id=hers.log_id, logical_clock=clock)
        for clock in clocks
    ]


@way("hello", "half-way through her objects")
async def _half_way(hub: ServedHub, hers: Hers) -> Answers:
    half = {"from": 0, "head": hers.clock}
    known = {"log_id": hers.log_id, "logical_clock": 1, "half": half}
    return await greeted(hub, token("mallory"), "phone", **known)


@way("hello", "with the epoch of the hub that both use")
async def _epoch(hub: ServedHub, hers: Hers) -> Answers:
    [welcome, *_rest] = await greeted(hub, token("mallory"), "phone")
    known = {"log_id": hers.log_id, "logical_clock": hers.clock, "epoch": welcome["epoch"]}
    return await greeted(hub, token("mallory"), "phone", **known, earlier=[welcome["epoch"]])


@way("hello", "with a token of hers that is for another device", "forbidden")
async def _bound_to_her_phone(hub: ServedHub, _hers: Hers) -> Answers:
    return await greeted(hub, token("ada", device="phone"), "mallory's")


def unsigned(claims: Json) -> str:
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return b".".join((*texts, b"")).decode()


def with_another_user(jwt: str) -> str:
    """A token whose signature is good, and whose claims are not what was signed."""
    head, _claims, signature = jwt.split(".")
    return ".".join((head, unsigned({"sub": "ada"}).split(".")[1], signature))


FORGERIES: Final[dict[str, Callable[[], str]]] = {
    "signed by nobody": lambda: unsigned({"sub": "ada"}),
    "signed with another secret": lambda: token("ada", FORGED),
    "signed for somebody else": lambda: with_another_user(token("mallory")),
    "run out": lambda: token("ada", lasts=-1),
    "her name": lambda: "ada",
}


@way("hello", "with tokens that are not hers at all", *["unauthorized"] * 5)
async def _forged(hub: ServedHub, _hers: Hers) -> Answers:
    return [await greeted(hub, make(), "phone") for make in FORGERIES.values()]


# push


@way("push", "edits of her objects")
async def _her_objects(hub: ServedHub, _hers: Hers) -> Answers:
    kinds = ("update", "delete", "create")
    diffs = [edit(kind, f"n1-{HERS}", at=2**52, text="mine now") for kind in kinds]
    guessed = [edit(kind, "n1", model="notes", at=2**52) for kind in kinds]
    return await told(hub, {"type": "push", "push_id": 1, "diffs": diffs + guessed})


@way("push", "edits of what she deleted")
async def _her_deletions(hub: ServedHub, _hers: Hers) -> Answers:
    diffs = [edit(kind, f"n2-{HERS}") for kind in ("update", "delete", "create")]
    return await told(hub, {"type": "push", "push_id": 1, "diffs": diffs})


@way("push", "under the ids of her edits, as if sent again")
async def _her_edits(hub: ServedHub, _hers: Hers) -> Answers:
    diffs = [edit("create", name, diff=name) for name in (f"d1-{HERS}", f"d3-{HERS}", "d1")]
    again = {"type": "push", "push_id": 3, "diffs": diffs, "again": True}
    return await told(hub, again, {**again, "push_id": 4, "again": False})


@way("push", "giving back what her history held")
async def _her_versions(hub: ServedHub, hers: Hers) -> Answers:
    was = {"log_id": hers.log_id, "logical_clock": hers.clock, "created": 1}
    seen = {"log_id": hers.log_id, "logical_clock": hers.clock}
    offers = [edit("create", f"n1-{HERS}", was=was), edit("delete", f"n2-{HERS}", was=was)]
    edits = [edit("update", f"n1-{HERS}", seen=seen, text="seen")]
    return await told(
        hub,
        {"type": "push", "push_id": 1, "diffs": offers},
        {"type": "push", "push_id": 2, "diffs": edits},
    )


@way("push", "names her in fields that nobody reads")
async def _fields_of_hers(hub: ServedHub, _hers: Hers) -> Answers:
    names = {"user": "ada", "owner": "ada", "user_no": 1, "device": "phone", "device_no": 1}
    diff = {**edit("update", f"n1-{HERS}"), **names}
    return await told(hub, {"type": "push", "push_id": 1, "diffs": [diff], **names})


# received, ping, auth


@way("received", "of a device that is called as hers, and of more than there is")
async def _received(hub: ServedHub, hers: Hers) -> Answers:
    clocks = (hers.clock, 2**53 - 1)
    said = [{"type": "received", "logical_clock": clock, "user": "ada"} for clock in clocks]
    return await told(hub, *said)


@way("ping", "with her names in it")
async def _ping(hub: ServedHub, hers: Hers) -> Answers:
    return await told(hub, {"type": "ping", "nonce": hers.log_id, "user": "ada"})


@way("auth", "with tokens of hers", *["forbidden"] * 3)
async def _auth(hub: ServedHub, _hers: Hers) -> Answers:
    tokens = [token("ada"), token("ada", device="phone"), token("ada", read_only=True)]
    return [await told(hub, {"type": "auth", "token": each}) for each in tokens]


@way("auth", "with tokens that are not hers at all", *["unauthorized"] * 5)
async def _forged_auth(hub: ServedHub, _hers: Hers) -> Answers:
    return [await told(hub, {"type": "auth", "token": make()}) for make in FORGERIES.values()]


# HTTP


async def asked(hub: ServedHub, method: str, path: str, **options: Any) -> Answers:
    reply = await hub.ask(method, path, **options)
    return [reply.status, reply.json, {k: v for k, v in reply.headers.items() if k != "date"}]


def poll(*diffs: Json, auth: str | None = None, clock: int = 0) -> Json:
    said = [{**diff, "json_data": json.dumps(diff["json_data"]), "owner": "ada"} for diff in diffs]
    return {"auth_token": auth or token("mallory"), "logical_clock": clock, "diffs": said}


@way("POST /sync", "in her name, of her objects")
async def _poll_hers(hub: ServedHub, _hers: Hers) -> Answers:
    diffs = [edit(kind, f"n1-{HERS}", at=2**52) for kind in ("update", "delete", "create")]
    again = edit("create", "x", diff=f"d3-{HERS}")
    request = {**poll(*diffs, again), "owner": "ada", "user": "ada", "device": "phone"}
    return [await asked(hub, "POST", "/sync", json=request) for _twice in range(2)]


@way("POST /sync", "with her clock", *["409"] * 5)
async def _poll_clock(hub: ServedHub, hers: Hers) -> Answers:
    clocks = range(hers.clock + 2)
    return [await asked(hub, "POST", "/sync", json=poll(clock=clock)) for clock in clocks]


@way(
    "POST /sync",
    "with a token of hers that is for another device, and with forged ones",
    *("403", *["401"] * 5),
)
async def _poll_tokens(hub: ServedHub, _hers: Hers) -> Answers:
    tokens = [token("ada", device="phone"), *(make() for make in FORGERIES.values())]
    return [await asked(hub, "POST", "/sync", json=poll(auth=each)) for each in tokens]


@way("POST /sync", "with her name in the address and in the headers")
async def _poll_headers(hub: ServedHub, _hers: Hers) -> Answers:
    names = {"X-User": "ada", "X-Forwarded-User": "ada", "Authorization": f"Bearer {token('ada')}"}
    address = "/sync?user=ada&owner=ada&device=phone"
    return await asked(hub, "POST", address, json=poll(), headers=names)


@way("GET /healthz", "with her token")
async def _alive(hub: ServedHub, _hers: Hers) -> Answers:
    bearer = {"Authorization": f"Bearer {token('ada')}"}
    return await asked(hub, "GET", "/healthz?user=ada", headers=bearer)


@way("GET /readyz", "with her token")
async def _serving(hub: ServedHub, _hers: Hers) -> Answers:
    bearer = {"Authorization": f"Bearer {token('ada')}"}
    return await asked(hub, "GET", "/readyz?user=ada", headers=bearer)


@way("POST /admin/revoke", "with tokens of users, and with none", *["401"] * 3)
async def _revoke(hub: ServedHub, _hers: Hers) -> Answers:
    said = {"user": "ada"}
    tokens = ("", f"Bearer {token('ada')}", f"Bearer {token('mallory')}")
    headers = [{"Authorization": each} if each else {} for each in tokens]
    return [await asked(hub, "POST", "/admin/revoke", json=said, headers=h) for h in headers]


@way("GET /admin/revoke", "with her token", "401")
async def _revoked(hub: ServedHub, _hers: Hers) -> Answers:
    bearer = {"Authorization": f"Bearer {token('ada')}"}
    return await asked(hub, "GET", "/admin/revoke", headers=bearer)


async def _as_operator(hub: ServedHub, method: str, path: str, **options: Any) -> Answers:
    """With the tokens of users, and with none."""
    tokens = ("", f"Bearer {token('ada')}", f"Bearer {token('mallory')}")
    headers = [{"Authorization": each} if each else {} for each in tokens]
    return [await asked(hub, method, path, headers=each, **options) for each in headers]


@way("GET /admin/users", "as if he were the operator", *["401"] * 3)
async def _all_users(hub: ServedHub, _hers: Hers) -> Answers:
    return await _as_operator(hub, "GET", "/admin/users")


@way("GET /admin/devices", "as if he were the operator", *["401"] * 3)
async def _all_devices(hub: ServedHub, _hers: Hers) -> Answers:
    return await _as_operator(hub, "GET", "/admin/devices?user=ada")


@way("GET /admin/objects", "as if he were the operator", *["401"] * 3)
async def _all_objects(hub: ServedHub, _hers: Hers) -> Answers:
    return await _as_operator(hub, "GET", "/admin/objects?user=ada")


@way("GET /admin/log", "as if he were the operator", *["401"] * 3)
async def _all_pushes(hub: ServedHub, _hers: Hers) -> Answers:
    return await _as_operator(hub, "GET", "/admin/log?user=ada")


@way("GET /admin/why", "as if he were the operator", *["401"] * 3)
async def _why(hub: ServedHub, _hers: Hers) -> Answers:
    return await _as_operator(hub, "GET", f"/admin/why?user=ada&model={NOTES}&id=n1-{HERS}")


@way("POST /admin/restore", "as if he were the operator", *["401"] * 3)
async def _bring_back(hub: ServedHub, _hers: Hers) -> Answers:
    lost = {"user": "ada", "model": NOTES, "id": f"n1-{HERS}", "field": "text", "clock": 1}
    return await _as_operator(hub, "POST", "/admin/restore", json=lost)


@way("GET /admin/export", "as if he were the operator", *["401"] * 3)
async def _export(hub: ServedHub, _hers: Hers) -> Answers:
    return await _as_operator(hub, "GET", "/admin/export?user=ada")


@way("POST /admin/import", "as if he were the operator", *["401"] * 3)
async def _import(hub: ServedHub, _hers: Hers) -> Answers:
    return await _as_operator(hub, "POST", "/admin/import?replace=true", data=b"{}")


@way("POST /admin/delete-user", "as if he were the operator", *["401"] * 3)
async def _delete_user(hub: ServedHub, _hers: Hers) -> Answers:
    return await _as_operator(hub, "POST", "/admin/delete-user", json={"user": "ada"})


@way("POST /admin/compact", "as if he were the operator", *["401"] * 3)
async def _compact(hub: ServedHub, _hers: Hers) -> Answers:
    return await _as_operator(hub, "POST", "/admin/compact")


@way("GET /metrics", "as if he were the operator", *["401"] * 3)
async def _metrics(hub: ServedHub, _hers: Hers) -> Answers:
    return await _as_operator(hub, "GET", "/metrics?user=ada")


@way("GET /admin/live", "as if he were the operator", *["401"] * 3)
async def _watch(hub: ServedHub, _hers: Hers) -> Answers:
    return await _as_operator(hub, "GET", "/admin/live?user=ada")


async def _page(hub: ServedHub, path: str) -> Answers:
    """What the live page is made of, with a token and without."""
    answers: Answers = []
    for headers in ({}, {"Authorization": f"Bearer {token('ada')}"}):
        async with hub.session.get(hub.url + path, headers=headers) as response:
            answers.append([response.status, {}, {"page": await response.text()}])
    return answers


@way("GET /admin/", "with her name in the address")
async def _live_page(hub: ServedHub, _hers: Hers) -> Answers:
    return await _page(hub, "/admin/?user=ada")


@way("GET /admin", "with her name in the address")
async def _way_to_the_page(hub: ServedHub, _hers: Hers) -> Answers:
    return await _page(hub, "/admin?user=ada")


@way("GET /admin/page/{name}", "with her name, and the file's", *["404"] * 3)
async def _files_of_the_page(hub: ServedHub, _hers: Hers) -> Answers:
    names = ("ada", "..%2f..%2fhub.db", "hub.db")
    refused = [await asked(hub, "GET", f"/admin/page/{name}") for name in names]
    return [*refused, *await _page(hub, "/admin/page/main.js?user=ada")]


@way("anything else over HTTP", "that a careless server would have", *["404"] * 7)
async def _no_such_route(hub: ServedHub, _hers: Hers) -> Answers:
    paths = (
        "/",
        "/users/ada",
        "/sync/ada",
        "/hub.db",
        "/%2e%2e/hub.db",
        "/metrics/ada",
        "/settings",
    )
    return [await asked(hub, "GET", path) for path in paths]


# The verdict


@pytest.mark.parametrize("tried", WAYS, ids=repr)
async def test_nothing_of_another_user_is_seen_changed_or_hinted_at(
    tmp_path: Path, tried: Way
) -> None:
    async with adas_hub(tmp_path / "hers") as (hub, ada):
        hers, before, heard = ada.knows, ada.stored(), ada.heard
        answers = await tried.attempt(hub, hers)
        assert await ada.heard_since(heard) == []
        assert "dear diary" not in json.dumps(answers)
    assert ada.stored() == before
    assert tuple(errors_in(answers)) == tried.errors
    async with a_hub(tmp_path / "another") as hub:
        assert comparable(answers) == comparable(await tried.attempt(hub, hers))


def errors_in(answers: Any) -> Iterator[str]:
    """The codes of all errors that were told, and the statuses of all that HTTP refused."""
    match answers:
        case {"type": "error", "code": code}:
            yield code
        case [int(status), {}, {}] if status >= HTTPStatus.BAD_REQUEST:
            yield str(status)
        case list():
            for each in answers:
                yield from errors_in(each)


def test_each_message_and_each_endpoint_was_tried(tmp_path: Path) -> None:
    """One that is added is tried, too, or this fails."""
    messages = {kind.__struct_config__.tag for kind in get_args(FromDevice)}
    hub: Any = SimpleNamespace(limits=Limits(), counts=Counts())
    app = make_app(hub, routes_of(hub, hub, settings_in(tmp_path), hub), seconds=1.0)
    routes = {
        (route.method, getattr(route.resource, "canonical", "")) for route in app.router.routes()
    }
    endpoints = {" ".join(route) for route in routes if route[0] != "HEAD"}
    assert messages | endpoints | {"anything else over HTTP"} == {each.into for each in WAYS}
