"""A fresh token on an open connection: what the device says meanwhile does not wait for it."""

import asyncio
from collections.abc import Callable

from hub.auth import Grant, KeyNotKnown, KeysNotHad
from hub.door import Door
from hub.endless import stop
from hub.refusal import Refusal


class Renewal:
    """Looks at the fresh tokens of one device that is in; the newest of them counts.

    `take` is given what it gives. `refuse` is told of a token whose issuer had to be asked, and
    that gives nothing.
    """

    def __init__(
        self,
        door: Door,
        user: str,
        device: str,
        take: Callable[[Grant], None],
        refuse: Callable[[Refusal], None],
    ) -> None:
        self._door = door
        self._user = user
        self._device = device
        self._take = take
        self._refuse = refuse
        self._asking: asyncio.Task[None] | None = None

    def renew(self, token: object) -> None:
        """Look at a token: at once, unless its issuer has to be asked for the key.

        Raises:
            Refusal: it gives nothing.

        """
        if self._asking is not None:
            self._asking.cancel()
        try:
            self._take(self._door.renew(token, self._user, self._device))
        except KeyNotKnown:
            self._asking = asyncio.create_task(self._ask(token), name="renewal")

    async def _ask(self, token: object) -> None:
        """Ask the issuer, for as long as the token before this one counts."""
        while True:
            try:
                self._take(await self._door.renew_later(token, self._user, self._device))
            except KeysNotHad:
                continue
            except Refusal as refusal:
                self._refuse(refusal)
            return

    async def stop(self) -> None:
        """Ask no more."""
        await stop(self._asking)
