"""Reading edit histories."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from scripts.replaying.trace import TraceError, fold, read_trace


def line(*diffs: tuple[str, dict[str, Any]]) -> str:
    made = [{"type": kind, "model": "tasks", "json_data": fields} for kind, fields in diffs]
    return json.dumps({"at": 1, "diffs": made})


def test_a_history_comes_to_its_fold(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl.gz"
    history = [
        line(("create", {"id": "1", "title": "Milk"}), ("create", {"id": "2"})),
        line(("update", {"id": "1", "done": True}), ("delete", {"id": "2"})),
    ]
    path.write_bytes(gzip.compress("\n".join(history).encode()))
    assert fold(read_trace(path)) == {("tasks", "1"): {"id": "1", "title": "Milk", "done": True}}


def test_an_edit_that_no_device_makes_is_counted_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(
        line(("create", {"id": "1", "rank": 1}), ("update", {"id": "1", "rank": float("nan")}))
    )
    (push,) = read_trace(path)
    assert push.refused == 1
    assert fold([push]) == {("tasks", "1"): {"id": "1", "rank": 1}}


@pytest.mark.parametrize("broken", ["not JSON", "{}", '{"at": 1, "diffs": [{"type": "rename"}]}'])
def test_a_broken_line_is_named(broken: str, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(f"{line(('create', {'id': '1'}))}\n{broken}\n")
    with pytest.raises(TraceError, match="line 2"):
        read_trace(path)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot read"):
        read_trace(tmp_path / "nothing.jsonl")
