"""What is fuzzed, and what it may do: say what the protocol says, and nothing else."""

import asyncio
import contextlib
import json
import random
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import structlog

from hub.edge import Edge
from hub.forwarded import proxies_of
from hub.http.polling import PollRefused, poll
from hub.hub import SWEEP_SECONDS
from hub.networks import plain_address
from hub.session import STRANGERS_CLOSE_SECONDS
from hub.websocket.connection import WebSocketLink
from hub.websocket.handshake import Handshake, Terms
from protocol.closing import CLOSINGS
from protocol.diffs import MAX_DEPTH
from protocol.errors import BadMessage
from protocol.messages import decode_from_device, decode_from_hub
from protocol.mobync import decode_request, edits_of
from tests.fuzz.frames import POLLS, Frame, body_of, mutated
from tests.fuzz.handshakes import mutated_opening, pieces
from tests.hub.fakes import FakeLink, Site, VirtualLoop, a_hub, settled
from tests.hub.websocket.wire import FakeTransport

FRAMES_A_LINK: Final = 6
LINKS_AT_ONCE: Final = 10
CALLERS_AT_ONCE: Final = 50
OPENINGS_A_HUB: Final = 10_000
"""Each fifty of them take the time in which strangers have to go: hours, in virtual time."""
STATUSES: Final = {400, 401, 403, 409}
HANDSHAKE_STATUSES: Final = {101, 400, 403, 404, 405, 414, 426, 431, 505}
_TRUSTED: Final = proxies_of(Edge(trusted_proxies=("192.0.2.7", "10.0.0.0/8")))
LOGGED: Final = {"debug", "info", "warning"}


def decode(frame: Frame) -> None:
    """The readers of frames: a message, or `BadMessage`."""
    for reader in (decode_from_device, decode_from_hub):
        with contextlib.suppress(BadMessage):
            reader(frame)
    with contextlib.suppress(BadMessage):
        edits_of(decode_request(body_of(frame)), MAX_DEPTH)


def fuzz_decode(chance: random.Random, frames: int) -> Iterator[int]:
    """Mutated frames against the readers; yields how many each time."""
    for _ in range(frames):
        decode(mutated(chance))
        yield 1


def fuzz_session(chance: random.Random, frames: int, folder: Path) -> Iterator[int]:
    """Mutated frames against sessions of one hub, some at once; yields how many each time."""

    async def talk(site: Site) -> int:
        links = [site.connect() for _ in range(LINKS_AT_ONCE)]
        for link in links:
            _say_some(link, chance)
        await settled()
        for link in links:
            check_heard(await link.heard_by_now())
            assert link.closed is None or link.closed[0] in CLOSINGS, link.closed
            link.vanish()
            await site.gone(link)
        assert not site.hub.sessions
        return LINKS_AT_ONCE * FRAMES_A_LINK

    yield from _on_a_hub(folder, frames, talk)


def fuzz_polls(chance: random.Random, frames: int, folder: Path) -> Iterator[int]:
    """Mutated bodies against what answers `POST /sync`; yields how many each time."""

    async def ask(site: Site) -> int:
        for _ in range(LINKS_AT_ONCE):
            await _poll(site, body_of(mutated(chance, POLLS)))
        return LINKS_AT_ONCE

    yield from _on_a_hub(folder, frames, ask)


def fuzz_handshake(chance: random.Random, openings: int, folder: Path) -> Iterator[int]:
    """Mutated handshakes, and hellos behind them, against a hub; yields how many each time."""

    async def knock(site: Site) -> int:
        seconds = site.hub.limits.hello_seconds
        callers = [_Caller(site, chance.random() < 0.5) for _ in range(CALLERS_AT_ONCE)]
        for caller in callers:
            for piece in pieces(mutated_opening(chance), chance):
                caller.say(piece)
        await settled()
        for caller in callers:
            caller.check()
        await asyncio.sleep(seconds + STRANGERS_CLOSE_SECONDS + 2 * SWEEP_SECONDS)
        for caller in callers:
            caller.hang_up()
        await settled()
        assert not site.hub.sessions
        return CALLERS_AT_ONCE

    for number, start in enumerate(range(0, openings, OPENINGS_A_HUB)):
        life = folder / str(number)
        life.mkdir()
        yield from _on_a_hub(life, min(OPENINGS_A_HUB, openings - start), knock)


class _Line(FakeTransport):
    """A transport that has an end once it is closed."""

    is_lost = False

    def close(self) -> None:
        super().close()
        asyncio.get_running_loop().call_soon(self.lose)

    def abort(self) -> None:
        self.was_aborted = True
        asyncio.get_running_loop().call_soon(self.lose)

    def lose(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            self.protocol.connection_lost(None)


class _Caller:
    """Whoever comes to the hub's door, and what becomes of it."""

    def __init__(self, site: Site, compression: bool) -> None:
        self._site = site
        self._line = _Line()
        self._serving: list[asyncio.Task[None]] = []
        terms = Terms(
            pages=["https://app.example"], proxies=_TRUSTED, compression=compression,
            max_frame_bytes=100_000, send_buffer_bytes=100_000,
            seconds=site.hub.limits.hello_seconds,
        )  # fmt: skip
        self._handshake = Handshake(
            terms,
            site.hub.gate,
            lambda _self, _where: True,
            self._open,
            lambda _self: None,
            lambda _: None,
        )
        self._line.protocol = self._handshake
        self._handshake.connection_made(self._line)

    def _open(self, link: WebSocketLink) -> None:
        assert link.address in {"203.0.113.7", "192.0.2.7"} or plain_address(link.address)
        self._serving.append(asyncio.ensure_future(self._site.hub.serve(link)))

    def say(self, data: bytes) -> None:
        if not (self._line.is_lost or self._line.is_closed or self._line.was_aborted):
            self._line.protocol.data_received(data)

    def check(self) -> None:
        """Whatever was answered is HTTP of a status that has a meaning here."""
        head = bytes(self._line.sent[:12])
        assert not head or head[:9] == b"HTTP/1.1 ", head
        assert not head or int(head[9:]) in HANDSHAKE_STATUSES, head
        assert bool(self._serving) == (head[9:] == b"101")

    def hang_up(self) -> None:
        """What never said hello has been cut off by now; the others are let go."""
        assert self._line.is_lost or self._serving
        self._line.lose()


async def _poll(site: Site, body: bytes) -> None:
    try:
        done = await poll(site.hub, body)
    except PollRefused as refused:
        status = refused.status
    else:
        assert json.loads(done.body)
        return
    assert status in STATUSES


def _say_some(link: FakeLink, chance: random.Random) -> None:
    if chance.random() < 0.8:
        link.hello(chance.choice(("phone", "laptop")), chance.choice(("ada", "bob")))
    else:
        link.say_raw(mutated(chance))
    for _ in range(FRAMES_A_LINK):
        link.say_raw(mutated(chance))


def check_heard(frames: list[dict[str, Any]]) -> None:
    """All that a device hears is of the protocol."""
    for frame in frames:
        decode_from_hub(json.dumps(frame))


def _on_a_hub(
    folder: Path, frames: int, some: Callable[[Site], Coroutine[Any, Any, int]]
) -> Iterator[int]:
    """Do some again and again on one hub; then nothing of it is left, nor was anything logged."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner, nothing_unhandled(runner):
        opened = a_hub(folder / "fuzzed.db")
        site = runner.run(opened.__aenter__())
        done = 0
        while done < frames:
            count = runner.run(some(site))
            done += count
            yield count
        runner.run(opened.__aexit__(None, None, None))
        assert not asyncio.all_tasks(runner.get_loop())
        assert not site.hub.users._users


@contextmanager
def nothing_unhandled(runner: asyncio.Runner) -> Iterator[None]:
    """No task's exception is left to the loop, and none is logged as a bug."""
    unhandled: list[dict[str, Any]] = []
    runner.get_loop().set_exception_handler(lambda _loop, context: unhandled.append(context))
    with structlog.testing.capture_logs() as logs:
        yield
    bugs = [entry for entry in logs if entry["log_level"] not in LOGGED]
    assert not unhandled, unhandled[0]
    assert not bugs, bugs[0]
