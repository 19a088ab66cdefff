"""scripts/bench: what it makes of figures, what it draws, and a small run of it."""

import asyncio
import json
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from websockets.uri import parse_uri

from scripts.benching import cli
from scripts.benching.catalogue import MEASURES
from scripts.benching.measure import Figures, Goal, Measure, Row, Site
from scripts.benching.pictures import pictures_of
from scripts.benching.progress import Progress
from scripts.benching.running import run_measure
from scripts.benching.scale import FULL, QUICK
from scripts.benching.seeding import History, seed
from scripts.benching.svg import WIDTH
from scripts.benching.table import figure, goal_words, print_table, rows_of
from scripts.benching.verdict import Machine, Outcome, Result, notes_of, outcome_of
from scripts.loading.arrival import arrive, fetch
from scripts.loading.faults import Faults, LoadError
from scripts.loading.link import connect
from scripts.loading.servers import Server, started

ROOT = Path(__file__).resolve().parents[2]
MACHINE = Machine(2, True, "Linux", "3.12", {"mobync-hub": "0.1.0"})


class Made(Measure):
    """A measure with made-up figures."""

    name: ClassVar = "made"
    title: ClassVar = "made up"
    targets: ClassVar = ("relay", "hub")
    rows: ClassVar = (
        Row("pushes", "pushes", "/s", Goal("ratio", "at least", 0.7)),
        Row("p50", "p50", "ms", Goal("difference", "at most", 1.0)),
        Row("memory", "memory", "KB", Goal("value", "at most", 16.0)),
        Row("disk", "disk", "KB", Goal("value", "at most", 2.0)),
        Row("attempts", "attempts", ""),
    )

    async def run(self, server: Server, site: Site) -> Figures:
        raise LoadError("the ack of push 7 came twice")


ROUNDS: Mapping[str, Sequence[Figures]] = {
    "relay": [
        {"pushes": 200, "p50": 0.5, "load_cpu": 0.5},
        {"pushes": 400, "p50": 0.5},
        {"pushes": 1_000, "p50": 0.4},
    ],
    "hub": [
        {"pushes": 100, "p50": 1.0, "memory": 17, "attempts": 1},
        {"pushes": 200, "p50": 1.1, "memory": 19, "attempts": 1},
        {"pushes": 700, "p50": 9.0, "memory": 18, "load_cpu": 0.9},
    ],
}


def made() -> Outcome:
    return outcome_of(Made(), ROUNDS)


# Verdicts


def test_the_hub_is_compared_with_the_relays_round_of_the_same_turn() -> None:
    pushes, p50, *_ = made().lines
    assert (pushes.medians, pushes.ratio) == ({"relay": 400, "hub": 200}, 0.5)
    assert p50.difference == pytest.approx(0.6)


def test_each_goal_is_judged_by_what_it_is_about() -> None:
    assert [line.verdict for line in made().lines] == [
        "missed",
        "met",
        "missed",
        "not measured",
        None,
    ]


def test_it_is_said_when_the_load_was_the_limit() -> None:
    busy, sizes = notes_of([made()], MACHINE, QUICK)
    assert "90% of its core against the hub" in busy
    assert "--full" in sizes


def test_it_is_said_when_the_relay_was_kept_from_working() -> None:
    for share, told in ((0.4, 1), (0.95, 0)):
        relay: Figures = {"pushes": 9_000, "server_cpu_share": share}
        notes = notes_of([outcome("throughput", {"relay": relay})], MACHINE, FULL)
        assert len(notes) == told
        assert all("the relay had only 40% of its core" in note for note in notes)


def test_it_is_said_when_cores_were_shared() -> None:
    shared = msgspec.structs.replace(MACHINE, pinned=False)
    (note,) = notes_of([], shared, FULL)
    assert "shared all cores" in note


# The table


def test_the_table_has_a_row_for_each_figure_with_its_goal_and_verdict() -> None:
    first, second, third, fourth, last = rows_of([made()])
    assert first == [
        *("made", "pushes/s", "400", "-", "200", "0.50"),
        *("≥ 0.7 x relay", "missed", "90%, the limit"),
    ]
    assert second[-3:] == ["≤ relay + 1 ms", "met", ""]
    assert third[1] == "memory (KB)"
    assert third[4:] == ["18.0", "-", "≤ 16 KB", "missed", ""]
    assert fourth[2:] == ["-", "-", "-", "-", "≤ 2 KB", "not measured", ""]
    assert last[0] == ""
    assert last[-3:] == ["", "", ""]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.514, "0.51"), (15.66, "15.7"), (149.4, "149"), (17_900.0, "17,900")],
)
def test_a_figure_has_three_digits_or_all_before_the_point(value: float, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    ("goal", "unit", "text"),
    [
        (Goal("value", "at least", 150_000), "/s", "≥ 150,000/s"),
        (Goal("value", "at most", 25.0), "ms", "≤ 25 ms"),
        (Goal("value", "at most", 2.0), "", "≤ 2"),
        (None, "ms", ""),
    ],
)
def test_a_goal_is_said_with_its_unit(goal: Goal | None, unit: str, text: str) -> None:
    assert goal_words(goal, unit) == text


def result(*outcomes: Outcome) -> Result:
    return Result("quick", QUICK, MACHINE, list(outcomes), notes_of(outcomes, MACHINE, QUICK))


def test_the_notes_stand_under_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(result(made()))
    head, *_, busy, _sizes = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["measure", "what", "relay"]
    assert busy.startswith("made: the load generator used 90%")


def test_the_json_has_all_rounds_and_all_verdicts() -> None:
    found = json.loads(msgspec.json.encode(result(made())))
    (outcome,) = found["outcomes"]
    assert outcome["rounds"] == ROUNDS
    assert outcome["lines"][0]["goal"] == {"of": "ratio", "side": "at least", "bound": 0.7}
    assert outcome["lines"][0]["verdict"] == "missed"
    assert found["scale"]["rounds"] == QUICK.rounds
    assert msgspec.json.decode(json.dumps(found), type=Result) == result(made())


# The charts


def outcome(name: str, medians: Mapping[str, Figures]) -> Outcome:
    (measure,) = [each for each in MEASURES if each.name == name]
    return outcome_of(measure, {target: [figures] for target, figures in medians.items()})


def latencies(p50: float) -> Figures:
    return {"p50": p50, "p90": 2 * p50, "p99": 3 * p50, "p999": 4 * p50, "max": 9.0}


ALL = {
    "throughput": {
        "relay": {"pushes": 17_900.0},
        "afternoon": {"pushes": 2_100.0},
        "hub": {"pushes": 13_000.0},
    },
    "fanout": {"relay": {"deliveries": 90_000.0}, "hub": {"deliveries": 72_000.0}},
    "latency": {"relay": latencies(0.5), "afternoon": latencies(1.0), "hub": latencies(0.7)},
    "history": {"hub": {"µs at 100": 300.0, "µs at 1000": 310.0, "µs at 1000000": 305.0}},
    "idle": {"relay": {"memory": 13.0}, "hub": {"memory": 11.9}},
}


def drawn() -> Mapping[str, str]:
    return pictures_of(result(*(outcome(name, medians) for name, medians in ALL.items())))


def read(picture: str) -> ET.Element:
    return ET.fromstring(picture)  # noqa: S314 - our own


def words(picture: str) -> list[str]:
    root = read(picture)
    return ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]


def test_there_is_a_chart_of_all_that_readme_shows() -> None:
    assert set(drawn()) == {"throughput", "latency", "history", "memory"}


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        (
            "throughput",
            {"mobync-hub, durable", "17,900", "13,0000.73 x relay", "72,0000.80 x relay"},
        ),
        ("latency", {"From push to receive", "ms", "99 %", "afternoon hub", "mobync-hub"}),
        ("history", {"100", "1,000,000", "µs a write", "0", "400", "mobync-hub"}),
        ("memory", {"11.90.92 x relay", "goal: 16 KB", "bare relay, stores nothing"}),
    ],
)
def test_a_chart_is_well_formed_and_holds_its_labels(name: str, labels: set[str]) -> None:
    assert labels <= set(words(drawn()[name]))


@pytest.mark.parametrize("name", ["throughput", "latency", "history", "memory"])
def test_everything_drawn_lies_within_the_chart(name: str) -> None:
    root = read(drawn()[name])
    height = float(root.attrib["height"])
    numbers: dict[str, float] = {"x": WIDTH, "x1": WIDTH, "x2": WIDTH, "cx": WIDTH}
    numbers |= {"y": height, "y1": height, "y2": height, "cy": height}
    for element in root.iter():
        for attribute in element.attrib.keys() & numbers.keys():
            assert 0 <= float(element.attrib[attribute]) <= numbers[attribute], element.attrib


def test_a_chart_has_colours_for_dark_pages() -> None:
    for picture in drawn().values():
        assert "prefers-color-scheme: dark" in picture


def test_the_longest_bar_belongs_to_the_largest_value() -> None:
    root = read(drawn()["throughput"])
    widths = [
        float(each.attrib["width"])
        for each in root.iter("{http://www.w3.org/2000/svg}rect")
        if each.attrib["class"].startswith("bar")
    ][:3]
    assert widths[1] / widths[0] == pytest.approx(2_100 / 17_900, rel=0.01)
    assert widths[2] / widths[0] == pytest.approx(13_000 / 17_900, rel=0.01)


def test_what_was_not_measured_is_not_drawn() -> None:
    assert pictures_of(result(made())) == {}


# Scale


def test_a_share_makes_counts_smaller_and_leaves_times() -> None:
    small = FULL.shrunk(0.1)
    assert (small.idle_devices, small.histories) == (500, (20, 100, 1_000, 10_000, 100_000))
    assert small.seconds == FULL.seconds


# Running


def site(folder: Path) -> Site:
    return Site(folder / "site", QUICK, None)


async def test_an_error_names_the_measure_the_server_and_its_log(tmp_path: Path) -> None:
    with Progress(1) as progress, pytest.raises(LoadError) as raised:
        await run_measure(Made(), ["relay"], site(tmp_path), progress)
    message = str(raised.value)
    assert "made, relay: the ack of push 7 came twice" in message
    assert f"Its log: {tmp_path / 'site' / 'relay.log'}" in message


class Broken(Made):
    """A server that does not start."""

    def command(self, target: str, site: Site) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit('no room on the disk')"]


async def test_a_server_that_does_not_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    with Progress(1) as progress, pytest.raises(LoadError, match=r"made, hub: .*ready") as raised:
        await run_measure(Broken(), ["hub"], site(tmp_path), progress)
    assert "no room on the disk" in str(raised.value)


def test_only_the_logs_are_left_of_a_run_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "mkdtemp", lambda prefix: str(tmp_path))
    (tmp_path / "disk").mkdir()
    for name in ("hub.db", "hub.log"):
        (tmp_path / "disk" / name).write_text("large")
    with pytest.raises(LoadError), cli._workplace():
        raise LoadError("it went wrong")
    assert [path.name for path in tmp_path.rglob("*.*")] == ["hub.log"]


def test_nothing_is_left_of_a_run_that_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "hub.log").write_text("stopped")
    monkeypatch.setattr(tempfile, "mkdtemp", lambda prefix: str(place))
    with pytest.raises(asyncio.CancelledError), cli._workplace():
        raise asyncio.CancelledError
    assert not place.exists()


# Arriving


async def test_a_seeded_history_is_served_from_the_log_and_as_objects(tmp_path: Path) -> None:
    await seed(tmp_path / "hub.db", [History("ada", 30, 10)])
    async with started("hub", tmp_path, None) as server:
        faults = Faults()
        links = [
            await connect(parse_uri(server.url), "ada", name, faults)
            for name in ("newcomer", "returner", "counter")
        ]
        newcomer = await arrive(links[0])
        returner = await arrive(links[1], 5, newcomer.log_id)
        counted = await fetch(links[2])
        for link in links:
            await link.leave()
    assert (newcomer.clock, newcomer.changes, newcomer.objects) == (30, 0, 10)
    assert (returner.clock, returner.changes, returner.objects) == (30, 25, 0)
    assert counted.objects == 10
    assert faults.count == 0


async def test_a_device_of_another_history_is_an_error(tmp_path: Path) -> None:
    await seed(tmp_path / "hub.db", [History("ada", 3, 1)])
    async with started("hub", tmp_path, None) as server:
        link = await connect(parse_uri(server.url), "ada", "returner", Faults())
        with pytest.raises(LoadError, match="it was told"):
            await arrive(link, 2, "another")
        await link.leave()


# The command


async def bench(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        ROOT / "scripts" / "bench",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(100):
        out, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


@pytest.mark.serial  # beside others a window of 0.2 s says nothing of a ratio
async def test_a_small_run_prints_a_table_and_writes_json_and_charts(tmp_path: Path) -> None:
    sizes = ["--rounds", "1", "--seconds", "0.2", "--share", "0.01"]
    only = ["--only", "throughput", "--only", "storm", "--targets", "relay,hub"]
    files = ["--json", str(tmp_path / "found.json"), "--charts", str(tmp_path)]
    code, out, errors = await bench(*sizes, *only, *files)
    assert code == 0, errors
    assert "throughput: relay, round 1" in errors
    assert "all level after" in out
    found: dict[str, Any] = json.loads((tmp_path / "found.json").read_text())
    throughput, storm = found["outcomes"]
    assert throughput["medians"].keys() == {"relay", "hub"}
    assert 0 < throughput["lines"][0]["ratio"] < 10
    assert storm["medians"]["hub"]["seconds"] > 0
    assert storm["lines"][0]["verdict"] in {"met", "missed"}
    assert "mobync-hub, durable" in words((tmp_path / "throughput.svg").read_text())


async def test_a_server_that_is_not_known_is_said_in_a_sentence() -> None:
    code, _out, errors = await bench("--targets", "relay,redis")
    assert code == 2
    assert "redis" in errors
    assert "Traceback" not in errors
