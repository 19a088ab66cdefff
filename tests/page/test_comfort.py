"""The live page for everybody: by keyboard, without motion, readable, quiet in the background."""

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from tests.page.browser import Look, looking
from tests.page.serving import TOKEN, Served, a_device, quarrel

pytestmark = pytest.mark.asyncio(loop_scope="session")

HERE: Final = Path(__file__).parent
CONTRAST: Final = (HERE / "contrast.js").read_text()
KEYBOARD: Final = (HERE / "keyboard.js").read_text()
LEAST_CONTRAST: Final = 4.5
MOST_TABS: Final = 150
TEN_MINUTES_MS: Final = 600_000
REFRESH_MS: Final = 6_000


async def faint_on(look: Look) -> list[str]:
    """What is too faint to be read there."""
    found = await look.page.evaluate(CONTRAST, LEAST_CONTRAST)
    assert found["looked"] > 0
    faint: list[str] = found["faint"]
    return faint


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_text_stands_out_from_what_is_behind_it(served: Served, scheme: str) -> None:
    async with looking(
        served.browser, served.hub.http_url, color_scheme=scheme, reduced_motion="reduce"
    ) as look:
        await look.open()
        await look.sign_in("a token that somebody guessed, long enough")
        await look.shows("#token-error", "not the hub's admin token")
        faint = {"sign-in": await faint_on(look)}
        await look.sign_in(TOKEN)
        await look.shows("#state", "Serving")
        await quarrel(served, f"kit {scheme}")
        await look.page.get_by_role("button", name="Pause").click()
        await look.page.get_by_label("Find").fill("u-0004")
        await look.shows("table.users .chip.behind", "3 pushes behind")
        faint["users"] = await faint_on(look)
        for place, shown in (("user", ".how.well"), ("object", ".edit.lost .values")):
            names = f"kit%20{scheme}" + ("/tasks/t1" if place == "object" else "")
            await look.open(f"#/{place}/{names}")
            await look.shows(shown if place == "object" else "#view table")
            faint[place] = await faint_on(look)
        await look.page.evaluate("document.getElementById('board').classList.add('is-stale')")
        faint["stale"] = await faint_on(look)
        assert faint == {"sign-in": [], "users": [], "user": [], "object": [], "stale": []}
        await look.page.evaluate(
            "document.documentElement.style.setProperty('--quiet', 'rgb(128, 128, 128)')"
        )
        assert await faint_on(look) != []


async def focus(look: Look) -> dict[str, Any]:
    found: dict[str, Any] = await look.page.evaluate(KEYBOARD)
    return found


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("#/", "table.users a[href='#/user/kay']"),
        ("#/user/kay", "#view table"),
        ("#/object/kay/tasks/t1", "#view table"),
    ],
)
async def test_the_keyboard_gets_everywhere_and_is_seen_there(
    served: Served, look: Look, place: str, shown: str
) -> None:
    """Kay came into the table of 25 meanwhile, and the last, who was to be reached, left it."""
    async with a_device(served, "kay", "phone") as phone:
        await phone.create("tasks", {"id": "t1", "title": "Milk"})
        await phone.synchronize()
    await look.open(place)
    await look.shows(shown)
    start = await focus(look)
    assert start["unlabelled"] == []
    reached: set[str] = set()
    for _tab in range(MOST_TABS):
        await look.page.keyboard.press("Tab")
        at = await focus(look)
        if at["here"] is not None:  # behind the last of the page it is the browser's own turn
            assert at["isSeen"], f"the focus is not to be seen on {at['here']}"
            reached.add(at["here"])
        if reached >= set(start["all"]):
            break
    assert set(start["all"]) - reached == set()


async def test_enter_and_space_do_what_a_click_does(served: Served, look: Look) -> None:
    await look.page.get_by_label("Find").fill("u-00042")
    await look.shows("table.users a", "u-00042")
    link = look.page.locator("table.users a").first
    await look.page.get_by_label("Find").focus()
    await look.page.keyboard.press("Tab")
    await look.page.keyboard.press("Space")
    await look.shows("#users .empty", "No connected user")
    await look.page.keyboard.press("Space")
    await link.focus()
    async with look.page.expect_response("**/admin/users?*"):  # its row is drawn anew meanwhile
        pass
    await look.page.keyboard.press("Enter")
    await look.shows("#user-title", "u-00042")
    await look.page.get_by_role("button", name="Pause").focus()
    await look.page.keyboard.press("Enter")
    await look.shows("#pushes button[aria-pressed='true']", "Resume")


@pytest.mark.parametrize(("motion", "moves"), [("reduce", False), ("no-preference", True)])
async def test_nothing_moves_for_who_does_not_want_that(
    served: Served, motion: str, moves: bool
) -> None:
    async with looking(served.browser, served.hub.http_url, reduced_motion=motion) as look:
        await look.open()
        await look.sign_in(TOKEN)
        await look.shows("#state", "Serving")
        async with a_device(served, "mel", "phone") as phone:
            await phone.create("tasks", {"id": f"of {motion}"})
            await phone.synchronize()
        await look.shows(".pushes li", "mel")
        found = await look.page.evaluate(
            "[...document.querySelectorAll('*')].some((each) => {"
            "  const { animationName, transitionDuration } = getComputedStyle(each);"
            "  return animationName !== 'none' || transitionDuration !== '0s'; })"
        )
        assert found is moves


async def hide(look: Look, is_hidden: bool) -> None:
    """Say to the page what a browser says of a tab that is behind another one."""
    await look.page.evaluate(
        "is => { Object.defineProperty(document, 'hidden', { get: () => is, configurable: true });"
        "        document.dispatchEvent(new Event('visibilitychange')); }",
        is_hidden,
    )


async def test_a_tab_in_the_background_asks_for_nothing_and_comes_back_by_itself(
    served: Served,
) -> None:
    async with looking(served.browser, served.hub.http_url) as look:
        await look.page.clock.install()
        await look.open()
        await look.sign_in(TOKEN)
        await look.shows("table.users")
        async with look.page.expect_request("**/admin/users?*"):
            await look.page.clock.fast_forward(REFRESH_MS)
        async with look.page.expect_event("requestfailed", lambda of: "/admin/live" in of.url):
            await hide(look, True)
        await look.shows("#state", "Paused while this tab is in the background")
        asked: list[str] = []
        look.page.on("request", lambda of: asked.append(of.url))
        for _time in range(3):
            await look.page.clock.fast_forward(TEN_MINUTES_MS)
            await look.page.evaluate("new Promise((resolve) => requestAnimationFrame(resolve))")
        assert asked == []
        async with look.page.expect_request("**/admin/live*"):
            await hide(look, False)
        await look.shows("#state", "Serving")
        async with look.page.expect_request("**/admin/users?*"):
            await look.page.clock.fast_forward(REFRESH_MS)
        assert await asyncio.wait_for(look.page.locator("table.users tbody tr").count(), 10) > 0
