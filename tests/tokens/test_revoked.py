"""What is revoked costs nobody an edit: it stays on the device until that may come again."""

import asyncio
from itertools import count
from pathlib import Path

from client import Device, State
from client.status import Status
from hub.auth import Grant, Secret, make_token
from hub.http.admin import Order
from hub.http.control import order
from tests.tokens.issuing import a_hub


class Issuer:
    """Gives out tokens, each with an id of its own: 1, 2, 3, …."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        self._numbers = count(1)
        self.last = ""

    async def __call__(self) -> str:
        self.last = str(next(self._numbers))
        return make_token(self._secret, Grant("ada", token_id=self.last))


def live(status: Status) -> bool:
    return status.state is State.LIVE


def stopped(status: Status) -> bool:
    return status.state is State.STOPPED


async def test_edits_of_a_revoked_user_stay_on_the_device_and_are_sent_once_it_may_come_again(
    tmp_path: Path,
) -> None:
    async with a_hub(tmp_path) as (url, secret):
        issuer = Issuer(secret)
        async with Device(url, token=issuer, path=tmp_path / "phone.db") as phone:
            await phone.create("tasks", {"id": "before"})
            await phone.synchronize()
            assert (await order(tmp_path / "hub.db", Order("ada")))["closed"] == 1
            status = await phone.until(stopped)
            assert status.error == "forbidden: the user is revoked"
            await phone.create("tasks", {"id": "meanwhile"})
            await order(tmp_path / "hub.db", Order("ada", undo=True))
            assert phone.status.pending == 1
            await phone.refresh(issuer)
            await phone.synchronize()
        async with Device(url, token=issuer) as tab:
            await tab.synchronize()
            assert {each["id"] for each in await tab.read("tasks")} == {"before", "meanwhile"}


async def test_a_device_whose_token_is_revoked_comes_back_with_its_next_one_and_loses_nothing(
    tmp_path: Path,
) -> None:
    """Ten tokens are revoked one after the other, with edits all the while."""
    async with a_hub(tmp_path) as (url, secret):
        issuer = Issuer(secret)
        async with Device(url, token=issuer, path=tmp_path / "phone.db") as phone:
            for number in range(1, 11):
                await phone.create("tasks", {"id": f"before-{number}"})
                await phone.until(live)
                revoking = order(tmp_path / "hub.db", Order(token=issuer.last))
                answer, *_ = await asyncio.gather(
                    revoking, *(phone.create("tasks", {"id": f"{number}-{n}"}) for n in range(20))
                )
                assert answer["closed"] == 1
                await phone.synchronize(60)
            assert phone.status.pending == 0
        token = make_token(secret, Grant("ada"))
        async with Device(url, token=token) as tab:
            await tab.synchronize()
            assert len(await tab.read("tasks")) == 10 * 21
