"""`mobync-hub objects --at`: the state as it was, or an error, but never a state that was not."""

import random
from pathlib import Path
from typing import Any

import pytest

from hub.store.beside import looking
from hub.store.errors import NotKnown
from hub.store.looking import ObjectRow, objects
from hub.store.past import objects_at
from tests.hub.fakes import FakeClock, create, delete, update
from tests.hub.store.bench import push
from tests.hub.store.contract_refill import offer
from tests.hub.verbs.files import a_store, commit, edited, told, verb

NAMES = "abcd"
PUSHES = 30


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


def forget(data: Path, up_to: int) -> None:
    """Let the log begin behind a clock, as retention does."""
    edited(data, f"UPDATE users SET dropped = {up_to}")  # noqa: S608 - a number
    edited(data, f"DELETE FROM log WHERE clock <= {up_to}")  # noqa: S608 - a number


async def test_the_state_of_a_clock_is_shown_as_it_was(data: Path) -> None:
    async with a_store(data) as store:
        await commit(store, push(1, create("a", n=1), create("b")))
        await commit(store, push(2, update("a", 1, n=2)), push(3, delete("a", 2), create("c", 2)))
        unfolded = told(data, "objects", "ada", "--at", "2")
    shown = [told(data, "objects", "ada", "--at", str(clock)) for clock in range(4)]
    assert [[(row["id"], row["fields"].get("n")) for row in rows] for rows in shown] == [
        [],
        [("a", 1), ("b", None)],
        [("a", 2), ("b", None)],
        [("b", None), ("c", None)],
    ]
    assert unfolded == shown[2]
    assert (shown[1][0]["clock"], shown[2][0]["clock"], shown[2][0]["created"]) == (1, 2, 1)
    assert told(data, "objects", "ada", "notes", "--at", "2") == []


@pytest.mark.parametrize(("clock", "words"), [("9", "come to clock 1, and not yet to 9")])
async def test_a_clock_that_is_not_there_yet_is_said_to_be_so(
    data: Path, clock: str, words: str
) -> None:
    async with a_store(data) as store:
        await commit(store, push(1, create("a")))
    done = verb(data, "objects", "ada", "--at", clock)
    assert (done.exit_code, done.stdout) == (1, "")
    assert words in done.stderr


async def test_what_the_log_no_longer_tells_is_an_error_and_no_guess(data: Path) -> None:
    async with a_store(data) as store:
        await commit(store, push(1, create("a", n=1), create("b", n=1)))
        await commit(store, push(2, update("b", 1, n=2)), push(3, update("a", 2, m=3)))
        await commit(store, push(4, update("a", 3, n=4)))
    forget(data, 1)
    assert "log goes back to clock 2" in verb(data, "objects", "ada", "--at", "0").stderr
    for clock in "123":
        done = verb(data, "objects", "ada", "--at", clock)
        assert (done.exit_code, done.stdout) == (1, ""), clock
        assert "'tasks' 'a'" in done.stderr
    assert [row["fields"] for row in told(data, "objects", "ada", "--at", "4")] == [
        {"id": "a", "n": 4, "m": 3},
        {"id": "b", "n": 2},
    ]


async def test_a_field_that_was_set_anew_since_is_known_if_the_log_still_has_what_it_was(
    data: Path,
) -> None:
    async with a_store(data) as store:
        await commit(store, push(1, create("a", n=1, m=1)), push(2, update("a", 1, n=2)))
        await commit(store, push(3, update("a", 2, n=3)))
    forget(data, 1)
    [row] = told(data, "objects", "ada", "--at", "2")
    assert (row["fields"], row["clock"], row["created"]) == ({"id": "a", "n": 2, "m": 1}, 2, 1)


def edit(dice: random.Random, name: str, base: int) -> Any:
    fields = {dice.choice("xyz"): dice.randrange(100)}
    match dice.randrange(10):
        case 0 | 1:
            return delete(name, base)
        case 2 | 3 | 4:
            return create(name, base, **fields)
        case _:
            return update(name, base, **fields)


async def life(data: Path, seed: int) -> list[list[ObjectRow]]:
    """Some pushes of two devices; what the objects were at each clock."""
    dice, clock = random.Random(seed), FakeClock()
    states: list[list[ObjectRow]] = [[]]
    async with a_store(data, clock) as store:
        for number in range(1, PUSHES):
            clock.advance(1)
            base = max(number - 1 - dice.randrange(3), 0)
            edits = [edit(dice, name, base) for name in dice.sample(NAMES, dice.randint(1, 2))]
            if number == 12 and dice.random() < 0.5:
                old = (await store.user("ada")).history.log_id
                await store.fork("ada", number - 3)
                edits = [offer(create(dice.choice(NAMES), x=7), old, number + 5, number)]
            device = dice.choice(["phone", "laptop"])
            await commit(store, push(number, *edits, device=device))
            states.append(there(data))
    return states


def there(data: Path) -> list[ObjectRow]:
    with looking(data) as file:
        return [row for row in objects(file, "ada", None) if row.fields is not None]


def at(data: Path, clock: int) -> list[ObjectRow] | None:
    with looking(data) as file:
        try:
            return list(objects_at(file, "ada", None, clock))
        except NotKnown:
            return None


def comparable(rows: list[ObjectRow]) -> list[Any]:
    return [(row.id, row.created, row.clock, row.device, row.fields) for row in rows]


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happened_each_answer_is_what_was(data: Path, seed: int) -> None:
    states = await life(data, seed)
    assert [at(data, clock) for clock in range(PUSHES)] == states
    for dropped in (3, 9, 15, 21, 27):
        forget(data, dropped)
        for clock, was in enumerate(states):
            told = at(data, clock)
            assert told is None or comparable(told) == comparable(was), (dropped, clock)
            assert told is None or clock >= dropped
    assert at(data, PUSHES - 1) == states[-1]
