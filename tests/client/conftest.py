import pytest

from tests.client.fake_hub import FakeHub
from tests.client.fake_world import Clock, WatchedStorage


@pytest.fixture
def hub() -> FakeHub:
    return FakeHub()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storage() -> WatchedStorage:
    return WatchedStorage()
