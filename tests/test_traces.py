"""Real edit histories, through a real hub, on four devices."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from client import Device
from hub.server import serving
from hub.settings import Settings
from scripts.replaying.trace import Objects, TracedPush, fold, make, read_trace

TRACES = Path(__file__).resolve().parents[2] / "shared" / "traces"
VISIT_EVERY = 600
"""Lines between two visits of the device that comes and goes."""


def trace(name: str) -> Sequence[TracedPush]:
    path = TRACES / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"the trace {name} is not there: no folder {TRACES.name} beside the project")
    return read_trace(path)


async def shown(device: Device, wanted: Objects) -> Objects:
    models = {model for model, _name in wanted}
    return {(m, fields["id"]): fields for m in models for fields in await device.read(m)}


def objects_of(hub_file: Path) -> Objects:
    connection = sqlite3.connect(hub_file)
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT model, id, fields FROM objects WHERE fields IS NOT NULL"
    ).fetchall()
    connection.close()
    return {(model, name): json.loads(fields) for model, name, fields in rows}


@pytest.mark.parametrize(
    ("name", "edits"), [pytest.param("stories", 12_369), pytest.param("fires", 4_283)]
)
async def test_four_devices_and_the_hub_come_to_what_a_real_history_comes_to(
    name: str, edits: int, tmp_path: Path
) -> None:
    pushes = trace(name)
    wanted = fold(pushes)
    assert sum(len(push.diffs) for push in pushes) == edits
    settings = Settings(dev=True, port=0, http_port=0, data=tmp_path / "hub.db")
    visitor_file = tmp_path / "visitor.db"

    async with serving(settings) as (url, _http):

        async def visit() -> Objects:
            async with Device(url, token="ada", path=visitor_file) as visitor:
                await visitor.synchronize(30)
                return await shown(visitor, wanted)

        async with (
            Device(url, token="ada", path=tmp_path / "writer.db") as writer,
            Device(url, token="ada") as live,
        ):
            for number, push in enumerate(pushes):
                async with writer.batch() as batch:
                    make(push, batch)
                if number % VISIT_EVERY == 0:
                    await visit()
            await writer.synchronize(60)
            await live.synchronize(60)
            assert await shown(writer, wanted) == wanted
            assert await shown(live, wanted) == wanted
            assert live.status.clock == writer.status.clock
        assert await visit() == wanted
        async with Device(url, token="ada") as latecomer:
            await latecomer.synchronize(60)
            assert await shown(latecomer, wanted) == wanted

    assert objects_of(settings.data) == wanted
