"""The soak (scripts/soak): a few seconds of it, and that it would see what it looks for."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from websockets.uri import parse_uri

from hub.store.memory import MAX_USERS
from scripts.loading.faults import Faults, LoadError
from scripts.loading.pushes import templates
from scripts.loading.servers import started
from scripts.soaking import cli
from scripts.soaking.devices import Account, Device, Writer
from scripts.soaking.reading import DATA, Census, Reading, read
from scripts.soaking.verdict import BOUNDS, Soak, largest_of

ROOT = Path(__file__).resolve().parents[2]
URI = parse_uri("ws://127.0.0.1:9/sync")
START = Reading(
    tasks=5, objects=10_000, threads=7, files=27, memory_bytes=60_000_000, wal_bytes=2_000_000
)


# All of it


@pytest.mark.serial  # on a machine that is busy otherwise nobody falls behind in so few seconds
async def test_a_few_seconds_of_it_find_a_hub_that_does_not_grow() -> None:
    """Two users whose devices write 900 KB/s and sleep: so that some fall behind at once."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, ROOT / "scripts" / "soak", "--json", "--minutes", "0.06",
        "--users", "2", "--listeners", "4", "--rate", "300", "--size", "3000", "--churn", "15",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate()

    assert errors.decode().split("\n") == ["warming up", "soaking", "calming down", ""]
    found = json.loads(out)
    assert (process.returncode, found["troubles"], found["first_faults"]) == (0, [], [])
    account = found["account"]
    assert account["acked"] == account["pushed"] > 300 * 0.06 * 60
    assert account["heard"] > account["pushed"]
    met = ("cut", "left", "replaced", "slow", "visitors", "fell_behind")
    assert {name for name in met if account[name] == 0} == set()
    assert found["end"]["tasks"] == found["start"]["tasks"] < found["largest"]["tasks"]
    assert found["start"]["threads"] > 1
    assert found["start"]["memory_bytes"] > 10_000_000


async def test_a_hub_counts_its_tasks_and_the_system_the_rest(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "scripts.soaking.hub", str(tmp_path)]
    async with started("hub", tmp_path, None, line) as hub:
        assert hub.pid is not None
        empty = await read(hub.pid, tmp_path)
        wal_bytes = (tmp_path / f"{DATA}-wal").stat().st_size
        device = Device(parse_uri(hub.url), "ada", "phone", Faults(), Account())
        await device.come()
        with_one = await read(hub.pid, tmp_path)
        await device.leave()

        assert with_one.files == empty.files + 1
        assert with_one.tasks > empty.tasks
        assert empty.wal_bytes == wal_bytes > 0


async def test_a_soaked_hub_prints_one_line_and_no_log(tmp_path: Path) -> None:
    """Nobody reads the pipe any more: when it was full, four minutes on, the hub stood still."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "scripts.soaking.hub", str(tmp_path), cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(30):
        url = (await process.stdout.readline()).split()[1].decode()
        device = Device(parse_uri(url), "ada", "phone", Faults(), Account())
        await device.come()
        await device.leave()
        process.terminate()
        assert await process.stdout.read() == b""
        await process.wait()


async def test_a_hub_that_is_gone_is_said(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await process.wait()

    with pytest.raises(LoadError, match="the hub is gone"):
        await read(process.pid, tmp_path)


# What it would see


def a_device() -> tuple[Device, Faults]:
    faults = Faults()
    return Device(URI, "ada", "phone", faults, Account()), faults


def frame(kind: str, clock: int, **fields: Any) -> bytes:
    return orjson.dumps({"type": kind, "logical_clock": clock, **fields})


@pytest.mark.parametrize(
    ("clocks", "faults"), [([1, 2, 3], 0), ([1, 1], 1), ([1, 3], 1), ([2, 1], 2)]
)
def test_a_clock_that_comes_twice_or_too_early_is_a_fault(clocks: list[int], faults: int) -> None:
    device, found = a_device()
    for clock in clocks:
        device._take(frame("changes", clock, diffs=[]))

    assert found.count == faults


def test_a_page_moves_a_device_on_and_what_follows_comes_one_by_one() -> None:
    device, found = a_device()
    device._take(frame("snapshot", 40, objects=[], head=50, remaining=1))
    assert orjson.loads(device._hello())["half"] == {"from": 0, "head": 50}
    device._take(frame("snapshot", 50, objects=[], head=50, remaining=0))
    device._take(frame("ready", 50, last_push_id=0))
    device._take(frame("changes", 51, diffs=[]))
    assert (found.count, device.clock, device.account.fell_behind) == (0, 51, 0)

    device._take(frame("snapshot", 50, objects=[], head=60, remaining=0))

    assert found.count == 1


@pytest.mark.parametrize(
    "wrong",
    [
        frame("ready", 7, last_push_id=0),
        frame("ready", 0, last_push_id=0, outcomes=[{"push_id": 1}]),
        frame("welcome", 0, log_id="log", reset=True),
        frame("ack", 1, push_id=1),
        frame("error", 0, code="server_busy"),
    ],
)
def test_what_no_device_of_a_soak_should_hear_is_a_fault(wrong: bytes) -> None:
    device, found = a_device()
    device._take(wrong)

    assert found.count == 1


def test_an_ack_that_was_not_owed_or_says_that_something_was_lost_is_a_fault() -> None:
    faults = Faults()
    writer = Writer(URI, "ada", "writer", faults, Account(), templates("ada", 2, 200))
    for _ in range(3):
        writer.push()
    writer._take(frame("ack", 1, push_id=1))
    assert (faults.count, [*writer.unacked]) == (0, [2, 3])

    writer._take(frame("ack", 2, push_id=1))
    writer._take(frame("ack", 3, push_id=2, rejected=[]))
    assert faults.count == 2

    writer._take(frame("ready", 3, last_push_id=3))
    assert (faults.count, writer.unacked) == (2, {})


def a_soak(
    end: Reading, pushed: int = 9, acked: int = 9, faults: int = 0, visitors: int = 3
) -> Soak:
    account = Account(pushed=pushed, acked=acked, visitors=visitors)
    return Soak(1.0, 500.0, START, largest_of([START, end]), end, account, faults, ["it fell"])


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.name)
def test_each_figure_may_grow_up_to_its_bound_and_no_further(bound: Any) -> None:
    most = bound.most(START, 3)

    assert a_soak(msgspec.structs.replace(START, **{bound.name: most})).troubles == []
    (trouble,) = a_soak(msgspec.structs.replace(START, **{bound.name: most + 1})).troubles
    assert trouble.startswith(f"{bound.words} grew from {getattr(START, bound.name):,} to ")


def test_no_task_no_thread_and_no_file_may_be_left() -> None:
    exact = {bound.name for bound in BOUNDS if bound.most(START, 9) == getattr(START, bound.name)}

    assert exact == {"tasks", "threads", "files"}


def test_users_whom_the_hub_keeps_are_no_growth_up_to_as_many_as_it_keeps() -> None:
    """Ten minutes had 468 visitors, each a new user, and ended with "Python objects grew"."""

    def grown(visitors: int, objects: int) -> bool:
        end = msgspec.structs.replace(START, objects=objects)
        return bool(a_soak(end, visitors=visitors).troubles)

    allowed = 10_000 * 102 // 100 + 2_000
    assert not grown(468, allowed + 468 * 5)
    assert grown(468, allowed + 468 * 5 + 1)
    assert grown(10**6, allowed + MAX_USERS * 5 + 1)


def test_a_push_without_an_ack_and_a_fault_are_troubles() -> None:
    assert a_soak(START, acked=8).troubles == ["9 pushes, and 8 acks"]
    assert a_soak(START, faults=2).troubles == ["2 faults, of which the first: it fell"]


def test_people_read_what_grew(capsys: pytest.CaptureFixture[str]) -> None:
    cli._print(a_soak(msgspec.structs.replace(START, tasks=6)))

    out = capsys.readouterr().out
    assert "tasks 5 6 6 5 GREW" in " ".join(out.split())
    assert "trouble: tasks grew from 5 to 6, and 5 would be none" in out


def test_a_census_is_what_the_hub_writes() -> None:
    assert msgspec.json.decode(b'{"tasks":5,"objects":9}', type=Census) == Census(5, 9)
