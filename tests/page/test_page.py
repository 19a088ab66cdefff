"""The live page in a browser, beside real devices: what an operator sees of a hub."""

from pathlib import Path
from typing import Final

import pytest

from hub.embedded import Hub
from tests.page.browser import Look, looking
from tests.page.serving import TOKEN, Served, a_device, quarrel, settings_in

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE: Final = "<img src=x onerror=alert(1)>\"'&\u202egnp"


async def test_a_wrong_token_is_told_so_and_the_right_one_lets_in(served: Served) -> None:
    async with looking(served.browser, served.hub.http_url) as look:
        await look.open()
        await look.sign_in("a token that somebody guessed, long enough")
        await look.shows("#token-error", "not the hub's admin token")
        assert look.wrong == [each for each in look.wrong if "401" in each]
        await look.sign_in(TOKEN)
        await look.shows("#state", "Serving")
        kept = await look.page.evaluate("[Object.values(sessionStorage), localStorage.length]")
        assert kept == [[TOKEN], 0]
        assert TOKEN not in look.page.url
        await look.page.get_by_role("button", name="Sign out").click()
        await look.page.get_by_label("Admin token").wait_for()
        assert await look.page.evaluate("sessionStorage.length") == 0


async def test_charts_move_and_tell_in_words_what_they_show(served: Served, look: Look) -> None:
    async with a_device(served, "ada", "phone") as phone, a_device(served, "ada", "laptop") as tab:
        await tab.synchronize()
        await phone.create("tasks", {"id": "t1", "title": "Milk"})
        await phone.synchronize()
        await look.shows(".chart:nth-child(1) .figures", "2 connections")
        chart = look.page.locator(".chart:nth-child(1) svg")
        assert "in the last 5 minutes. connections:" in str(await chart.get_attribute("aria-label"))
        path = look.page.locator(".chart:nth-child(1) .line-0.line")
        before = await path.get_attribute("d")
        await look.page.wait_for_function(
            "before => document.querySelector('.chart .line-0.line').getAttribute('d') !== before",
            arg=before,
        )
        await chart.focus()
        await chart.press("ArrowLeft")
        await look.shows(".chart:nth-child(1) .when", "at ")


async def test_a_push_is_seen_as_it_happens_and_leads_to_the_objects_history(
    served: Served, look: Look
) -> None:
    async with a_device(served, "ben", "phone") as phone, a_device(served, "ben", "laptop") as tab:
        await phone.synchronize()
        await tab.synchronize()
        await phone.create("tasks", {"id": "t1", "title": "Milk", "done": False})
        await phone.synchronize()
        await look.shows(".pushes li", "ben from phone")
        await look.page.locator(".pushes a.object").first.click()
        await look.shows("#object-title", "tasks t1")
        await look.shows("table.fields", "Milk")
        await look.shows(".edits", "created it")


async def test_an_edit_that_lost_is_in_the_objects_history_with_what_it_lost_to(
    served: Served, look: Look
) -> None:
    await quarrel(served, "gus")
    await look.shows(".pushes .badge.lost", "1 lost")
    await look.open("#/object/gus/tasks/t1")
    await look.shows("table.fields", "Oat")
    await look.shows(".edit.lost", "title lost to the push of clock 2")
    await look.shows(".edit.lost .values", "Soy")


async def test_an_edit_that_was_rejected_is_in_the_objects_history(
    served: Served, look: Look
) -> None:
    async with a_device(served, "cyd", "phone") as phone:
        await phone.create("tasks", {"id": "t1", "title": "Milk"})
        await phone.synchronize()
        async with a_device(served, "cyd", "laptop") as laptop:
            await laptop.synchronize()
            await laptop.delete("tasks", "t1")
            await phone.update("tasks", {"id": "t1", "title": "Oat milk"})
            await laptop.synchronize()
            await phone.synchronize()
    await look.open("#/object/cyd/tasks/t1")
    await look.shows("#object", "Deleted at clock")
    await look.shows(".edits", "deleted it")
    await look.shows(".edits", "Oat milk")


async def test_users_are_found_by_a_part_of_their_name_with_how_far_each_device_is(
    served: Served, look: Look
) -> None:
    async with a_device(served, "dora", "tablet") as tablet:
        await tablet.synchronize()
    async with a_device(served, "dora", "phone") as phone:
        await phone.create("tasks", {"id": "t1"})
        await phone.synchronize()
        await look.page.get_by_label("Find").fill("dor")
        await look.shows("table.users .chip", "phone level")
        await look.shows("table.users .chip", "tablet")
        assert await look.page.locator("table.users tbody tr").count() == 1
        await look.page.get_by_role("link", name="dora").first.click()
        await look.shows("#user-title", "dora")
        await look.shows("table", "live")
        await look.shows("table", "tasks t1")
        await look.shows("table", "Changed at clock")
    await look.open("#/")
    await look.page.get_by_label("Find").fill("nobody of that name")
    await look.shows(".empty", "No user has")


async def test_names_made_to_hurt_are_shown_as_they_are(served: Served, look: Look) -> None:
    async with a_device(served, HOSTILE, HOSTILE) as phone:
        await phone.create(HOSTILE, {"id": HOSTILE, HOSTILE: HOSTILE})
        await phone.synchronize()
        await look.shows(".pushes a.object", HOSTILE)
        await look.page.locator(".pushes a.object", has_text=HOSTILE).first.click()
        await look.shows("#object-title", HOSTILE)
        await look.shows("table.fields", "onerror")
        await look.page.locator("#object .back").click()
        await look.shows("#user-title", HOSTILE)
        await look.shows("table", HOSTILE)
    assert await look.page.locator("main img").count() == 0


async def test_pushes_are_paused_and_looked_at_for_one_user(served: Served, look: Look) -> None:
    await look.page.locator("#of-user").fill("eve")
    await look.shows(".empty", "No push of eve")
    async with a_device(served, "eve", "phone") as eve, a_device(served, "fay", "phone") as fay:
        for device in (fay, eve):
            await device.create("tasks", {"id": "t1"})
            await device.synchronize()
        await look.shows(".pushes li", "eve")
        assert await look.page.locator(".pushes li").count() == 1
        await look.page.get_by_role("button", name="Pause").click()
        await eve.create("tasks", {"id": "t2"})
        await eve.synchronize()
        await look.shows("#pushes .note", "Paused; 1 push since")
        assert await look.page.locator(".pushes li").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", ["#/", "#/user/ada", "#/object/ada/tasks/t1"])
async def test_on_a_phone_nothing_is_wider_than_the_screen(
    served: Served, scheme: str, place: str
) -> None:
    async with a_device(served, "ada", "phone") as phone:
        await phone.create("tasks", {"id": "t1", "title": "Milk" * 200})
        await phone.synchronize()
    phone_size = {"width": 360, "height": 740}
    async with looking(
        served.browser, served.hub.http_url, viewport=phone_size, color_scheme=scheme
    ) as look:
        await look.open(place)
        assert await look.width() <= 360
        await look.sign_in(TOKEN)
        await look.shows("#view table", "ada" if place == "#/" else "")
        assert await look.width() <= 360
        ground = await look.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(16, 21, 20)") is (scheme == "dark")
        assert look.wrong == []


async def test_a_hub_that_is_gone_is_told_and_the_page_comes_back_by_itself(
    tmp_path: Path, served: Served
) -> None:
    settings = settings_in(tmp_path)
    async with Hub(settings) as hub:
        url = hub.http_url
        context = looking(served.browser, url)
        look = await context.__aenter__()
        await look.open()
        await look.sign_in(TOKEN)
        await look.shows("#state", "Serving")
    await look.shows("#state", "Trying again")
    async with Hub(settings_in(tmp_path, int(url.rpartition(":")[2]))):
        await look.shows("#state", "Serving")
        assert all("net::ERR" in each for each in look.wrong)
        await context.__aexit__(None, None, None)
