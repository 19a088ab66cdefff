"""What a device may take a pong for."""

from pathlib import Path

from hub.limits import Limits
from hub.states import State
from tests.hub.fakes import a_hub, create, in_virtual_time, settled


@in_virtual_time
async def test_a_device_that_fell_behind_has_its_pong_only_when_it_is_level_again(
    tmp_path: Path,
) -> None:
    """A device asked for all that was stored so far, was answered at once, and lacked most of it.

    It did not know that it had fallen behind: to a device that was told `ready`, a pong says that
    all pushes stored before its ping have come before the pong.
    """
    async with a_hub(tmp_path / "hub.db", limits=Limits(send_buffer_bytes=2000)) as site:
        phone, slow = await site.live("phone"), await site.live("slow")
        slow.stall()
        for push_id in range(1, 101):
            phone.push(push_id, create(f"o{push_id}", text="x" * 100))
        await settled()
        assert site.session(slow).state is State.CATCHING_UP
        slow.say("ping", nonce="all?")
        await settled()
        slow.take()
        frames = [await slow.hear()]
        while frames[-1]["type"] != "pong":
            frames.append(await slow.hear())
        heard = [frame["logical_clock"] for frame in frames if frame["type"] == "changes"]
        assert heard == list(range(1, 101))
        assert frames[-1]["nonce"] == "all?"
