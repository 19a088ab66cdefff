"""Histories of users, written by the hub's own store: the log that a hub finds when it starts.

What a device would send is read as the hub reads it, decided by its merge and committed by its
store, only without a socket, and in groups larger than devices come in.
"""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from hub.server import now, open_store
from hub.settings import Settings
from hub.store.interface import Incoming
from protocol.messages import Push, decode_from_device
from scripts.loading.pushes import Templates, templates

SIZE: Final = 200
"""Bytes of a change, as under load."""
DEVICE: Final = "seed"
"""The device that made all of a history."""

_GROUP: Final = 1_000


class History(NamedTuple):
    """So many pushes of one edit each: first each object is created, then they change in turn."""

    user: str
    pushes: int
    objects: int


async def seed(path: Path, histories: Iterable[History]) -> None:
    """Write histories into the hub's file at `path`."""
    store = open_store(Settings(dev=True, data=path))
    await store.open()
    try:
        pushes = (push for history in histories for push in _pushes(history))
        while group := list(itertools.islice(pushes, _GROUP)):
            await store.commit(group)
    finally:
        await store.close()


def _pushes(history: History) -> Iterator[Incoming]:
    frames = templates(history.user, history.objects, SIZE)
    began = now() - history.pushes  # each a millisecond after the one before, none in the future
    for number in range(1, history.pushes + 1):
        frame = _template(frames, number) % (number, number, number - 1, began + number, number)
        message = decode_from_device(frame)
        if isinstance(message, Push):
            yield Incoming(history.user, DEVICE, number, message.diffs)


def _template(frames: Templates, number: int) -> bytes:
    """Return the frame of the push `number`, counted from 1."""
    objects = len(frames.creates)
    if number <= objects:
        return frames.creates[number - 1]
    return frames.updates[(number - 1) % objects]
