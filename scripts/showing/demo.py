"""The command line of `scripts/demo`: a hub and two devices, one of which loses its line."""

import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import rich_click as click
import uvloop

from client import Device
from hub.logs import configure
from hub.server import serving
from hub.settings import Settings
from scripts.showing.radio import Radio
from scripts.showing.stage import Stage


@click.command(context_settings={"show_default": True})
@click.option("--seconds", default=3.0, help="For each scene; 0 to hurry through.")
def main(*, seconds: float) -> None:
    """Show a hub and two devices of one user: edits, an offline spell, and what becomes of it."""
    configure("error", "text")
    agree = uvloop.run(_play(seconds))
    sys.exit(0 if agree else 1)


async def _play(seconds: float) -> bool:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        settings = Settings(dev=True, port=0, http_port=0, data=Path(folder) / "hub.db")
        url, _http = await stack.enter_async_context(serving(settings))
        radio = Radio(url)
        phone = Device(url, token="ada", name="phone", connect=radio.open_link)
        laptop = Device(url, token="ada", name="laptop")
        devices = {"phone": phone, "laptop": laptop}
        for device in devices.values():
            await stack.enter_async_context(device)
        stage = await stack.enter_async_context(Stage(devices, seconds))
        return await _scenes(stage, radio, phone, laptop)


async def _scenes(stage: Stage, radio: Radio, phone: Device, laptop: Device) -> bool:
    devices = {"phone": phone, "laptop": laptop}
    await phone.create("tasks", {"id": "1", "title": "Milk", "done": False})
    await laptop.create("tasks", {"id": "2", "title": "Bread", "done": False})
    await _level(devices)
    await stage.say("Each device makes a task, and the other has it at once.")
    await radio.turn_off()
    await phone.until(lambda status: not status.connected)
    await phone.update("tasks", {"id": "1", "done": True})
    await phone.create("tasks", {"id": "3", "title": "Apples", "done": False})
    await stage.say("The phone is on a train without a signal. It goes on working.")
    await laptop.update("tasks", {"id": "1", "title": "Oat milk"})
    await laptop.delete("tasks", "2")
    await laptop.synchronize()
    await stage.say("Meanwhile the laptop edits the same task, and deletes another.")
    radio.turn_on()
    await _level(devices)
    await stage.say("The phone comes back: both edits of the milk are kept, field by field.")
    agree = await phone.read("tasks") == await laptop.read("tasks")
    await stage.say("Both devices agree." if agree else "The devices do not agree: a bug.")
    return agree


async def _level(devices: Mapping[str, Device]) -> None:
    """Bring all level: each has sent its own, then each has heard of the others'."""
    for _ in range(2):
        for device in devices.values():
            await device.synchronize()


if __name__ == "__main__":
    main()
