"""A share of the fuzz: some thousand mutated frames each. `scripts/fuzz` sends 100,000."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import structlog

from tests.fuzz.frames import POLLS, body_of, mutated
from tests.fuzz.targets import (
    LOGGED,
    STATUSES,
    fuzz_decode,
    fuzz_handshake,
    fuzz_polls,
    fuzz_session,
)
from tests.hub.http.served import dev_settings, serve

DECODED: Final = 40_000
HEARD: Final = 20_000
POLLED: Final = 10_000
OPENED: Final = 2_000
POSTED: Final = 300
SETTLED_SHARE: Final = 0.5
MEMORY_BYTES: Final = 16 * 2**20
"""How much the process may grow by once half of the frames have been through."""


def resident() -> int:
    """This process's memory, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def stays_flat(fuzz: Iterator[int], frames: int) -> None:
    """Run it to its end."""
    done = 0
    while done < frames * SETTLED_SHARE:
        done += next(fuzz)
    before = resident()
    done += sum(fuzz)
    assert done >= frames
    assert resident() - before < MEMORY_BYTES


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="no /proc to read memory from"
)


@needs_proc
def test_a_mutated_frame_is_a_message_or_a_bad_one() -> None:
    stays_flat(fuzz_decode(random.Random(1), DECODED), DECODED)


@needs_proc
def test_a_session_answers_mutated_frames_by_the_protocol_only(tmp_path: Path) -> None:
    stays_flat(fuzz_session(random.Random(2), HEARD, tmp_path), HEARD)


@needs_proc
def test_a_poll_answers_mutated_bodies_by_the_protocol_only(tmp_path: Path) -> None:
    stays_flat(fuzz_polls(random.Random(3), POLLED, tmp_path), POLLED)


@needs_proc
def test_a_handshake_is_answered_by_the_protocol_only(tmp_path: Path) -> None:
    stays_flat(fuzz_handshake(random.Random(5), OPENED, tmp_path), OPENED)


async def test_the_listener_answers_mutated_bodies_by_the_protocol_only(tmp_path: Path) -> None:
    chance = random.Random(4)
    async with serve(dev_settings(tmp_path)) as hub:
        with structlog.testing.capture_logs() as logs:
            for _ in range(POSTED):
                body = body_of(mutated(chance, POLLS))
                reply = await hub.ask("POST", "/sync", data=body)
                assert reply.status in {200, *STATUSES}, body
    assert not [entry for entry in logs if entry["log_level"] not in LOGGED]
