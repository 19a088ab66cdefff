"""`mobync-hub why`: which push set each field, what lost or was rejected, and what is too old."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hub.store.beside import looking
from hub.store.explaining import Why, why
from hub.verbs import explaining
from protocol.diffs import Key
from tests.hub.fakes import START, FakeClock, create, delete, update
from tests.hub.store.bench import push
from tests.hub.store.contract_refill import offer
from tests.hub.verbs.files import ODD, a_store, commit, edited, in_a_process, told, verb

A: Key = ("tasks", "a")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


async def quarrel(data: Path) -> None:
    """The phone's title wins over the laptop's, which was made earlier."""
    clock = FakeClock()
    async with a_store(data, clock) as store:
        await commit(store, push(1, create("a", title="Milk", rank=1)))
        clock.advance(1)
        await commit(store, push(2, update("a", 1, START + 9, title="Oats")))
        clock.advance(1)
        late = update("a", 1, START + 5, title="Rice", rank=7), update("b", 1, title="nobody's")
        await commit(store, push(1, *late, device="laptop"))


def asked(data: Path, key: Key = A) -> Why:
    with looking(data) as file:
        return why(file, "ada", key, lambda _part, _done, _whole: None)


async def test_each_field_names_the_push_that_won_its_device_and_both_times(data: Path) -> None:
    await quarrel(data)
    [found] = told(data, "why", "ada", *A)
    assert (found["created"], found["clock"], found["is_deleted"]) == (1, 3, False)
    title, rank = found["fields"]
    assert title == {
        "name": "title", "value": "Oats", "clock": 2, "device": "phone",
        "utc_timestamp": START + 9, "stored_at": START + 1_000,
    }  # fmt: skip
    assert (rank["value"], rank["clock"], rank["device"]) == (7, 3, "laptop")


async def test_what_lost_is_told_with_its_value_and_the_push_that_won(data: Path) -> None:
    await quarrel(data)
    edits = told(data, "why", "ada", *A)[0]["edits"]
    assert [(e["clock"], e["became"], e["fields"]) for e in edits] == [
        (1, "stored", {"title": "Milk", "rank": 1}),
        (2, "stored", {"title": "Oats"}),
        (3, "stored", {"rank": 7}),
        (3, "lost", {"title": "Rice"}),
    ]
    assert (edits[3]["won_by"], edits[3]["device"]) == ({"title": 2}, "laptop")


async def test_what_was_rejected_is_told_though_the_object_never_was(data: Path) -> None:
    await quarrel(data)
    [found] = told(data, "why", "ada", "tasks", "b")
    [edit] = found["edits"]
    assert (found["clock"], found["fields"], edit["fields"]) == (0, [], {"title": "nobody's"})
    assert (edit["became"], edit["code"]) == ("rejected", "no_such_object")


async def test_an_object_that_is_gone_says_who_deleted_it_and_what_came_too_late(
    data: Path,
) -> None:
    async with a_store(data) as store:
        await commit(store, push(1, create("a", n=1)), push(2, delete("a", 1)))
        await commit(store, push(1, update("a", 1, n=2), device="laptop"))
        found = asked(data)
    assert (found.is_deleted, found.clock, found.fields) == (True, 2, ())
    last = [(edit.clock, edit.type, edit.became, edit.fields) for edit in found.edits[1:]]
    assert last == [(2, "delete", "stored", {}), (3, "update", "rejected", {"n": 2})]


async def test_what_the_log_no_longer_tells_is_said_to_be_older(data: Path) -> None:
    await quarrel(data)
    edited(data, "UPDATE users SET dropped = 2; DELETE FROM log WHERE clock <= 2")
    [found] = told(data, "why", "ada", *A)
    assert found["first_clock"] == 3
    assert [(f["clock"], f["stored_at"] is None) for f in found["fields"]] == [
        (2, True),
        (3, False),
    ]
    shown = as_text(asked(data))
    assert "before the log" in shown
    assert "The log goes back to clock 3; what was tried before is gone." in shown


async def test_what_a_device_gave_back_is_told_as_that(data: Path) -> None:
    async with a_store(data) as store:
        await commit(store, push(1, create("b")))
        old = (await store.user("ada")).history.log_id
        await store.fork("ada", 1)
        await commit(store, push(2, offer(create("a", n=5), old, 7, 1)))
        found = asked(data)
    [edit], [field] = found.edits, found.fields
    assert (edit.became, edit.fields, field.device) == ("given back", {"n": 5}, "")
    assert "given back" in as_text(found)


@pytest.mark.parametrize("junk", ["\ud800", float("inf"), 2**60])
async def test_a_value_of_which_no_json_can_be_made_is_told_as_a_text(
    data: Path, junk: Any
) -> None:
    async with a_store(data) as store:
        await commit(store, push(1, create("a", n=1)), push(2, update("a", 1, n=junk)))
    [_stored, edit] = told(data, "why", "ada", *A)[0]["edits"]
    assert (edit["code"], len(edit["fields"])) == ("invalid_diff", 1)


async def test_a_person_gets_two_tables_in_which_nothing_moves_the_cursor(data: Path) -> None:
    async with a_store(data) as store:
        for number, name in enumerate(ODD, 1):
            diff = {**create(name), "model": name, "json_data": {"id": name, name: name}}
            await commit(store, push(number, diff, device=name))
        shown = "".join(as_text(asked(data, (name, name))) for name in ODD)
        assert told(data, "why", "ada", ODD[1], ODD[1])[0]["fields"][0]["device"] == ODD[1]
    assert "[bold]x[/bold]" in shown
    assert r"\u202eright to left" in shown
    assert {"\0", "\u202e"}.isdisjoint(shown)


def as_text(found: Why) -> str:
    console = Console(width=300, record=True, file=io.StringIO())
    explaining.print_why(found, console)
    return console.export_text()


async def test_an_object_of_which_nothing_is_known_is_said_to_be_so(data: Path) -> None:
    await quarrel(data)
    done = verb(data, "why", "ada", "tasks", "zzz")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "'ada' has no object 'zzz' of the model 'tasks'" in done.stderr
    assert "there is no user 'eve'" in verb(data, "why", "eve", *A).stderr


async def test_a_name_that_is_no_text_is_refused(data: Path) -> None:
    await quarrel(data)
    done = in_a_process(data, "why", "ada", "tasks", "\udcff")
    assert done.returncode == 2
    assert "is not UTF-8" in done.stderr
