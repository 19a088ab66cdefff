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

from hub.http.polling import PollRefused, poll
from protocol.closing import CLOSINGS
from protocol.diffs import MAX_DEPTH
from protocol.errors import BadMessage
from protocol.messages import decode_from_device, decode_from_hub
from protocol.mobync import decode_request, edits_of
from tests.fuzz.frames import POLLS, Frame, body_of, mutated
from tests.hub.fakes import FakeLink, Site, VirtualLoop, a_hub, settled

FRAMES_A_LINK: Final = 6
LINKS_AT_ONCE: Final = 10
STATUSES: Final = {400, 401, 403, 409}
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
