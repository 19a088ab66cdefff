"""`mobync-hub export` and `import`: a whole user goes from one hub to another, or stays whole."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from client import Device
from hub.exports import EndOfUser, Line, NotAnExport, User, encode_line, read_line
from hub.store import exporting
from hub.store.beside import looking
from hub.store.errors import UserExists
from hub.store.staging import COMING, GOING
from tests.hub.fakes import START, FakeClock, create, delete, update
from tests.hub.http.served import dev_settings, serve
from tests.hub.store.asking import asked
from tests.hub.store.bench import push
from tests.hub.store.contract_refill import offer
from tests.hub.verbs.files import ODD, a_store, commit, edited, in_a_process, told, verb

UNTOLD = {"log_id", "stored_at", "seen", "first_clock"}


async def lives(data: Path) -> Path:
    """Ada has all that a user can have: lost edits, a deletion, odd names, what was given back."""
    async with a_store(data) as store:
        await commit(store, push(1, create("a", n=1, m=2), create("b")), push(2, delete("b", 1)))
        await commit(store, push(1, update("a", 0, START - 5, n=9), update("z"), device="laptop"))
        for number, name in enumerate(ODD, 3):
            odd = {**create(name, v=name), "model": name}
            await commit(store, push(number, odd, device=name))
        old = (await store.user("ada")).history.log_id
        await store.fork("ada", 4)
        await commit(store, push(9, offer(create("r", n=5), old, 99, 98)))
        store.received("ada", "phone", 2)
        await commit(store, push(1, create("x"), user="bob"))
    return data


def exported(data: Path, *words: str) -> Path:
    target = data.with_name("export.jsonl")
    done = verb(data, "export", *words)
    assert done.exit_code == 0, done.output
    target.write_bytes(done.stdout_bytes)
    return target


def shown(data: Path, user: str = "ada") -> list[Any]:
    """All that can be seen of a user but the log."""
    rows = [row for row in told(data, "users") if row["user"] == user]
    rows += told(data, "devices", user) + told(data, "objects", user, "--deleted")
    return [{k: v for k, v in row.items() if k not in UNTOLD | {"since"}} for row in rows]


async def test_a_user_is_the_same_in_another_file_but_for_the_history(tmp_path: Path) -> None:
    data, other = await lives(tmp_path / "hub.db"), tmp_path / "other.db"
    async with a_store(other, life="other ") as store:
        await commit(store, push(1, create("mine"), user="eve"))
    brought = told(other, "import", exported(data))
    assert [each["user"] for each in brought] == ["ada", "bob"]
    assert shown(other) == shown(data)
    assert shown(other, "bob") == shown(data, "bob")
    here, there = (told(each, "users")[0] for each in (data, other))
    assert here["log_id"] != there["log_id"]
    assert there["first_clock"] == there["clock"] + 1
    assert told(other, "log", "ada") == []
    columns = "model, id, created, clock, timestamp, fields, past"
    query = (
        f"SELECT {columns} FROM objects JOIN users USING (user_no) WHERE name = 'ada' ORDER BY 1, 2"  # noqa: S608 - constants
    )
    assert asked(other, query) == asked(data, query)


async def test_who_was_not_told_yet_what_was_refused_is_told_after_the_import(
    tmp_path: Path,
) -> None:
    data, other = await lives(tmp_path / "hub.db"), tmp_path / "other.db"
    async with a_store(other):
        pass
    told(other, "import", exported(data, "ada"))
    async with a_store(data) as here, a_store(other) as there:
        for name in ("phone", "laptop"):
            assert await there.device("ada", name) == await here.device("ada", name)
        assert (await there.device("ada", "laptop")).outcomes[0].lost != ()


async def test_merges_go_on_as_before(tmp_path: Path) -> None:
    data, other = await lives(tmp_path / "hub.db"), tmp_path / "other.db"
    async with a_store(other):
        pass
    told(other, "import", exported(data))
    results = []
    late = update("a", 0, START - 5, n=7), create("b", 0, START - 5), update("a", 1, m=3)
    for path in (data, other):
        async with a_store(path) as store:
            [stored] = await store.commit([push(10, *late, device="tablet")])
            assert stored is not None
            results.append((stored.clock, stored.diffs, stored.lost, stored.rejected))
    assert results[0] == results[1]


async def test_a_user_who_is_there_stays_unless_told_otherwise(tmp_path: Path) -> None:
    data = await lives(tmp_path / "hub.db")
    export, before = exported(data, "ada"), shown(data)
    async with a_store(data) as store:
        await commit(store, push(50, create("later")))
    done = verb(data, "import", export)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "there is a user 'ada' already; give --replace" in done.stderr
    assert shown(data) != before
    assert told(data, "import", "--replace", export)[0]["user"] == "ada"
    assert shown(data) == before
    assert nobody_is_on_the_way(data)


async def test_how_far_the_export_of_one_user_is_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood at 0 % until the end, however large the user was."""
    monkeypatch.setattr(exporting, "TOLD_ROWS", 4)
    data, heard = await lives(tmp_path / "hub.db"), []
    with looking(data) as file:
        lines = list(exporting.export(file, ["ada"], START, lambda *said: heard.append(said)))
    (_part, _done, whole) = heard[-1]
    assert [done for _, done, _ in heard[:-1]] == [
        min(done, whole) for done in range(4, len(lines) - 1, 4)
    ]
    assert heard[-1] == ("exporting", whole, whole)
    assert 0.5 * len(lines) < whole < 1.5 * len(lines)


@pytest.mark.parametrize(
    ("words", "stopped", "meaning"),
    [
        (("import", "--replace"), "importing._bring_all", "who had that name before is as before"),
        (("delete-user", "--yes", "ada"), "deleting._deleted", "compact erases what is left"),
        (("compact",), "compacting._compacted", "Nothing is lost"),
    ],
)
async def test_whoever_stops_a_verb_is_told_what_became_of_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    stopped: str,
    meaning: str,
) -> None:
    """It said "Aborted", and nobody knew whether half a user was there."""
    data = await lives(tmp_path / "hub.db")
    more = [exported(data)] if words[0] == "import" else []

    async def stop(*_words: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"hub.verbs.{stopped}", stop)
    done = verb(data, *words, *more)
    assert done.exit_code == 1
    assert "Stopped." in done.stderr
    assert meaning in done.stderr


async def test_where_one_of_many_is_there_none_of_the_others_comes_in(tmp_path: Path) -> None:
    data, other = await lives(tmp_path / "hub.db"), tmp_path / "other.db"
    async with a_store(other) as store:
        await commit(store, push(1, create("mine"), user="bob"))
    assert "there is a user 'bob' already" in verb(other, "import", exported(data)).stderr
    assert [row["user"] for row in told(other, "users")] == ["bob"]
    with pytest.raises(UserExists):
        async with a_store(other) as store:
            await store.import_user(
                User(name="bob", log_id="l", clock=1, line=0), ends(), replace=False
            )
    assert nobody_is_on_the_way(other)


async def ends() -> AsyncIterator[Line]:
    yield EndOfUser(devices=0, objects=0, deletions=0)


async def test_a_hub_that_is_new_takes_an_export(tmp_path: Path) -> None:
    data, other = await lives(tmp_path / "hub.db"), tmp_path / "other.db"
    assert len(told(other, "import", exported(data))) == 2
    assert shown(other) == shown(data)


def nobody_is_on_the_way(data: Path) -> bool:
    left = (
        "SELECT count(*) FROM {} WHERE user_no NOT IN (SELECT user_no FROM users WHERE name > ' ')"
    )
    tables = ("users", "devices", "objects", "log", "log_clocks", "outcomes", "user_epochs")
    return all(asked(data, left.format(table)) == [(0,)] for table in tables)


async def test_an_export_that_is_cut_off_anywhere_changes_nothing(tmp_path: Path) -> None:
    data, other = await lives(tmp_path / "hub.db"), tmp_path / "other.db"
    async with a_store(other):
        pass
    lines = exported(data).read_bytes().splitlines(keepends=True)
    export = tmp_path / "cut.jsonl"
    for cut, line in enumerate(lines):
        export.write_bytes(b"".join(lines[:cut]))
        assert verb(other, "import", export).exit_code == 1, cut
        if json.loads(line)["kind"] not in {"push", "outcome"}:
            export.write_bytes(b"".join(lines[:cut] + lines[cut + 1 :]))
            assert verb(other, "import", export).exit_code == 1, line
    assert {row["user"] for row in told(other, "users")} <= {"ada"}, "bob, who is last, is cut off"
    assert nobody_is_on_the_way(other)


BAD = {
    "no export": b"Dear diary\n",
    "another file": b'{"kind":"user","name":"a","log_id":"l","clock":1,"line":0}\n',
    "newer": b'{"kind":"export","version":2,"exported_at":1}\n',
    "empty": b"",
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_what_is_no_export_is_said_to_be_none(tmp_path: Path, bad: bytes) -> None:
    data = await lives(tmp_path / "hub.db")
    (tmp_path / "bad").write_bytes(bad)
    done = verb(data, "import", tmp_path / "bad")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "export" in done.stderr
    assert "cannot be read" in verb(data, "import", tmp_path / "none").stderr


CHANGES: list[tuple[str, dict[str, Any], str]] = [
    ("object", {"clock": 99}, "later clock than the user"),
    ("object", {"stamps": []}, "who set each of its fields"),
    ("object", {"fields": {"n": 1, "m": 2}}, "no id"),
    ("object", {"fields": {"id": "a", "n": 2**60, "m": 2}}, "cannot be"),
    ("object", {"stamps": [[50, 1, "phone", ["v"]]]}, "a later clock than its own"),
    ("user", {"name": "a\0b"}, "no text"),
    ("outcome", {"device": "nobody"}, "a device that is not there"),
    ("outcome", {"refused": 5}, "cannot be"),
]


@pytest.mark.parametrize(("kind", "change", "words"), CHANGES)
async def test_an_export_that_somebody_has_spoilt_brings_nobody_in(
    tmp_path: Path, kind: str, change: dict[str, Any], words: str
) -> None:
    data, other = await lives(tmp_path / "hub.db"), tmp_path / "other.db"
    async with a_store(other):
        pass
    lines = [json.loads(line) for line in exported(data, "ada").read_text().splitlines()]
    place = next(number for number, line in enumerate(lines) if line["kind"] == kind)
    lines[place] |= change
    (tmp_path / "bad").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = verb(other, "import", tmp_path / "bad")
    assert (done.exit_code, done.stdout) == (1, "")
    assert words in done.stderr
    assert told(other, "users") == []
    assert nobody_is_on_the_way(other)


async def test_what_is_said_twice_brings_nobody_in(tmp_path: Path) -> None:
    data, other = await lives(tmp_path / "hub.db"), tmp_path / "other.db"
    async with a_store(other):
        pass
    lines = exported(data, "ada").read_text().splitlines(keepends=True)
    twice = [line for line in lines for _twice in range(1 + ('"kind":"object"' in line))]
    (tmp_path / "bad").write_text("".join(twice))
    assert "the same thing twice" in verb(other, "import", tmp_path / "bad").stderr
    assert nobody_is_on_the_way(other)


async def test_deletions_that_came_in_are_forgotten_in_their_time(tmp_path: Path) -> None:
    data, other, clock = await lives(tmp_path / "hub.db"), tmp_path / "other.db", FakeClock()
    async with a_store(other):
        pass
    told(other, "import", exported(data, "ada"))
    clock.advance(400 * 86_400)
    async with a_store(other, clock) as store:
        await store.compact()
        kept = told(other, "objects", "ada", "--deleted")
    assert all(row["fields"] is not None for row in kept)
    assert len(kept) == len(told(data, "objects", "ada"))


@pytest.mark.parametrize("name", [COMING, GOING])
async def test_what_a_crash_left_on_the_way_is_not_seen_and_goes_with_the_next_start(
    tmp_path: Path, name: str
) -> None:
    data = await lives(tmp_path / "hub.db")
    edited(data, f"UPDATE users SET name = char(0) || '{name[1:]}' WHERE name = 'ada'")  # noqa: S608 - a constant
    assert [row["user"] for row in told(data, "users")] == ["bob"]
    assert not nobody_is_on_the_way(data)
    async with a_store(data):
        pass
    assert nobody_is_on_the_way(data)
    assert [row["user"] for row in told(data, "users")] == ["bob"]


async def test_beside_a_hub_that_serves_a_user_is_replaced_and_devices_begin_again(
    tmp_path: Path,
) -> None:
    data, phone = tmp_path / "hub.db", tmp_path / "phone.db"
    async with serve(dev_settings(tmp_path)) as hub:
        url = hub.websocket_url
        async with Device(url, token="ada", name="phone", path=phone) as device:
            await device.create("tasks", {"id": "kept"})
            await device.synchronize(30)
            export = await asyncio.to_thread(exported_by_a_process, data)
            await device.create("tasks", {"id": "later"})
            await device.synchronize(30)
            refused = await asyncio.to_thread(in_a_process, data, "import", str(export))
            assert "give --replace" in refused.stderr
            words = ("import", "--replace", str(export))
            done = await asyncio.to_thread(in_a_process, data, *words)
            assert (done.returncode, json.loads(done.stdout)["objects"]) == (0, 1), done.stderr
            await device.create("tasks", {"id": "new"})
            await device.synchronize(30)
            assert {each["id"] for each in await device.read("tasks")} == {"kept", "new"}
    assert {row["id"] for row in told(data, "objects", "ada")} == {"kept", "new"}


def exported_by_a_process(data: Path) -> Path:
    target = data.with_name("export.jsonl")
    target.write_text(in_a_process(data, "export", "ada").stdout)
    return target


def test_each_line_is_read_as_it_was_written() -> None:
    user = User(name="ada", log_id="l", clock=1, line=0)
    for line in (user, EndOfUser(devices=1, objects=2, deletions=3)):
        assert read_line(encode_line(line), 2) == line
    with pytest.raises(NotAnExport, match="line 7 is none of an export"):
        read_line(b"[", 7)
