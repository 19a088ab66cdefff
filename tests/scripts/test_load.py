"""The load generator and the bare relay (scripts/load, scripts/relay)."""

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import broadcast
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame as LibraryFrame
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from scripts.loading import relay, rounds
from scripts.loading.faults import LoadError
from scripts.loading.figures import Spread, percentile, show, spread
from scripts.loading.frames import PING, TEXT, BadFrame, Frame, FrameReader, client_frame
from scripts.loading.pushes import SMALLEST, Ack, Heard, read_ack, read_changes, templates
from scripts.loading.report import report
from scripts.loading.rounds import Round, run_round
from scripts.loading.servers import Server
from tests.scripts.relays import SMALL, relay_here

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


# Frames


def served(opcode: Opcode, payload: bytes) -> bytes:
    """A frame as `websockets` sends it from a server."""
    return LibraryFrame(opcode, payload).serialize(mask=False)


SIZES = [0, 1, 125, 126, 127, 65_535, 65_536]
STREAM = b"".join(
    [
        served(Opcode.TEXT, b"short"),
        served(Opcode.PING, b"are you there?"),
        served(Opcode.TEXT, b"m" * 300),
        served(Opcode.TEXT, b""),
        served(Opcode.TEXT, b"l" * 70_000),
    ]
)
FRAMES: list[Frame] = [
    (TEXT, b"short"),
    (PING, b"are you there?"),
    (TEXT, b"m" * 300),
    (TEXT, b""),
    (TEXT, b"l" * 70_000),
]


def read_in_pieces(pieces: Sequence[bytes]) -> list[Frame]:
    reader = FrameReader()
    return [frame for piece in pieces for frame in reader.feed(piece)]


def test_frames_split_at_any_byte_are_read_the_same() -> None:
    cuts = [*range(400), *range(400, len(STREAM), 997), len(STREAM) - 1]
    for cut in cuts:
        assert read_in_pieces([STREAM[:cut], STREAM[cut:]]) == FRAMES, cut


def test_frames_that_come_byte_by_byte_are_read_the_same() -> None:
    small = STREAM[: STREAM.index(b"l" * 70_000)]
    assert read_in_pieces([bytes([byte]) for byte in small]) == FRAMES[:-1]


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_of_any_length_is_read_as_websockets_wrote_it(size: int) -> None:
    assert FrameReader().feed(served(Opcode.TEXT, b"x" * size)) == [(TEXT, b"x" * size)]


@pytest.mark.parametrize("size", SIZES)
def test_websockets_reads_our_frames_as_we_wrote_them(size: int) -> None:
    server = ServerProtocol(state=State.OPEN, max_size=None)
    server.receive_data(client_frame(TEXT, b"y" * size))
    assert server.events_received() == [LibraryFrame(Opcode.TEXT, b"y" * size)]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(client_frame(TEXT, b"masked"), id="masked"),
        pytest.param(served(Opcode.BINARY, b"binary"), id="binary"),
        pytest.param(LibraryFrame(Opcode.TEXT, b"a", fin=False).serialize(mask=False), id="part"),
    ],
)
def test_a_frame_that_no_server_of_the_protocol_sends_is_refused(data: bytes) -> None:
    with pytest.raises(BadFrame):
        FrameReader().feed(data)


# Pushes


@pytest.mark.parametrize("size", [SMALLEST, 200, 5_000])
def test_an_update_is_a_change_of_the_size_asked_for(size: int) -> None:
    frames = templates("ada", objects=3, size=size)
    pushes = [orjson.loads(update % (7, 7, 6, 1_790_000_000_000, 42)) for update in frames.updates]
    changes = [push["diffs"][0]["json_data"] for push in pushes]
    assert [len(orjson.dumps(change)) for change in changes] == [size] * 3
    assert len({change["id"] for change in changes}) == 3


def test_an_ack_is_read_only_if_the_push_was_stored_as_sent() -> None:
    assert read_ack(b'{"type":"ack","push_id":7,"logical_clock":12}') == Ack(7, 12)
    assert read_ack(b'{"type":"ack","push_id":7,"logical_clock":12,"rejected":[{}]}') is None
    assert read_ack(b'{"type":"error","code":"server_busy","message":"","push_id":7}') is None


def test_a_change_tells_its_clock_and_when_its_push_was_due() -> None:
    diff = b'{"id":"a-1","json_data":{"id":"o1","sent":"00000000000000000042"}}'
    changes = b'{"type":"changes","logical_clock":9,"device":"d","diffs":[' + diff + b"]}"
    assert read_changes(changes) == Heard(clock=9, sent=42)
    assert read_changes(b'{"type":"changes","logical_clock":9,"device":"d","diffs":[]}') is None


# Figures


def test_a_percentile_is_the_smallest_value_that_covers_its_share() -> None:
    values = list(range(1, 201))
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [100, 198, 200]
    assert percentile([5], 0.5) == 5


def test_a_spread_is_in_milliseconds() -> None:
    assert spread([3_000_000, 1_000_000, 2_000_000]) == Spread(
        p50=2.0, p90=3.0, p99=3.0, p999=3.0, max=3.0
    )
    assert spread([]) is None


def test_a_table_in_a_pipe_is_plain_aligned_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show("title", ["target", "pushes/s"], [["hub", "9"], ["relay", "10,000"]])
    assert capsys.readouterr().out == "target  pushes/s\nhub     9\nrelay   10,000\n"


def measured(pushes_per_second: float) -> Round:
    return Round(
        pushes=100,
        deliveries=100,
        pushes_per_second=pushes_per_second,
        deliveries_per_second=pushes_per_second,
        push_to_ack=None,
        push_to_receive=None,
        sent_late=None,
        server_cpu_seconds=None,
        server_memory_bytes=None,
        load_cpu_share=0.95 if pushes_per_second > 900 else 0.5,
        errors=0,
        first_errors=[],
    )


def test_the_ratio_compares_rounds_of_the_same_turn() -> None:
    found = report(
        SMALL,
        {
            "relay": [measured(200), measured(400), measured(1_000)],
            "hub": [measured(100), measured(200), measured(700)],
        },
    )
    assert found.hub_to_relay is not None
    assert found.hub_to_relay.pushes_per_second == 0.5
    assert found.medians["hub"].pushes_per_second == 200


def test_it_is_said_when_the_load_generator_was_the_limit() -> None:
    assert not report(SMALL, {"relay": [measured(100)]}).notes
    assert (
        "the load generator used 95% of a core" in report(SMALL, {"hub": [measured(950)]}).notes[0]
    )


def test_it_is_said_when_the_relay_was_kept_from_working() -> None:
    idle = msgspec.structs.replace(measured(100), server_cpu_seconds=SMALL.seconds / 2)
    assert "it had only 50% of a core" in report(SMALL, {"relay": [idle]}).notes[0]
    assert not report(SMALL, {"hub": [idle]}).notes


# The relay


@contextlib.asynccontextmanager
async def running(script: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        SCRIPTS / script,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@contextlib.asynccontextmanager
async def running_relay() -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    async with running("relay", "--port", "0") as process:
        assert process.stdout is not None
        ready, url = (await process.stdout.readline()).decode().split()
        assert ready == "ready"
        yield process, url


async def come(url: str, user: str, device: str, clock: int = 0) -> ClientConnection:
    socket = await connect(url, subprotocols=[Subprotocol("mobync.v1")], compression=None)
    hello = {"type": "hello", "token": user, "device": device, "logical_clock": 0, "log_id": None}
    await socket.send(json.dumps(hello))
    welcome = await hear(socket)
    assert (welcome["type"], welcome["user"], welcome["device"]) == ("welcome", user, device)
    assert await hear(socket) == {"type": "ready", "logical_clock": clock, "last_push_id": 0}
    return socket


async def hear(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(5):
        frame: dict[str, Any] = json.loads(await socket.recv())
    return frame


def push(push_id: int) -> str:
    diff = {"id": f"e{push_id}", "logical_clock": 0, "utc_timestamp": 1, "type": "update"}
    change = {"model": "tasks", "json_data": {"id": "t1", "title": "Milk"}}
    return json.dumps({"type": "push", "push_id": push_id, "diffs": [diff | change]})


async def test_the_relay_acks_a_push_and_hands_it_to_the_users_other_devices() -> None:
    async with running_relay() as (_, url):
        phone, laptop = await come(url, "ada", "phone"), await come(url, "ada", "laptop")
        stranger = await come(url, "bob", "phone")
        await phone.send(push(5))
        assert await hear(phone) == {"type": "ack", "push_id": 5, "logical_clock": 1}
        diff = {"id": "e5", "utc_timestamp": 1, "type": "update", "model": "tasks"}
        diff |= {"json_data": {"id": "t1", "title": "Milk"}}
        changes = {"type": "changes", "logical_clock": 1, "device": "phone", "diffs": [diff]}
        assert await hear(laptop) == changes
        await stranger.send(push(1))
        assert await hear(stranger) == {"type": "ack", "push_id": 1, "logical_clock": 1}
        newcomer = await come(url, "ada", "tablet", clock=1)
        for socket in (phone, laptop, stranger, newcomer):
            await socket.close()


async def test_the_relay_answers_a_ping_with_its_nonce() -> None:
    async with running_relay() as (_, url):
        phone = await come(url, "ada", "phone")
        await phone.send('{"type":"ping","nonce":"n"}')
        pong = await hear(phone)
        assert (pong["type"], pong["nonce"]) == ("pong", "n")
        await phone.close()


async def test_the_relay_is_at_sync_only() -> None:
    async with running_relay() as (_, url):
        with pytest.raises(InvalidStatus, match="404"):
            await connect(url.replace("/sync", "/other"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_relay_stops_on_a_signal_with_devices_connected(number: signal.Signals) -> None:
    async with running_relay() as (process, url):
        phone = await come(url, "ada", "phone")
        process.send_signal(number)
        async with asyncio.timeout(10):
            assert await process.wait() == 0
            await phone.wait_closed()


# The load


async def load(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run scripts/load for a moment; return its exit code, its JSON and its standard error."""
    few = ["--users", "4", "--objects", "3", "--rounds", "1", "--seconds", "1", "--json"]
    async with running("load", *few, *arguments) as process:
        async with asyncio.timeout(60):
            out, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(out) if out else {}, errors.decode()


async def test_every_push_reaches_the_other_device_once() -> None:
    code, found, errors = await load("--against", "relay", "--rounds", "2")
    assert (code, found["errors"], errors) == (0, 0, "")
    for each in found["rounds"]["relay"]:
        assert each["pushes"] == each["deliveries"] > 100
        assert 0 < each["push_to_receive"]["p50"] <= each["push_to_receive"]["max"] < 10_000
        assert 0 < each["push_to_ack"]["p50"] <= each["push_to_ack"]["p99"]
    assert found["hub_to_relay"] is None


async def test_the_hub_and_the_relay_are_measured_beside_each_other() -> None:
    code, found, errors = await load("--rounds", "1")
    assert (code, found["errors"], errors) == (0, 0, "")
    for name in ("relay", "hub"):
        (each,) = found["rounds"][name]
        assert each["pushes"] == each["deliveries"] > 0
    assert found["hub_to_relay"]["pushes_per_second"] > 0


async def test_with_three_devices_two_hear_each_push() -> None:
    async with running_relay() as (_, url):
        code, found, _errors = await load("--url", url, "--devices", "3")
        each = found["rounds"]["hub"][0]
        assert code == 0
        assert each["deliveries"] == 2 * each["pushes"] > 100
        assert each["server_cpu_seconds"] is None


async def test_an_open_loop_sends_as_many_pushes_as_were_asked_for() -> None:
    code, found, errors = await load("--against", "relay", "--rate", "300")
    each = found["rounds"]["relay"][0]
    assert (code, errors) == (0, "")
    assert each["pushes"] == each["deliveries"] == 300
    assert 0 <= each["sent_late"]["p50"] <= each["push_to_receive"]["p50"]


async def test_a_server_that_cannot_be_reached_is_said_in_a_sentence() -> None:
    code, found, errors = await load("--url", "ws://127.0.0.1:1/sync")
    assert (code, found) == (1, {})
    assert "no connection to 127.0.0.1:1/sync" in errors
    assert "Traceback" not in errors


async def test_a_server_that_dies_under_load_is_an_error_of_each_device() -> None:
    async with running_relay() as (process, url):

        def kill_it_once() -> None:
            if process.returncode is None:
                process.kill()

        found = await run_round(Server("relay", url), SMALL, kill_it_once)
    assert found.errors >= SMALL.users * SMALL.devices
    assert "lost its connection" in found.first_errors[0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system has no /proc")
async def test_the_servers_use_of_processor_and_memory_is_told() -> None:
    async with running_relay() as (process, url):
        server = Server("relay", url, process.pid)
        before = server.cpu_seconds()
        found = await run_round(server, SMALL, lambda: None)
        assert before is not None
        assert found.server_cpu_seconds is not None
        assert found.server_cpu_seconds > 0
        assert found.server_memory_bytes is not None
        assert found.server_memory_bytes > 5_000_000


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.skipif(
    not Path("/proc/thread-self/children").exists(),
    reason="the system does not tell a process's children",
)
async def test_sigterm_stops_the_load_and_the_server_that_it_started() -> None:
    async with running("load", "--against", "relay", "--seconds", "60") as process:
        async with asyncio.timeout(30):
            while not (started := children(process.pid)):
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            _out, errors = await process.communicate()
        assert process.returncode == 1
        assert "stopped before the end" in errors.decode()
        assert not is_running(started[0])


# A relay that does wrong, and what the load says about it


def spoil(monkeypatch: pytest.MonkeyPatch, spoiled: Callable[[int], Sequence[int]]) -> None:
    """Let the relay send the changes of clock `n` as those of the clocks `spoiled(n)`."""

    def send(sockets: set[ServerConnection], message: str) -> None:
        frame = json.loads(message)
        for clock in spoiled(frame["logical_clock"]):
            again = orjson.dumps(frame | {"logical_clock": clock}).decode()
            broadcast(sockets, again)

    monkeypatch.setattr(relay, "broadcast", send)


REHEARSED = 2 * SMALL.objects


async def test_a_relay_that_does_right_has_no_errors() -> None:
    ticks: list[float] = []
    async with relay_here() as server:
        found = await run_round(server, SMALL, lambda: ticks.append(time.monotonic()))
    assert (found.errors, found.first_errors) == (0, [])
    assert found.deliveries == 2 * found.pushes > 0
    assert len(ticks) == rounds.TICKS


async def test_pings_of_the_server_are_answered() -> None:
    async with relay_here(ping_interval=0.05, ping_timeout=0.2) as server:
        found = await run_round(server, SMALL, lambda: None)
    assert found.errors == 0


async def test_a_clock_heard_twice_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = REHEARSED + 2
    spoil(monkeypatch, lambda clock: [clock, clock] if clock == twice else [clock])
    async with relay_here() as server:
        found = await run_round(server, SMALL, lambda: None)
    assert found.errors == SMALL.users * (SMALL.devices - 1)
    assert f"after clock {twice} came" in found.first_errors[0]


async def test_a_clock_left_out_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = REHEARSED + 2
    spoil(monkeypatch, lambda clock: [] if clock == lost else [clock])
    async with relay_here() as server:
        found = await run_round(server, SMALL, lambda: None)
    assert found.errors == SMALL.users * (SMALL.devices - 1)
    assert f"after clock {lost - 1} came" in found.first_errors[0]


async def test_deliveries_that_never_come_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "DEADLINE", 0.1)
    spoil(monkeypatch, lambda clock: [clock] if clock <= REHEARSED else [])
    async with relay_here() as server:
        found = await run_round(server, SMALL, lambda: None)
    assert found.deliveries == 0
    assert found.errors == 2 * found.pushes > 0
    assert "deliveries missing" in found.first_errors[0]


async def test_a_wrong_answer_in_the_rehearsal_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, lambda clock: [clock + 1])
    async with relay_here() as server:
        with pytest.raises(LoadError, match="instead of"):
            await run_round(server, SMALL, lambda: None)
