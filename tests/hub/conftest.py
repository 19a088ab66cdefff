"""What more than one module of the hub's tests is given."""

import logging
import os
from collections.abc import Iterator

import pytest
import structlog

from hub import catchup


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two or three small objects fill a page."""
    monkeypatch.setattr(catchup, "PAGE_BYTES", 50)


@pytest.fixture(autouse=True)
def umask_as_it_was() -> Iterator[None]:
    """`mobync-hub serve` keeps its files private, also where it runs in the test's own process."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """A verb that runs in the test's own process sends all logs where it wants them.

    What came behind it in the same process then looked for its lines in vain.
    """
    level = logging.getLogger().level
    yield
    structlog.reset_defaults()
    logging.getLogger().setLevel(level)
