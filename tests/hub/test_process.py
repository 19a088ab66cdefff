"""What the hub asks of the system before it serves, in a process of its own."""

import subprocess
import sys
from typing import Final

import pytest

PROGRAM: Final = """
import resource, sys
from hub.process import allow_files
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
allow_files(int(sys.argv[3]))
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def allowed(soft: int, hard: int, connections: int) -> tuple[int, str]:
    """The files allowed afterwards, and what else was said."""
    numbers = [str(number) for number in (soft, hard, connections)]
    command = [sys.executable, "-c", PROGRAM, *numbers]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    *said, files = done.stdout.splitlines()
    return int(files), "\n".join(said)


@pytest.mark.parametrize(
    ("soft", "connections", "files"), [(256, 1000, 1100), (256, 100, 256), (256, 900, 1000)]
)
def test_a_hub_may_open_as_many_files_as_its_connections_need(
    soft: int, connections: int, files: int
) -> None:
    assert allowed(soft, 2000, connections) == (files, "")


def test_a_hub_that_may_not_says_so_and_takes_what_there_is() -> None:
    files, said = allowed(256, 500, 10_000)
    assert files == 500
    for words in ("too few files", "allowed=500", "wanted=10100", "LimitNOFILE"):
        assert words in said
