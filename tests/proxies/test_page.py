"""docs/proxies.md as an operator follows it: every command that it shows is run here."""

import os
import re
import sys
from pathlib import Path
from typing import Final

import pytest

from hub.hub import SWEEP_SECONDS
from hub.limits import Limits
from hub.session import STRANGERS_CLOSE_SECONDS
from hub.tls.identity import WATCH_SECONDS
from hub.websocket.handshake import MOST_REQUEST_BYTES
from tests.certificates import make_pair
from tests.test_readme import ROOT, commands, running

PAGE: Final = (ROOT / "docs" / "proxies.md").read_text()
PATH: Final = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("number", "scheme"), [(0, "wss"), (1, "ws")], ids=["TLS by file", "behind a proxy"]
)
def test_a_hub_serves_as_the_page_says(tmp_path: Path, number: int, scheme: str) -> None:
    (tmp_path / "token.secret").write_text("s" * 64)
    make_pair(tmp_path / "fullchain.pem", tmp_path / "privkey.pem")
    command = commands(PAGE)[number].replace("--host 0.0.0.0", "--host 127.0.0.1")
    with running(command, tmp_path, PATH=PATH) as ready:
        assert ready.startswith(f"ready {scheme}://")


def test_the_page_has_no_command_that_is_not_run() -> None:
    assert len(commands(PAGE)) == 2


def test_the_page_says_what_the_settings_are() -> None:
    limits = Limits()
    stranger = limits.hello_seconds + STRANGERS_CLOSE_SECONDS + SWEEP_SECONDS
    assert f"| {stranger:.0f} s: {limits.hello_seconds:.0f}, 2 to answer" in PAGE
    assert f"`max_ungreeted`, {limits.max_ungreeted:,}" in PAGE
    assert f"at {MOST_REQUEST_BYTES // 1024} KB (WebSocket)" in PAGE
    assert WATCH_SECONDS == 5
    for name in re.findall(r"\]\((examples/\w+(?:\.\w+)?|\w+\.md)\)", PAGE):
        assert (ROOT / "docs" / name).exists(), name
