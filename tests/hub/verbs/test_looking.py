"""`mobync-hub users`, `devices`, `objects` and `log`, of a hub that serves or does not."""

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hub.store.beside import looking as beside
from hub.store.looking import DeviceRow
from hub.store.looking import pushes as stored_pushes
from hub.store.schema import VERSION
from hub.verbs import looking, output
from hub.verbs.looking import how_far, push_lines
from hub.verbs.tables import Rows
from protocol.messages import POLLING_DEVICE
from tests.hub.fakes import START, FakeClock, create, delete, update
from tests.hub.store.bench import push
from tests.hub.verbs.files import MAIN, ODD, a_store, commit, edited, in_a_process, told, verb

FILES = Path(__file__).parents[1] / "store" / "files"
DAY = 86_400_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


@pytest.mark.parametrize("is_folded", [True, False])
async def test_users_are_shown_as_the_log_says_folded_or_not(data: Path, is_folded: bool) -> None:
    async with a_store(data) as store:
        await commit(store, push(1, create("a", n=1), create("b")), push(2, delete("b")))
        await commit(store, push(1, create("x"), user="bob"))
        rows = told(data, "users")
    if is_folded:
        rows = told(data, "users")
    assert [(r["user"], r["clock"], r["objects"], r["bytes"]) for r in rows] == [
        ("ada", 2, 1, len('{"id":"a","n":1}')),
        ("bob", 1, 1, len('{"id":"x"}')),
    ]
    assert rows[0]["stored_at"] == START
    assert {(r["devices"], r["first_clock"]) for r in rows} == {(1, 1)}


async def test_devices_are_shown_with_how_far_each_is_behind(data: Path) -> None:
    clock = FakeClock()
    async with a_store(data, clock) as store:
        await commit(store, push(1, create("a")), push(1, create("p"), device="tablet"))
        for device, far in (("phone", 2), ("tablet", 1), ("laptop", 0)):
            store.received("ada", device, far)
        clock.advance(60)
        await commit(store, push(7, create("c")))
        store.received("ada", "phone", 3)
        polled = push(0, create("d"), device=POLLING_DEVICE, polled=True)
        await commit(store, polled)
    rows = {row["device"]: row for row in told(data, "devices", "ada")}
    assert (rows["phone"]["behind"], rows["phone"]["last_push_id"]) == (1, 7)
    assert (rows["tablet"]["behind"], rows["tablet"]["since"]) == (3, START)
    assert rows["phone"]["since"] == START + 60_000
    assert [rows[name]["behind"] for name in ("laptop", POLLING_DEVICE)] == [None, None]


@pytest.mark.parametrize(
    ("behind", "since", "words"),
    [(None, None, "has not said"), (0, None, "level"),
     (1, START - 3 * DAY, "1 push behind, for 3 days"),
     (2000, None, "2,000 pushes behind"), (2, START + 5, "2 pushes behind, for 0 s")],
)  # fmt: skip
def test_how_far_a_device_is_is_said_in_words(
    behind: int | None, since: int | None, words: str
) -> None:
    assert how_far(DeviceRow("d", 0, behind, since, None, 0), START) == words


async def test_objects_are_shown_as_they_stand_by_model_and_id(data: Path) -> None:
    async with a_store(data) as store:
        await commit(store, push(1, create("b", n=1), create("a", n=0), create("c")))
    async with a_store(data) as store:
        changes = update("b", 1, n=2), delete("c", 1), create("bb", 1, n=3)
        await commit(store, push(1, *changes, device="laptop"))
        rows = told(data, "objects", "ada", "tasks")
        everything = told(data, "objects", "ada", "--deleted")
    assert [(r["id"], r["clock"], r["device"], r["fields"]) for r in rows] == [
        ("a", 1, "phone", {"id": "a", "n": 0}),
        ("b", 2, "laptop", {"id": "b", "n": 2}),
        ("bb", 2, "laptop", {"id": "bb", "n": 3}),
    ]
    assert [r["fields"] for r in everything if r["id"] == "c"] == [None]
    assert told(data, "objects", "ada", "notes") == []


async def test_the_log_shows_what_was_stored_and_what_was_not(data: Path) -> None:
    async with a_store(data) as store:
        await commit(store, push(1, create("a", n=1)), push(1, create("b"), device="laptop"))
        await commit(store, push(2, update("a", 0, START - 5, n=2), device="laptop"))
        await commit(store, push(2, update("gone", n=1), {"no": "diff"}))
        rows = told(data, "log", "ada", "--after", "2")
    lost, refused = rows
    assert (lost["clock"], lost["device"], lost["push_id"], lost["diffs"]) == (3, "laptop", 2, [])
    assert lost["refused"]["lost"][0]["fields"] == {"n": 1}
    assert lost["refused"]["diffs"][0]["diff"]["json_data"] == {"id": "a", "n": 2}
    codes = [each["code"] for each in refused["refused"]["rejected"]]
    assert codes == ["no_such_object", "invalid_diff"]


async def test_a_person_reads_the_log_line_by_line(data: Path) -> None:
    async with a_store(data) as store:
        await commit(store, push(1, create("a", n=1)), push(1, create("b"), device="laptop"))
        await commit(store, push(2, update("a", 0, START - 5, n=2), update("x"), device="laptop"))
        with beside(data) as file:
            pushes = list(stored_pushes(file, 1, 0))
    lines = [text.plain for each in pushes for text in push_lines(each)]
    assert lines[0].startswith("clock 1  2026-09-21")
    assert "  create tasks a  n = 1" in lines
    assert "  update tasks a  n = 2: lost: n to clock 1" in lines
    assert any(line.startswith("  update tasks x: rejected: no_such_object") for line in lines)


async def test_a_log_with_nothing_behind_a_clock_says_how_far_the_user_is(data: Path) -> None:
    async with a_store(data) as store:
        await commit(store, push(1, create("a")))
    for after in ("1", "99"):
        done = verb(data, "log", "ada", "--after", after)
        assert (done.exit_code, done.stdout) == (0, "")
        assert f"Nothing came behind clock {after} yet: the user is at 1." in done.stderr


async def test_a_log_that_lost_its_beginning_says_so(data: Path, tmp_path: Path) -> None:
    async with a_store(data) as store:
        await commit(store, *(push(n, create(f"o{n}")) for n in range(1, 4)))
    edited(data, "UPDATE users SET dropped = 1; DELETE FROM log WHERE clock = 1")
    done = in_a_process(data, "log", "ada")
    assert [json.loads(line)["clock"] for line in done.stdout.splitlines()] == [2, 3]
    assert "The log goes back to clock 2" in done.stderr
    assert in_a_process(data, "log", "ada", "--after", "1").stderr == ""


async def test_a_log_that_is_followed_shows_each_push_as_it_comes(data: Path) -> None:
    async with a_store(data) as store:
        await commit(store, push(1, create("a")))
        words = [*MAIN, "log", "--data", str(data), "ada", "--follow"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as following:
            assert following.stdout is not None
            assert json.loads(following.stdout.readline())["clock"] == 1
            await commit(store, push(2, create("b")))
            assert json.loads(following.stdout.readline())["clock"] == 2
            following.send_signal(signal.SIGINT)
            assert (following.wait(30), following.stdout.read()) == (0, "")


async def test_odd_names_are_there_byte_for_byte_in_json_and_move_no_cursor_in_a_table(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_store(data) as store:
        for number, name in enumerate(ODD, 1):
            diff = {**create(name, v=name), "model": name}
            await commit(store, push(number, diff, device=name, user="ada"))
    assert {row["device"] for row in told(data, "devices", "ada")} == set(ODD)
    rows = told(data, "objects", "ada")
    assert {(r["model"], r["id"], r["fields"]["v"]) for r in rows} == {(n, n, n) for n in ODD}
    assert [told(data, "objects", "ada", name)[0]["id"] for name in ODD[:3]] == list(ODD[:3])
    shown = as_on_a_terminal(monkeypatch, data, "objects", "ada")
    assert "[bold]x[/bold]" in shown
    assert r"\u202eright to left" in shown
    assert {"\0", "\u202e"}.isdisjoint(shown)


def as_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, data: Path, *words: str, width: int = 300
) -> str:
    monkeypatch.setattr(output, "is_for_programs", lambda as_json: as_json)
    monkeypatch.setattr(looking, "is_for_programs", lambda as_json: as_json)
    monkeypatch.setattr(output, "Console", lambda: Console(width=width))
    done = verb(data, *words)
    assert done.exit_code == 0, done.output
    return done.output


async def test_a_person_gets_tables(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "MOST_ROWS", 1)
    async with a_store(data) as store:
        await commit(store, push(1, create("a", n=1), create("b")))
        store.received("ada", "phone", 1)
    parts: Any = {
        ("users",): ("User", "ada", "0.0 KB", "2026-09-21"),
        ("devices", "ada"): ("phone", "level"),
        ("objects", "ada"): ("tasks", "n = 1", "And more than these 1: --json has them all."),
        ("log", "ada"): ("clock 1", "create tasks a  n = 1"),
    }
    for words, wanted in parts.items():
        shown = as_on_a_terminal(monkeypatch, data, *words)
        assert all(part in shown for part in wanted), shown


async def test_a_name_is_whole_also_on_a_narrow_terminal(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80 columns all users were called "load-a5…", and none of them could be asked for."""
    names = [f"somebody-of-a-long-name-{number}" for number in range(3)]
    async with a_store(data) as store:
        for name in names:
            await commit(store, push(1, create("a"), user=name))
    for width in (40, 80):
        shown = as_on_a_terminal(monkeypatch, data, "users", width=width)
        assert "…" not in shown
        column = "".join(line.split("  ")[0].strip() for line in shown.splitlines()[2:])
        assert all(name in column for name in names), shown


def test_at_80_columns_a_date_a_clock_and_a_size_stand_in_one_piece() -> None:
    """ "2026-11-2" stood over "8 05:59", and of a clock of 1,234,567 the end was a line below."""
    whole = "1,234,567", "12,345", "331.0 MB", "2026-11-28", "05:59:11"
    clock, objects, size, *moment = whole
    row = "somebody-of-a-long-name", clock, objects, size, "12", *[" ".join(moment)] * 2, "1"
    console = Console(width=80, record=True)
    console.print(Rows(looking._USER, [row]))
    shown = console.export_text()
    assert all(part in shown for part in whole), shown
    assert max(map(len, shown.splitlines())) <= 80
    console = Console(width=80, record=True)
    console.print(Rows(looking._DEVICE, [("phone", "20 pushes behind, for 3 days", clock, row[5])]))
    assert row[5] in console.export_text()


async def test_what_is_said_of_a_file_moves_no_cursor(data: Path) -> None:
    odd = data.with_name("\x1b[2J\u202efile")
    for words in (("users",), ("import", odd), ("bundle", odd / "x", "--user", "ada")):
        done = verb(odd if words == ("users",) else data, *words)
        assert done.exit_code == 1
        assert {"\x1b", "\u202e"}.isdisjoint(done.stderr)


@pytest.mark.parametrize("words", [("devices", "eve"), ("objects", "eve"), ("log", "eve")])
async def test_a_user_who_is_not_there_is_said_to_be_so(data: Path, words: tuple[str, ...]) -> None:
    async with a_store(data):
        pass
    done = verb(data, *words)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "there is no user 'eve' in this file" in done.stderr


@pytest.mark.parametrize("words", [("users",), ("devices", "a"), ("objects", "a"), ("log", "a")])
def test_a_file_that_is_not_there_or_is_older_is_explained(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    assert "none.db is not there" in verb(tmp_path / "none.db", *words).stderr
    assert f"{tmp_path} is no file" in verb(tmp_path, *words).stderr
    (tmp_path / "new.db").touch()
    assert "new.db is empty: a hub makes" in verb(tmp_path / "new.db", *words).stderr
    old = Path(shutil.copy(FILES / f"hub-{VERSION - 1}.sqlite", tmp_path / "old.db"))
    done = verb(old, *words)
    assert done.exit_code == 1
    assert f"has format {VERSION - 1}" in done.stderr
