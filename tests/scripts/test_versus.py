"""scripts/versus: what it makes of rounds of two hubs, and a small run of it."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts.loading.faults import LoadError
from scripts.loading.pairs import Comparison, Pair, compare, print_comparison, verdict_of
from scripts.loading.rounds import Load, Round
from scripts.loading.versus import programs_of

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
LOAD = Load(users=50, devices=2, seconds=4, size=200, objects=20, rate=None)
TRIAL = ["--rounds", "2", "--seconds", "0.5", "--users", "3", "--no-pin", "--json"]


def round_of(rate: float, errors: int = 0) -> Round:
    return Round(
        pushes=1_000,
        deliveries=1_000,
        pushes_per_second=rate,
        deliveries_per_second=rate,
        push_to_ack=None,
        push_to_receive=None,
        sent_late=None,
        server_cpu_seconds=0.05,
        server_memory_bytes=None,
        load_cpu_share=0.5,
        errors=errors,
        first_errors=[],
    )


def compared(changes: Sequence[float], errors: int = 0) -> Comparison:
    """Rounds in which the hub of before made 1,000 pushes/s, and the relay 2,000."""
    pairs = [
        Pair(round_of(2_000), round_of(1_000), round_of(1_000 * change, errors))
        for change in changes
    ]
    return compare(LOAD, pairs)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Another checkout, whose environment is ours."""
    programs = tmp_path / ".venv" / "bin"
    programs.parent.mkdir()
    programs.symlink_to(Path(sys.executable).parent)
    return tmp_path


def test_rounds_that_say_now_this_and_now_that_are_no_difference() -> None:
    found = compared([0.9, 1.1, 0.95, 1.05, 1.0, 0.97, 1.02])
    assert not found.verdict.differs
    assert found.verdict.slower_rounds == 3
    assert verdict_of(found).endswith("no difference beyond the spread, which hides one below 4%.")


@pytest.mark.parametrize("other_way", [False, True])
def test_six_rounds_in_seven_that_say_the_same_are_a_difference(other_way: bool) -> None:
    slower = [0.94, 0.93, 0.95, 0.96, 1.02, 0.94, 0.92]
    found = compared([1 / change for change in slower] if other_way else slower)
    assert found.verdict.differs
    assert verdict_of(found).endswith(": a difference beyond the spread.")


def test_a_hub_is_compared_with_the_relay_of_its_own_round() -> None:
    pairs = [
        Pair(round_of(2_000), round_of(1_000), round_of(1_200)),
        Pair(round_of(500), round_of(400), round_of(450)),
    ]
    verdict = compare(LOAD, pairs).verdict
    assert verdict.before_to_relay.median == pytest.approx(0.65)
    assert verdict.after_to_relay.greatest == pytest.approx(0.9)


def test_one_round_has_no_spread_and_is_told_all_the_same() -> None:
    change = compared([1.0]).verdict.change
    assert change.least == change.median == change.greatest == 1


def test_the_table_has_each_round_the_medians_and_the_spreads(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_comparison(compared([0.9, 1.0, 1.1], errors=2))
    _head, first, _second, _third, median, *spread, note, verdict = (
        capsys.readouterr().out.splitlines()
    )
    assert " ".join(first.split()) == "1 2,000 1,000 900 0.900 0.500 0.450 50.0 50.0 2"
    assert " ".join(median.split()) == "median 2,000 1,000 1,000 1.000 0.500 0.500 50.0 50.0 -"
    assert [line.split()[0] for line in spread] == ["least", "lower", "upper", "greatest"]
    assert note.startswith("relay: it had only 1% of a core")
    assert "half of the rounds within 0.950 to 1.050" in verdict


def test_errors_of_any_server_in_any_round_count() -> None:
    assert compared([1.0, 1.0], errors=3).errors == 6


def test_a_checkout_without_an_environment_is_told_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"has no mobync-hub.*pip install -e \."):
        programs_of(tmp_path)


async def test_both_hubs_and_the_relay_are_measured_in_every_round(checkout: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPTS / "versus"),
        str(checkout),
        *TRIAL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, errors = await process.communicate()
    assert (process.returncode, errors.decode()) == (0, "")
    found = json.loads(out)
    assert len(found["rounds"]) == 2
    for pair in found["rounds"]:
        assert all(pair[name]["pushes"] > 0 for name in ("relay", "before", "after"))
