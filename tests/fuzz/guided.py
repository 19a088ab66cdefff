"""The readers of frames under atheris, which keeps what reaches new code. See `scripts/fuzz`."""

import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["protocol"]):
    from tests.fuzz.frames import POLLS, SEEDS
    from tests.fuzz.targets import decode


def one_input(data: bytes) -> None:
    """One frame, as bytes and as the text that a socket would hand on."""
    decode(data)
    decode(data.decode(errors="replace"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate([*SEEDS, *POLLS]):
            (Path(corpus) / f"seed-{number}").write_text(json.dumps(seed))
        atheris.Setup([*sys.argv, corpus], one_input)
        atheris.Fuzz()
