"""The floor (scripts/relay --journal): what any server pays whose acks are durable."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from websockets.asyncio.connection import broadcast
from websockets.asyncio.server import ServerConnection

from scripts.loading import relay
from scripts.loading.rounds import run_round
from tests.scripts.relays import SMALL, relay_here


async def test_the_floor_hands_out_what_it_has_written_and_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Round its journal more than once; every push is in a write, and behind that in a sync."""
    journal = relay.Journal(tmp_path / "journal")
    written, synced, handed_out = bytearray(), 0, 0
    pwrite, sync = os.pwrite, os.fdatasync

    def write(handle: int, data: bytes, at: int) -> int:
        written.extend(data + b"\n")
        assert at + len(data) <= relay.JOURNAL_BYTES
        return pwrite(handle, data, at)

    def count_sync(handle: int) -> None:
        nonlocal synced
        sync(handle)
        synced = written.count(b"\n")

    def count_broadcast(sockets: Iterable[ServerConnection], message: str) -> None:
        nonlocal handed_out
        handed_out += '"type":"changes"' in message
        assert handed_out <= synced
        broadcast(sockets, message)

    monkeypatch.setattr(relay, "JOURNAL_BYTES", 20_000)
    monkeypatch.setattr(os, "pwrite", write)
    monkeypatch.setattr(os, "fdatasync", count_sync)
    monkeypatch.setattr(relay, "broadcast", count_broadcast)
    async with relay_here(journal) as server:
        found = await run_round(server, SMALL, lambda: None)
    assert (found.errors, found.first_errors) == (0, [])
    assert found.pushes > 0
    assert handed_out == synced >= found.pushes
    assert len(written) > relay.JOURNAL_BYTES
