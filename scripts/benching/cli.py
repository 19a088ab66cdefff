"""The command line of `scripts/bench`."""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import rich_click as click

from scripts.benching.catalogue import MEASURES
from scripts.benching.measure import TARGETS, Measure, Site
from scripts.benching.pictures import write_pictures
from scripts.benching.progress import Progress
from scripts.benching.running import run_measure
from scripts.benching.scale import FULL, QUICK, Scale
from scripts.benching.table import print_table
from scripts.benching.verdict import Machine, Outcome, Result, notes_of, outcome_of
from scripts.loading.faults import LoadError
from scripts.loading.servers import Cores, pin
from scripts.loading.stopping import run_until_stopped

_NAMES: Final = [measure.name for measure in MEASURES]
_PACKAGES: Final = ("mobync-hub", "websockets", "uvloop", "aiosqlite", "msgspec", "orjson")
_RESULTS: Final = Path("bench-results")


class Plan(msgspec.Struct, frozen=True):
    """What to measure, how large, and of which servers."""

    form: str
    scale: Scale
    measures: Sequence[Measure]
    targets: Sequence[str]


def _listed_targets(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in TARGETS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(TARGETS)}")
    return names


@click.command(context_settings={"show_default": True})
@click.option("--full", is_flag=True, help="The sizes that the goals are about: twenty minutes.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(_NAMES),
    metavar="NAME",
    help=f"Only this measure; may be given again. One of: {', '.join(_NAMES)}.",
)
@click.option(
    "--targets",
    callback=_listed_targets,
    default=",".join(TARGETS),
    help="Which servers, where a measure has more than one.",
)
@click.option("--rounds", type=click.IntRange(1, 50), help="Of each measure; else by the form.")
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 600),
    help="Of each window under load; else by the form.",
)
@click.option(
    "--share",
    type=click.FloatRange(0.001, 1),
    default=1.0,
    help="Of the numbers of pushes, objects and devices: less to try the command.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=_RESULTS / "bench.json",
    help="Where all figures are written.",
)
@click.option(
    "--charts",
    type=click.Path(file_okay=False, path_type=Path),
    default=_RESULTS,
    help="The folder for the charts (SVG).",
)
def main(
    *,
    full: bool,
    only: Sequence[str],
    targets: Sequence[str],
    rounds: int | None,
    seconds: float | None,
    share: float,
    json_file: Path,
    charts: Path,
) -> None:
    """Measure the hub beside a bare relay and an 'afternoon hub', each round in turn.

    Prints one table with medians, ratios and goals, and writes JSON and charts. A goal that is
    missed is told in the table; the exit code is 1 only if something went wrong. The servers have
    their data in the system's temporary directory (TMPDIR): let that be a real disk.
    """
    scale = _scale(FULL if full else QUICK, rounds, seconds, share)
    form = "full" if full else "quick"
    plan = Plan(form, scale, [each for each in MEASURES if not only or each.name in only], targets)
    result = run_until_stopped(_run(plan), "nothing was written")
    print_table(result)
    _write(result, json_file, charts)


def _scale(scale: Scale, rounds: int | None, seconds: float | None, share: float) -> Scale:
    if rounds is not None:
        scale = msgspec.structs.replace(scale, rounds=rounds, heavy_rounds=rounds)
    if seconds is not None:
        scale = scale.timed(seconds)
    return scale if share == 1 else scale.shrunk(share)


async def _run(plan: Plan) -> Result:
    cores = _pinned()
    with _workplace() as folder:
        outcomes = await _measured(plan, folder, cores)
    machine = _machine(cores)
    return Result(plan.form, plan.scale, machine, outcomes, notes_of(outcomes, machine, plan.scale))


async def _measured(plan: Plan, folder: Path, cores: Cores | None) -> list[Outcome]:
    outcomes = []
    with Progress(_rounds(plan)) as progress:
        for measure in plan.measures:
            targets = _targets(plan, measure)
            if targets:
                site = Site(folder / measure.name, plan.scale, cores)
                found = await run_measure(measure, targets, site, progress)
                outcomes.append(outcome_of(measure, found))
    return outcomes


def _targets(plan: Plan, measure: Measure) -> list[str]:
    return [target for target in measure.targets if target in plan.targets]


def _rounds(plan: Plan) -> int:
    return sum(each.rounds(plan.scale) * len(_targets(plan, each)) for each in plan.measures)


def _pinned() -> Cores | None:
    try:
        return pin()
    except LoadError:
        return None  # told in the notes


@contextmanager
def _workplace() -> Iterator[Path]:
    """A folder for the servers; of a run that fails only the logs are left."""
    folder = Path(tempfile.mkdtemp(prefix="mobync-bench-"))
    try:
        yield folder
    except LoadError:
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix != ".log":
                path.unlink()
        raise
    except BaseException:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def _machine(cores: Cores | None) -> Machine:
    return Machine(
        cores=os.cpu_count() or 1,
        pinned=cores is not None,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: version(name) for name in _PACKAGES},
    )


def _write(result: Result, json_file: Path, charts: Path) -> None:
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    written = [json_file, *write_pictures(result, charts)]
    print("Written:", ", ".join(map(str, written)))


if __name__ == "__main__":
    main(prog_name="scripts/bench")
