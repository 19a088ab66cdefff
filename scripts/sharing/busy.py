"""The busy user: devices that push many edits at once, and again as soon as they may.

A process of its own, with a lower priority than the one that measures: that one's clock should not
wait for this one's frames. It runs until it is stopped, and then prints how many edits were acked.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
from typing import Final

import orjson
import uvloop
from websockets.uri import parse_uri

from scripts.loading.faults import Faults
from scripts.loading.link import Link, connect

DEVICES: Final = 10
DIFFS: Final = 100
"""Edits in one push."""
UNDER_WAY: Final = 8
"""Pushes of one device that wait for their acks."""
LESS_URGENT: Final = 10
"""See nice(2)."""

_FRAME: Final = b'{"type":"push","push_id":%d,"diffs":%s}'


class _Device:
    """Pushes the same edits again and again, more with each ack."""

    def __init__(self, link: Link, user: str) -> None:
        self.acked = 0
        self._link = link
        self._diffs = orjson.dumps([_edit(user, link.name, number) for number in range(DIFFS)])
        self._push_id = 0
        link.take = self._take

    def greet(self) -> None:
        hello = {"type": "hello", "token": self._link.user, "device": self._link.name}
        self._link.send(orjson.dumps(hello | {"logical_clock": 0, "log_id": None, "half": None}))

    def leave(self) -> None:
        self._link.cut()

    def _take(self, payload: bytes) -> None:
        if payload.startswith(b'{"type":"ready"'):
            for _ in range(UNDER_WAY):
                self._push()
        elif payload.startswith(b'{"type":"ack"'):
            self.acked += 1
            self._push()

    def _push(self) -> None:
        self._push_id += 1
        self._link.send(_FRAME % (self._push_id, self._diffs))


def _edit(user: str, device: str, number: int) -> dict[str, object]:
    return {
        "id": f"{user}-{device}-{number}",
        "logical_clock": 0,
        "utc_timestamp": time.time_ns() // 1_000_000,
        "type": "create",
        "model": "notes",
        "json_data": {"id": f"{device}-{number}", "text": "x" * 100},
    }


async def _keep_pushing(url: str) -> int:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    user, faults = f"busy-{secrets.token_hex(4)}", Faults()
    devices = [
        _Device(await connect(parse_uri(url), user, f"d{number}", faults), user)
        for number in range(DEVICES)
    ]
    for device in devices:
        device.greet()
    print("pushing", flush=True)
    await stopped.wait()
    for device in devices:
        device.leave()
    return sum(device.acked for device in devices) * DIFFS


if __name__ == "__main__":
    with contextlib.suppress(OSError):
        os.nice(LESS_URGENT)
    print(uvloop.run(_keep_pushing(sys.argv[1])), flush=True)
