"""`kill -9` of the hub and of devices with files: nothing that was acked or saved is lost."""

from pathlib import Path
from typing import Final

import pytest

from tests.crash.kills import Kills

ROUNDS: Final = 25
"""`scripts/kills` goes on for a thousand."""


@pytest.mark.long
def test_nothing_that_was_saved_is_lost_when_hub_and_devices_are_killed(tmp_path: Path) -> None:
    kills = Kills(tmp_path, seed=7)
    for _ in range(ROUNDS):
        kills.round()
    clock = kills.check()
    saved = {phone.name: phone.said for phone in kills.phones}
    assert all(saved.values())
    print(f"\n{ROUNDS} rounds, {clock} pushes, saved {saved}, none lost")
