"""`mobync-hub restore` brings a lost value back, on a hub that is stopped and on a live one."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from hub.retention import Retention
from hub.store.lock import FileLock
from tests.hub.fakes import START, FakeClock, create, delete, update
from tests.hub.http.served import dev_settings, serve
from tests.hub.store.bench import push
from tests.hub.verbs.files import a_store, commit, edited, in_a_process, told, verb

LONG = Retention(log_days=3_650)
"""What the fake clock wrote is not old to the real one."""
DAY_MS = 86_400_000
TITLE = ("ada", "tasks", "a", "title")


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """The laptop's title, made earlier, lost to the phone's; what it then said is gone."""
    path = tmp_path / "hub.db"
    async with a_store(path) as store:
        await commit(store, push(1, create("a", title="Milk")))
        await commit(store, push(2, update("a", 1, START + 9, title="Oats")))
        late = update("a", 1, START + 5, title="Rice"), create("gone")
        await commit(
            store, push(1, *late, device="laptop"), push(2, delete("gone"), device="laptop")
        )
        await commit(store, push(3, update("gone", 3, n=1)))
    return path


def title(data: Path) -> Any:
    return told(data, "objects", "ada", "tasks")[0]["fields"]["title"]


@pytest.mark.parametrize(("clock", "value"), [("3", "Rice"), ("1", "Milk"), ("2", "Oats")])
def test_on_a_stopped_hub_the_value_that_lost_or_stood_there_is_set_again(
    data: Path, clock: str, value: str
) -> None:
    assert title(data) == "Oats"
    assert told(data, "restore", *TITLE, "--clock", clock) == [{"clock": 6, "value": value}]
    assert title(data) == value
    last = told(data, "log", "ada", "--after", "5")[0]
    assert (last["device"], last["push_id"]) == ("mobync-hub", 0)
    [row] = [r for r in told(data, "devices", "ada") if r["device"] == "mobync-hub"]
    assert row["behind"] == 0
    field = told(data, "why", "ada", "tasks", "a")[0]["fields"][0]
    assert (field["clock"], field["device"]) == (6, "mobync-hub")


def test_what_was_brought_back_can_lose_again_and_be_brought_back_again(data: Path) -> None:
    for number, (clock, value) in enumerate((("3", "Rice"), ("2", "Oats"), ("6", "Rice")), 6):
        assert told(data, "restore", *TITLE, "--clock", clock)[0]["clock"] == number
        assert title(data) == value


async def test_on_a_live_hub_connected_devices_hear_of_it_at_once(data: Path) -> None:
    async with (
        serve(dev_settings(data.parent, retention=LONG)) as hub,
        hub.live_device("ada") as phone,
    ):
        done = await asyncio.to_thread(in_a_process, data, "restore", *TITLE, "--clock", "3")
        assert (done.returncode, json.loads(done.stdout)) == (0, {"clock": 6, "value": "Rice"})
        heard = await phone.hear()
        assert (heard["type"], heard["logical_clock"], heard["device"]) == (
            "changes",
            6,
            "mobync-hub",
        )
        assert heard["diffs"][0]["json_data"] == {"id": "a", "title": "Rice"}
        told_off = await asyncio.to_thread(
            in_a_process, data, "restore", "ada", "tasks", "gone", "n", "--clock", "5"
        )
    assert told_off.returncode == 1
    assert "object_deleted" in told_off.stderr
    assert title(data) == "Rice"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ada", "tasks", "gone", "n", "--clock", "5"), "object_deleted"),
        (("ada", "tasks", "a", "title", "--clock", "9"), "push of clock 9 says nothing"),
        (("ada", "tasks", "a", "color", "--clock", "1"), "says nothing of the field 'color'"),
        (("ada", "tasks", "z", "title", "--clock", "1"), "says nothing of the field"),
        (("ada", "tasks", "a", "id", "--clock", "1"), "is never lost"),
        (("eve", "tasks", "a", "title", "--clock", "1"), "no user 'eve'"),
    ],
)
def test_what_cannot_be_brought_back_is_explained_and_changes_nothing(
    data: Path, words: tuple[str, ...], message: str
) -> None:
    done = verb(data, "restore", *words)
    assert (done.exit_code, done.stdout) == (1, "")
    assert message in done.stderr
    assert title(data) == "Oats"
    assert [row["user"] for row in told(data, "users")] == ["ada"]


def test_what_the_log_has_let_go_cannot_be_brought_back(data: Path) -> None:
    edited(data, "UPDATE users SET dropped = 1; DELETE FROM log WHERE clock = 1")
    done = verb(data, "restore", *TITLE, "--clock", "1")
    assert "the log goes back to clock 2: the push of 1 is gone" in done.stderr


@pytest.mark.parametrize(
    "words", [(), TITLE, (*TITLE, "--clock", "0"), ("copy.db", "--clock", "1"), TITLE[:2]]
)
def test_neither_shape_of_the_verb_is_explained(data: Path, words: tuple[str, ...]) -> None:
    assert verb(data, "restore", *words).exit_code == 2


def test_the_help_shows_both_shapes(data: Path) -> None:
    shown = verb(data, "restore", "--help").stdout
    assert "restore /backups/hub-monday.db" in shown
    assert "restore alice tasks t1 title --clock 41" in shown


def test_a_hub_that_only_starts_is_said_to_do_so(data: Path) -> None:
    lock = FileLock(data)
    lock.acquire()
    done = verb(data, "restore", *TITLE, "--clock", "3")
    lock.release()
    assert done.exit_code == 1
    assert "does it start or stop just now? Try again" in done.stderr


def test_the_settings_of_the_stopped_hub_count(data: Path) -> None:
    """Its rules are asked as about any other edit, and its tokens are nothing to it."""
    config = data.with_name("hub.toml")
    config.write_text('policy = "tests.hub.verbs.strict:rules"\nhost = "0.0.0.0"\n')
    done = verb(data, "restore", *TITLE, "--clock", "3", "--config", str(config))
    assert "forbidden, nobody edits titles" in done.stderr
    assert title(data) == "Oats"


async def test_what_was_brought_back_holds_nothing_back_of_the_log(data: Path) -> None:
    """The hub's own device is none that has to come and hear of it."""
    told(data, "restore", *TITLE, "--clock", "3")
    clock = FakeClock(time.time_ns() // 1_000_000 + 20 * DAY_MS)
    async with a_store(data, clock) as store:
        for name in ("phone", "laptop"):
            store.received("ada", name, 6)
        await store.compact()
        assert told(data, "log", "ada") == []
        assert all(row["fields"] for row in told(data, "objects", "ada", "--deleted"))
