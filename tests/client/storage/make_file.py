"""Makes a device's file as the code of today does: one for each format is kept in `files`.

`python -m tests.client.storage.make_file TARGET`, with the code that is to be remembered. What the
file holds is said by tests/client/storage/test_upgrading.py.
"""

import asyncio
import sys
from pathlib import Path

from client import Device, State
from protocol.messages import Push, Rejected
from tests.client.fake_hub import FakeHub, Session, present
from tests.client.fake_world import impatient

MADE_AT = 1_790_000_000_000
"""The device's clock (ms); the hub's showed 5 s more."""


async def make(target: Path) -> None:
    hub, world = FakeHub(), impatient()._replace(now=lambda: MADE_AT)
    url = "ws://hub.invalid/sync"
    async with Device(
        url, token="alice", name="phone", path=target, connect=hub.connect, world=world
    ) as phone:
        session = await hub.session()
        await session.greet(server_time=MADE_AT + 5_000)
        session.ready()
        await phone.until(lambda status: status.state is State.LIVE)
        await _be_acked_and_refused(phone, session)
        await _leave_pushes_cut_and_edits_waiting(phone, session)
        await _lose_the_line_half_way(phone, hub, session)


async def _be_acked_and_refused(phone: Device, session: Session) -> None:
    await phone.create("tasks", {"id": "kept", "title": "Mjölk 🥛"})
    session.ack(await session.expect(Push), 1)
    await phone.update("tasks", {"id": "gone", "done": True})
    refused = await session.expect(Push)
    told = Rejected(0, refused.diffs[0]["id"], "object_deleted", "delete wins")
    session.ack(refused, 2, diffs=[], rejected=(told,))
    await phone.until(lambda status: status.setbacks == 1 and status.pending == 0)


async def _leave_pushes_cut_and_edits_waiting(phone: Device, session: Session) -> None:
    for number in range(1, 5):
        await phone.create("tasks", {"id": f"cut{number}"})
        await session.expect(Push)
    await phone.update("tasks", {"id": "kept", "done": False})
    async with phone.batch() as edits:
        edits.create("notes", {"id": "n1", "ratio": 0.1, "large": 2**53 - 1})
        edits.delete("tasks", "cut1")


async def _lose_the_line_half_way(phone: Device, hub: FakeHub, session: Session) -> None:
    session.close(None)
    session = await hub.session()
    await session.greet(logical_clock=900, last_push_id=2, server_time=MADE_AT + 5_000)
    session.page(400, present("tasks", 400, id="theirs", title="half"), head=900, remaining=1)
    await phone.until(lambda status: status.clock == 400)


if __name__ == "__main__":
    asyncio.run(make(Path(sys.argv[1])))
