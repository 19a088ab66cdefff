"""An operator takes whole users out over HTTP, brings them in, deletes them, and compacts."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hub.http import moving, pieces
from tests.hub.fakes import create, update
from tests.hub.http.served import Reply, ServedHub
from tests.hub.http.test_admin import SECRET, administered, ended
from tests.hub.http.test_repairs import ask, said

BEARER = {"Authorization": f"Bearer {SECRET}"}


async def exported(hub: ServedHub, query: str = "?user=ada") -> bytes:
    async with hub.session.get(f"{hub.url}/admin/export{query}", headers=BEARER) as answer:
        assert (answer.status, answer.content_type) == (200, "application/jsonl")
        return await answer.read()


async def brought(hub: ServedHub, body: bytes, query: str = "") -> Reply:
    return await hub.ask("POST", f"/admin/import{query}", headers=BEARER, data=body)


async def ids(hub: ServedHub, user: str = "ada") -> list[str]:
    reply = await ask(hub, f"objects?user={user}")
    return [each["id"] for each in reply.json.get("objects", ())]


async def test_a_user_is_taken_out_deleted_and_brought_back_over_http(tmp_path: Path) -> None:
    async with administered(tmp_path) as hub:
        async with hub.live_device("ada") as phone:
            await said(phone, 1, create("a", n=1), create("b", text="x" * 1_000))
            export = await exported(hub)
            assert [json.loads(line)["kind"] for line in export.splitlines()] == [
                *("export", "user", "device", "object", "object", "push", "end of user", "end"),
            ]
            reply = await ask(hub, "delete-user", user="ada")
            assert reply.json == {"success": True, "is_wal_cut": True}
            assert await ended(phone) == 4403
        assert (await ask(hub, "objects?user=ada")).status == 404
        assert (await ask(hub, "delete-user", user="ada")).status == 404
        reply = await brought(hub, export)
        assert (reply.json["objects"], await ids(hub)) == (2, ["a", "b"])
        there = await brought(hub, export)
        assert (there.status, "give --replace" in there.json["message"]) == (409, True)
        assert (await brought(hub, export, "?replace=true")).json["success"]
        compacted = (await ask(hub, "compact", now=True)).json
        assert compacted["after"] <= compacted["before"]


async def test_who_is_not_there_is_neither_deleted_nor_revoked(tmp_path: Path) -> None:
    """A slip of the pen would have turned somebody away for good."""
    async with administered(tmp_path) as hub:
        assert (await ask(hub, "delete-user", user="eve")).status == 404
        assert (await ask(hub, "export?user=eve")).status == 404
        assert (await hub.ask("GET", "/admin/revoke", headers=BEARER)).json["revoked"] == []


def spoiled(export: bytes) -> Iterator[tuple[str, bytes]]:
    """Bodies that are no export of one user, and what is said of them."""
    first, *rest = export.splitlines(keepends=True)
    yield "no user comes first", b""
    yield "no user comes first", first
    yield "line 1 is not that of an export", b"".join(rest)
    yield "line 1 is none of an export", b"not JSON\n" + export
    yield "cut off", b"".join([first, *rest[:-1]])
    yield "cut off", b"".join([first, *rest[:-2]])
    yield "cut off", export[:-1]
    yield "more than one user", b"".join([first, *rest[:-1], *rest])
    yield "some lines are missing", b"".join([first, rest[0], *rest[2:]])
    yield "a newer mobync-hub", first.replace(b'"version":1', b'"version":2') + b"".join(rest)


async def test_what_is_no_whole_export_of_one_user_brings_nobody_in(tmp_path: Path) -> None:
    async with administered(tmp_path) as hub:
        async with hub.live_device("ada") as phone:
            await said(phone, 1, create("a", n=1))
        export = (await exported(hub)).replace(b'"name":"ada"', b'"name":"eve"')
        for words, body in spoiled(export):
            reply = await brought(hub, body)
            assert (reply.status, reply.json["success"]) == (400, False), words
            assert words in reply.json["message"]
        [user] = (await ask(hub, "users")).json["users"]
        assert user["user"] == "ada"
        assert (await brought(hub, export)).json["success"]


async def test_a_large_user_comes_in_pieces_though_many_requests_would_be_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1_000)
    monkeypatch.setattr("hub.http.app.REQUEST_SECONDS", 0.05)
    taken: list[int] = []

    async def slowly(response: Any, piece: bytes) -> None:
        taken.append(len(piece))
        await asyncio.sleep(0.02)
        await response.write(piece)

    monkeypatch.setattr(pieces, "_take", slowly)
    async with administered(tmp_path) as hub:
        async with hub.live_device("ada") as phone:
            for number in range(1, 4):
                await said(phone, number, *(create(f"{number}-{n}", n=n) for n in range(20)))
        export = await exported(hub)
        assert max(taken) < 10_000
        assert sum(taken) == len(export)
        assert len(taken) > 5
        assert (await exported(hub, "")).count(b'"kind":"object"') == 60


async def test_an_export_that_nobody_takes_is_cut_off_and_lets_the_file_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_SECONDS", 0.2)
    async with administered(tmp_path) as hub:
        async with hub.live_device("ada") as phone:
            for number in range(1, 31):
                texts = (create(f"{number}-{n}", text="x" * 60_000) for n in range(16))
                await said(phone, number, *texts)
        port = int(hub.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**10)
        lines = ["GET /admin/export HTTP/1.1", "Host: hub", f"Authorization: Bearer {SECRET}"]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        while not (await ask(hub, "compact", now=True)).json["is_wal_cut"]:
            pass
        left = await reader.read()
        writer.close()
        assert b'"kind":"export"' in left
        assert not left.endswith(b"0\r\n\r\n"), "half an export must not look whole"


@pytest.mark.parametrize("shown", [{}, {"Authorization": f"Bearer {SECRET}x"}])
async def test_who_has_not_the_admin_token_moves_nobody(
    tmp_path: Path, shown: dict[str, str]
) -> None:
    async with administered(tmp_path) as hub:
        async with hub.live_device("ada") as phone:
            await said(phone, 1, create("a"), update("a", 1))
        asked: Sequence[tuple[str, str]] = (
            ("GET", moving.EXPORT),
            *(("POST", path) for path in (moving.IMPORT, moving.DELETE, moving.COMPACT)),
        )
        for method, path in asked:
            body = b'{"user": "ada"}' if method == "POST" else None
            assert (await hub.ask(method, path, headers=shown, data=body)).status == 401
        assert await ids(hub) == ["a"]
