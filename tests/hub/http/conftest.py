"""A hub that serves over real HTTP and WebSockets."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.hub.http.served import ServedHub, dev_settings, serve


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedHub]:
    async with serve(dev_settings(tmp_path)) as hub:
        yield hub
