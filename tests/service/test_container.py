"""The recipe of scripts/container, taken step by step: nothing here can build it."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from hub.settings import DEFINITIONS, Settings
from scripts.drilling.standin import SECONDS, ended
from tests.test_readme import ROOT, commands, run

RECIPE = ROOT / "scripts" / "container" / "Containerfile"
PLACE = "/opt/mobync-hub"


class Step(NamedTuple):
    """One instruction of the recipe."""

    name: str
    text: str


def steps() -> list[Step]:
    text = re.sub(r"^#.*\n", "", RECIPE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [Step(*line.split(maxsplit=1)) for line in text.splitlines() if line]


def stages() -> list[list[Step]]:
    """The steps of each image on the way, without the one that it begins with."""
    found: list[list[Step]] = []
    for step in steps():
        if step.name == "FROM":
            found.append([])
        else:
            found[-1].append(step)
    return found


BUILD, IMAGE = stages()


def one(name: str) -> str:
    """What the image says of this, once."""
    (text,) = [step.text for step in IMAGE if step.name == name]
    return text


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(one("ENV")))


def words_of(text: str) -> list[str]:
    """The words of a command in the form that no shell reads."""
    words: list[str] = json.loads(text)
    return words


def test_it_runs_as_nobody_in_particular_and_says_what_it_is_made_of() -> None:
    assert one("USER") == "10001:10001"
    assert one("VOLUME") == str(Path(environment()["MOBYNC_DATA"]).parent)
    settings = Settings(dev=True)
    assert one("EXPOSE").split() == [str(settings.port), str(settings.http_port)]
    assert one("STOPSIGNAL") == "SIGTERM"
    assert words_of(one("ENTRYPOINT")) + words_of(one("CMD")) == ["mobync-hub", "serve"]
    known = {item.env for item in DEFINITIONS}
    assert {name for name in environment() if name.startswith("MOBYNC_")} <= known
    begins = {step.text.split()[0] for step in steps() if step.name == "FROM"}
    assert len(begins) == 1, "an environment runs on the Python that it was made with"


def test_the_commands_of_the_page_fit_the_recipe() -> None:
    page = commands((ROOT / "docs" / "operating.md").read_text())
    build, _secret, start, _exec = [line for line in page if line.startswith("podman ")]
    assert str(RECIPE.relative_to(ROOT)) in build
    words = shlex.split(start)
    given = {name: [v for n, v in pairwise(words) if n == name] for name in words}
    assert {each.split(":")[-1] for each in given["--publish"]} == set(one("EXPOSE").split())
    assert [each.split(":")[1] for each in given["--volume"]] == [one("VOLUME")]
    (secret,) = given["--secret"]
    assert f"target={Path(environment()['MOBYNC_TOKEN_SECRET_FILE']).name}," in secret
    assert f"uid={one('USER').split(':')[0]}," in secret
    assert float(given["--stop-timeout"][0]) > Settings(dev=True).limits.stop_seconds


def test_only_what_is_needed_goes_in_and_all_of_it_is_there() -> None:
    copied = [step.text.split()[:-1] for step in BUILD if step.name == "COPY"]
    names = {name for each in copied for name in each}
    assert names == {
        "pyproject.toml",
        "requirements.lock",
        "README.md",
        "protocol",
        "hub",
        "client",
    }
    assert all((ROOT / name).exists() for name in names)


def built(folder: Path) -> Path:
    """What the recipe's first image makes, with the root of that image here."""
    source = folder / "src"
    source.mkdir()
    for step in BUILD:
        if step.name == "COPY":
            *names, _target = step.text.split()
            for name in names:
                run(f"cp -r {ROOT / name} {source}")
        elif step.name == "RUN":
            command = re.sub(r"^python ", f"{sys.executable} ", step.text)
            run(command.replace(PLACE, f"{folder}{PLACE}"), source)
    return folder / PLACE[1:]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_what_it_makes_serves_is_healthy_and_stops_when_told(tmp_path: Path) -> None:
    place = built(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "secret").write_text("s" * 32)
    variables = {
        **os.environ,
        **environment(),
        "PATH": f"{place}/bin:{os.environ['PATH']}",
        "MOBYNC_HOST": "127.0.0.1",
        "MOBYNC_PORT": "0",
        "MOBYNC_HTTP_PORT": str(free_port()),
        "MOBYNC_DATA": str(tmp_path / "data" / "hub.db"),
        "MOBYNC_TOKEN_SECRET_FILE": str(tmp_path / "secret"),
    }
    command = words_of(one("ENTRYPOINT")) + words_of(one("CMD"))
    check = words_of(one("HEALTHCHECK").partition(" CMD ")[2])

    def is_healthy(words: Sequence[str] = check) -> bool:
        done = subprocess.run(words, env=variables, capture_output=True, timeout=30, check=False)
        return done.returncode == 0

    assert not is_healthy()
    with ended(subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL)) as hub:
        ends = time.monotonic() + SECONDS
        while not is_healthy():
            assert hub.poll() is None
            assert time.monotonic() < ends
        hub.send_signal(signal.Signals[one("STOPSIGNAL")])
        assert hub.wait(SECONDS) == 0
    assert not is_healthy()
