"""Which sync an ack may stand for: only one that began after its push had been read.

A push that comes in while the WAL is being synced is not made durable by that sync, though it
ends before the ack; tests/crash/test_durability.py would take one for the other.
"""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.crash.processes import UPGRADE, WAITS, HubProcess, a_hub_process, raw_frame
from tests.crash.tracing import can_trace

PUSHERS: Final = 20
PUSHES: Final = 15
"""Of each pusher, one after the other."""
CALLS: Final = "read,recvfrom,recvmsg,write,writev,sendto,sendmsg,fsync,fdatasync"
OPTIONS: Final = ("-f", "-D", "-y", "-s", "65536", "-e", f"trace={CALLS}", "-e", "signal=none")

BEGUN: Final = re.compile(r"^(?P<thread>\d+) +(?P<call>\w+)\(\d+<(?P<file>[^>]*)>(?P<rest>.*)$")
RESUMED: Final = re.compile(r"^(?P<thread>\d+) +<\.\.\. (?P<call>\w+) resumed>(?P<rest>.*)$")
PUSH: Final = re.compile(r'\{\\"type\\":\\"push\\",\\"push_id\\":(\d+)')
ACK: Final = re.compile(r'\{\\"type\\":\\"ack\\",\\"push_id\\":(\d+)')


class Call(NamedTuple):
    """A system call; `begun` and `ended` are lines of the trace, in the order of what happened."""

    name: str
    file: str
    begun: int
    ended: int
    text: str


def calls(lines: list[str]) -> Iterator[Call]:
    """The calls of a trace, those that others came between put together again."""
    unfinished: dict[str, tuple[str, str, int, str]] = {}
    for number, line in enumerate(lines):
        if match := BEGUN.match(line):
            name, file, rest = match["call"], match["file"], match["rest"]
            if rest.endswith("<unfinished ...>"):
                unfinished[match["thread"]] = name, file, number, rest
            else:
                yield Call(name, file, number, number, rest)
        elif (match := RESUMED.match(line)) and match["thread"] in unfinished:
            name, file, begun, rest = unfinished.pop(match["thread"])
            yield Call(name, file, begun, number, rest + match["rest"])


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The payload of the next frame of the hub."""
    _first, length = await reader.readexactly(2)
    if length >= 126:
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8))
    return await reader.readexactly(length)


async def push_one_by_one(hub: HubProcess, number: int) -> None:
    """A device that waits for each ack before it pushes again; its push ids are its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    hello = f'"token":"user-{number}","device":"phone","logical_clock":0'
    writer.write(raw_frame(f'{{"type":"hello",{hello}}}'))
    while b'"type":"ready"' not in await read_frame(reader):
        pass
    for push_id in range(number * 1000 + 1, number * 1000 + PUSHES + 1):
        diff = (
            f'{{"id":"e{push_id}","logical_clock":0,"utc_timestamp":1,"type":"create",'
            f'"model":"tasks","json_data":{{"id":"a","n":{push_id}}}}}'
        )
        writer.write(raw_frame(f'{{"type":"push","push_id":{push_id},"diffs":[{diff}]}}'))
        assert f'"push_id":{push_id},'.encode() in await read_frame(reader)
    writer.close()
    await writer.wait_closed()


async def push_all(hub: HubProcess) -> None:
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(1, PUSHERS + 1):
            group.create_task(push_one_by_one(hub, number))


@pytest.mark.parametrize("wait", WAITS)
def test_each_ack_comes_after_a_sync_that_began_after_its_push_was_read(
    tmp_path: Path, wait: str
) -> None:
    if reason := can_trace(tmp_path):
        pytest.skip(reason)
    trace = tmp_path / "trace"
    prefix = ["strace", *OPTIONS, "-o", str(trace)]
    with a_hub_process(tmp_path / "hub.db", "--disk-wait", wait, prefix=prefix) as hub:
        asyncio.run(push_all(hub))
        assert hub.stop() == 0
    traced = list(calls(trace.read_text(errors="replace").splitlines()))

    syncs = [
        call
        for call in traced
        if call.name in ("fdatasync", "fsync") and call.file.endswith("hub.db-wal")
    ]
    pushes, acks = dict[str, Call](), dict[str, Call]()
    for call in traced:
        if call.name.startswith(("read", "recv")):
            pushes |= dict.fromkeys(PUSH.findall(call.text), call)
        if call.name.startswith(("write", "send")) and call.file.startswith(("TCP", "socket")):
            acks |= dict.fromkeys(ACK.findall(call.text), call)
    assert len(pushes) == len(acks) == PUSHERS * PUSHES

    for push_id, ack in acks.items():
        read = pushes[push_id].ended
        assert any(read < sync.begun and sync.ended < ack.begun for sync in syncs), push_id
    assert len(syncs) < len(acks), "no group was ever larger than one push"
    print(f"{len(acks)} acks of {PUSHERS} pushers, {len(syncs)} syncs of the WAL")
