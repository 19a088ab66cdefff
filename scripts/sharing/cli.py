"""The command line of `scripts/fair`."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec
import rich_click as click

from scripts.loading.figures import Spread, show
from scripts.loading.rounds import Load
from scripts.loading.servers import pin, started
from scripts.loading.stopping import run_until_stopped
from scripts.sharing.pairs import Pair, run_pair

_COLUMNS = ("round", "alone p50", "p99", "beside p50", "p99", "p99 ratio", "busy edits/s", "errors")
_OBJECTS = 5
_BYTES = 200


@click.command(context_settings={"show_default": True})
@click.option("--users", type=click.IntRange(1, 5_000), default=100, help="Quiet ones.")
@click.option(
    "--rate", type=click.FloatRange(1, 10_000), default=100.0, help="Pushes/s of all quiet users."
)
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=5.0, help="Of half a round.")
@click.option("--rounds", type=click.IntRange(1, 50), default=5)
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON instead of a table.")
def main(*, users: int, rate: float, seconds: float, rounds: int, json_wanted: bool) -> None:
    """Measure what quiet users feel of one at full speed.

    In each round they push on schedule, first alone, then beside a user whose ten devices each have
    eight pushes of a hundred edits under way. The hub runs without rates, so that nothing but its
    turns protects them. Times are from when a push was due to its ack, in ms.
    """
    load = Load(users, 2, seconds, _BYTES, _OBJECTS, rate)
    pairs = run_until_stopped(_run(load, rounds), "nothing was measured")
    print(_as_json(pairs)) if json_wanted else _print(pairs)
    sys.exit(1 if any(pair.errors for pair in pairs) else 0)


async def _run(load: Load, rounds: int) -> Sequence[Pair]:
    cores = pin()
    with tempfile.TemporaryDirectory(prefix="mobync-fair-") as folder:
        async with started("hub", Path(folder), cores) as server:
            return [await run_pair(server, load, lambda: None) for _ in range(rounds)]


def _as_json(pairs: Sequence[Pair]) -> str:
    summary = {"p99_ratio": median(pair.p99_ratio for pair in pairs)}
    return msgspec.json.encode({"rounds": pairs, **summary}).decode()


def _print(pairs: Sequence[Pair]) -> None:
    rows = [[str(number), *_cells(pair)] for number, pair in enumerate(pairs, start=1)]
    show("Quiet users beside a busy one (ms)", _COLUMNS, [*rows, _medians(pairs)])
    ratios = sorted(pair.p99_ratio for pair in pairs)
    alone = sorted(pair.alone.p99 for pair in pairs)
    print(
        f"p99 beside the busy user: {median(ratios):.2f} times that alone "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}); alone it was {alone[0]:.1f} to {alone[-1]:.1f} ms"
    )


def _cells(pair: Pair) -> list[str]:
    return [
        *_ms(pair.alone),
        *_ms(pair.beside),
        f"{pair.p99_ratio:.2f}",
        f"{pair.busy_edits_per_second:,.0f}",
        str(pair.errors),
    ]


def _ms(spread: Spread) -> list[str]:
    return [f"{spread.p50:.1f}", f"{spread.p99:.1f}"]


def _medians(pairs: Sequence[Pair]) -> list[str]:
    def of(*values: float) -> str:
        return f"{median(values):.1f}"

    return [
        "median",
        of(*(pair.alone.p50 for pair in pairs)),
        of(*(pair.alone.p99 for pair in pairs)),
        of(*(pair.beside.p50 for pair in pairs)),
        of(*(pair.beside.p99 for pair in pairs)),
        f"{median(pair.p99_ratio for pair in pairs):.2f}",
        f"{median(pair.busy_edits_per_second for pair in pairs):,.0f}",
        str(sum(pair.errors for pair in pairs)),
    ]


if __name__ == "__main__":
    main(prog_name="scripts/fair")
