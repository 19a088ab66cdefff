"""A browser that looks at a hub's live page, and notes whatever it should not do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tests.page.needs import CHROMIUM

if TYPE_CHECKING:  # where it is not installed, that is said by needs.py
    from playwright.async_api import Browser, Page

ARGUMENTS: Final = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@asynccontextmanager
async def a_browser() -> AsyncIterator["Browser"]:
    from playwright.async_api import async_playwright  # noqa: PLC0415 - see needs.py

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


class Look:
    """One page of a browser at one hub; `wrong` is what it complained of or asked of others."""

    def __init__(self, page: "Page", url: str) -> None:
        self.page = page
        self.url = url
        self.wrong: list[str] = []
        host = urlsplit(url).netloc
        page.on("console", lambda said: self._note(said.type, said.text))
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda asked: self._check(host, asked.url))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.wrong.append(text)

    def _check(self, host: str, url: str) -> None:
        if urlsplit(url).netloc != host or "token" in url.lower():
            self.wrong.append(url)

    async def open(self, place: str = "") -> None:
        await self.page.goto(f"{self.url}/admin/{place}")

    async def sign_in(self, token: str) -> None:
        await self.page.get_by_label("Admin token").fill(token)
        await self.page.get_by_role("button", name="Sign in").click()

    async def shows(self, selector: str, text: str = "") -> None:
        """Wait until a part of the page has this text."""
        await self.page.locator(selector, has_text=text).first.wait_for()

    async def width(self) -> int:
        """What the page takes in breadth, in CSS pixels."""
        width: int = await self.page.evaluate("document.documentElement.scrollWidth")
        return width


@asynccontextmanager
async def looking(browser: "Browser", url: str, **how: Any) -> AsyncIterator[Look]:
    """A page that is closed in the end; `how` is as for a context of Playwright."""
    context = await browser.new_context(**how)
    try:
        page = await context.new_page()
        page.set_default_timeout(10_000)
        yield Look(page, url)
    finally:
        await context.close()
