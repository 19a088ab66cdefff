"""docs/testing.md as a developer follows it: every command that it shows is run here, shortened.

What the page says that a command prints is what it prints, but for the numbers.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.crash.tracing import can_trace
from tests.test_readme import README, ROOT, commands, run

PAGE: Final = (ROOT / "docs" / "testing.md").read_text()
SHORT: Final = {
    "scripts/simulate --seeds 1000": "scripts/simulate --seeds 3",
    "scripts/faults": "scripts/faults --when fresh --call fdatasync --stride 99",
    "scripts/kills --minutes 10": "scripts/kills --rounds 2",
    "scripts/fuzz": "scripts/fuzz --frames 500",
    "scripts/hostile": "scripts/hostile --sockets 130 --hello-seconds 0.5",
    "scripts/upgrade-drill": "scripts/upgrade-drill --users 20 --seconds 0.5 --rate 100",
    "scripts/soak --nightly": "scripts/soak --minutes 0.06 --users 2 --rate 50",
}
"""Of each command of the page one that takes seconds."""


def printed(command: str) -> Iterator[re.Pattern[str]]:
    """What the page shows behind a command, any number for each number."""
    [block] = [
        block
        for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
        if block.startswith(f"$ {command}\n")
    ]
    for line in block.splitlines()[1:]:
        yield re.compile(re.sub(r"\d+", r"\\d+", re.escape(line)))


def test_the_page_has_each_long_form_and_readme_shows_the_way_there() -> None:
    assert commands(PAGE) == list(SHORT)
    assert "(docs/testing.md)" in README


@pytest.mark.long
@pytest.mark.parametrize("command", SHORT)
def test_a_long_form_prints_what_the_page_says(tmp_path: Path, command: str) -> None:
    """Also in a folder whose path has no room for a socket's name: 108 bytes are all there is."""
    folder = tmp_path / ("deep" * 25)
    folder.mkdir()
    if command == "scripts/faults" and (reason := can_trace(folder)):
        pytest.skip(reason)
    out = run(SHORT[command], TMPDIR=str(folder))
    assert out
    for pattern in printed(command):
        assert pattern.search(out), f"{command} printed\n{out}"


def test_what_the_page_calls_by_name_is_there() -> None:
    for name in re.findall(r"`(scripts/[\w-]+|tests/[\w/.]+)", PAGE):
        assert (ROOT / name).exists(), name
