"""What more than one module of the hub's tests is given."""

import pytest

from hub import catchup


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two or three small objects fill a page."""
    monkeypatch.setattr(catchup, "PAGE_BYTES", 50)
