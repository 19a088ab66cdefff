"""The way from a device to the hub, with a switch to turn it off."""

from client.errors import LinkFailed
from client.link import Connect, Link, websocket


class Radio:
    """Opens links to the hub as long as it is on."""

    def __init__(self, url: str) -> None:
        self.is_on = True
        self._connect: Connect = websocket(url)
        self._link: Link | None = None

    async def open_link(self) -> Link:
        """Open a link, unless the radio is off."""
        if not self.is_on:
            raise LinkFailed("the radio is off")
        self._link = await self._connect()
        return self._link

    async def turn_off(self) -> None:
        """Go offline: the line breaks, and no new one opens."""
        self.is_on = False
        if self._link is not None:
            await self._link.close()

    def turn_on(self) -> None:
        """Come back."""
        self.is_on = True
