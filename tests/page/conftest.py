"""One hub and one browser for all tests of the page."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from hub.embedded import Hub
from tests.page.browser import Look, a_browser, looking
from tests.page.needs import need_a_browser
from tests.page.serving import TOKEN, Served, fill, settings_in


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    need_a_browser()
    settings = settings_in(tmp_path_factory.mktemp("page"))
    await fill(settings)
    async with a_browser() as browser, Hub(settings) as hub:
        yield Served(settings, hub, browser)


@pytest_asyncio.fixture(loop_scope="session")
async def look(served: Served) -> AsyncIterator[Look]:
    async with looking(served.browser, served.hub.http_url) as page:
        await page.open()
        await page.sign_in(TOKEN)
        await page.shows("#state", "Serving")
        yield page
        assert page.wrong == []
