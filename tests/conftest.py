"""What holds for all tests."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

# How long an example takes says something of the machine that is shared, and nothing of the hub.
settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared machine")

HERE = Path(__file__).parent
BY_CHANCE = ("fuzz", "machine", "model", "refill/test_refill.py", "simulation")
"""Tests that try much by chance; Hypothesis' do so wherever they are."""
BY_PROCESSES = (
    "crash",
    "hostile",
    "hub/apart/test_secrets.py",
    "hub/test_revoke.py",
    "hub/verbs",
    "proxies",
    "scripts",
    "service",
    "page",
    "test_internet.py",
    "test_monitoring.py",
    "test_operating.py",
    "test_readme.py",
    "test_supply.py",
    "test_testing.py",
    "test_traces.py",
    "tokens",
)
"""Tests that start commands and hubs, and wait for them and for the disk."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_of(BY_PROCESSES, item):
            item.add_marker(pytest.mark.processes)
        elif _is_of(BY_CHANCE, item) or _is_of_hypothesis(item):
            item.add_marker(pytest.mark.chance)
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def _is_of(places: Iterable[str], item: pytest.Item) -> bool:
    return any(item.path.is_relative_to(HERE / place) for place in places)


def _is_of_hypothesis(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and is_hypothesis_test(item.obj)
