"""What holds for all tests."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says something of the machine that is shared, and nothing of the hub.
settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared machine")

HERE = Path(__file__).parent
BY_CHANCE = ("fuzz", "machine", "model", "refill", "simulation")
"""Folders whose tests try much by chance (scripts/test)."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(HERE).parts[0] in BY_CHANCE:
            item.add_marker(pytest.mark.untraced)
