import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from hub.auth import Grant, JwtAuthority, read_public_key, read_secret
from hub.cli import main
from hub.settings import DEFINITIONS, GROUPS

SECRET = b"a secret that is long enough to be one\n"
NOBODY = "nothing says whose tokens count"
DEADLINE = 20
"""Seconds for a process to do what it is asked."""
ANY_PORT = ("serve", "--port", "0", "--http-port", "0")
DEV_HUB = (*ANY_PORT, "--dev")


@pytest.fixture(autouse=True)
def an_environment_without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MOBYNC_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from hub.cli import main; main()", *arguments]


def in_a_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=DEADLINE, check=False
    )


# Help


def test_the_help_names_every_setting_with_its_variable_under_its_heading() -> None:
    result = run("serve", "--help")
    assert result.exit_code == 0
    words = set(result.output.replace("│", " ").replace("[", " ").replace("]", " ").split())
    for item in DEFINITIONS:
        assert item.flag in {word.partition("/")[0] for word in words}
        assert {item.env, f"{item.env},"} & words
    for group in GROUPS:
        assert f"─ {group} ─" in result.output


def test_the_help_shows_how_to_begin_and_what_the_exit_codes_mean() -> None:
    output = run("serve", "--help").output
    assert "mobync-hub serve --dev" in output
    assert "mobync-hub serve --token-secret-file secret.txt" in output
    assert "2  a setting is wrong" in output


def test_the_help_does_not_wait_for_the_server() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from hub.cli import main\n"
        "print(CliRunner().invoke(main, ['serve', '--help']).exit_code)\n"
        "print({'hub.server', 'hub.auth', 'websockets', 'aiohttp'} & set(sys.modules))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE, check=True
    )
    assert process.stdout.splitlines() == ["0", "set()"]


def test_the_version_is_that_of_the_package() -> None:
    assert run("--version").output == f"mobync-hub, version {version('mobync-hub')}\n"


def test_no_flag_takes_a_secret() -> None:
    """The command line is for everybody to read; only names of files stand on it."""
    secret = [item for item in DEFINITIONS if "secret" in item.name or "key" in item.name]
    assert [item.kind for item in secret] == [Path, Path, Path]


# Settings that cannot be


def test_a_wrong_setting_is_said_in_three_lines_with_exit_code_two() -> None:
    result = run("serve", "--dev", "--port", "http")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "mobync-hub: port is 'http', which is not a whole number from 0 to 65535",
        "  port: --port",
        "  to mend it: give a whole number from 0 to 65535",
    ]


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBYNC_HELLO_SECONDS", "soon")
    result = run("serve", "--dev")
    assert result.exit_code == 2
    assert "  hello_seconds: MOBYNC_HELLO_SECONDS\n" in result.stderr


def test_a_switch_may_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBYNC_DEV", "true")
    assert NOBODY in run("serve", "--no-dev").stderr
    monkeypatch.setenv("MOBYNC_DEV", "perhaps")
    assert "which is not true or false" in run("serve").stderr
    assert NOBODY in run("serve", "--no-dev").stderr


def test_a_flag_that_is_none_is_refused_with_exit_code_two() -> None:
    result = run("serve", "--prot", "1")
    assert result.exit_code == 2
    assert "--port" in result.stderr


def test_without_a_way_to_prove_tokens_nothing_is_served() -> None:
    result = run("serve")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"mobync-hub: {NOBODY}")
    assert "--dev" in result.stderr


def test_a_secret_that_is_too_short_is_named_with_where_it_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = tmp_path / "short.txt"
    short.write_text("password")
    monkeypatch.setenv("MOBYNC_TOKEN_SECRET_FILE", str(short))
    process = in_a_process(*ANY_PORT, "--data", str(tmp_path / "hub.db"))
    assert (process.returncode, process.stdout) == (2, "")
    message = process.stderr.splitlines()
    assert f"mobync-hub: the secret in {short} has 8 bytes" in process.stderr
    assert "  token_secret_file: MOBYNC_TOKEN_SECRET_FILE" in message
    assert "password" not in process.stderr
    assert "Traceback" not in process.stderr


def test_rules_that_are_not_there_are_named(tmp_path: Path) -> None:
    process = in_a_process(
        *DEV_HUB, "--data", str(tmp_path / "hub.db"), "--policy", "no_such_module:rules"
    )
    assert (process.returncode, process.stdout) == (2, "")
    assert "mobync-hub: policy: there is no module no_such_module" in process.stderr
    assert "  policy: --policy\n" in process.stderr


# Serving


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(*DEV_HUB, "--data", str(tmp_path / "hub.db")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_hub_says_that_it_serves_and_stops_when_asked(
    hub: subprocess.Popen[str], signum: signal.Signals
) -> None:
    assert hub.stdout is not None
    ready, websocket, http = hub.stdout.readline().split()
    assert ready == "ready"
    assert websocket.startswith("ws://127.0.0.1:")
    assert websocket.endswith("/sync")
    assert http.startswith("http://127.0.0.1:")
    hub.send_signal(signum)
    more, log = hub.communicate(timeout=DEADLINE)
    assert (hub.returncode, more) == (0, "")
    assert {json.loads(line)["level"] for line in log.splitlines()} == {"info"}


def test_a_file_that_another_hub_serves_is_refused_with_exit_code_one(
    hub: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert hub.stdout is not None
    assert hub.stdout.readline().startswith("ready ")
    second = in_a_process(*DEV_HUB, "--data", str(tmp_path / "hub.db"))
    assert (second.returncode, second.stdout) == (1, "")
    assert "mobync-hub: another hub" in second.stderr
    assert "Traceback" not in second.stderr


# Tokens


def milliseconds() -> int:
    return time.time_ns() // 1_000_000


@pytest.mark.parametrize(
    ("given", "seconds"),
    [((), 3_600), (("--expires", "90s"), 90), (("--expires", "2d"), 172_800)],
)
def test_a_token_counts_with_the_hub_for_as_long_as_was_said(
    secret_file: Path, given: tuple[str, ...], seconds: int
) -> None:
    before = milliseconds()
    result = run("token", "--secret-file", str(secret_file), "--user", "alice", *given)
    after = milliseconds()
    assert result.exit_code == 0
    grant = JwtAuthority(read_secret(secret_file), milliseconds).check(result.stdout.rstrip("\n"))
    assert grant.expires is not None
    assert before <= grant.expires - seconds * 1000 <= after
    assert grant == Grant("alice", None, grant.expires, read_only=False)


def test_a_token_may_be_bound_to_a_device_an_audience_and_reading(secret_file: Path) -> None:
    more = ("--device", "phone", "--read-only", "--audience", "hub")
    result = run("token", "--secret-file", str(secret_file), "--user", "alice", *more)
    authority = JwtAuthority(read_secret(secret_file), milliseconds, audience="hub")
    grant = authority.check(result.stdout.rstrip("\n"))
    assert grant == Grant("alice", "phone", grant.expires, read_only=True)


def test_a_token_may_say_its_issuer_its_key_and_its_own_id(secret_file: Path) -> None:
    more = ("--issuer", "https://id.example", "--key-id", "k1", "--id", "6f1c")
    result = run("token", "--secret-file", str(secret_file), "--user", "alice", *more)
    token = result.stdout.rstrip("\n")
    assert jwt.get_unverified_header(token)["kid"] == "k1"
    hub = JwtAuthority(read_secret(secret_file), milliseconds, issuer="https://id.example")
    assert hub.check(token).token_id == "6f1c"


def test_a_token_may_be_made_with_a_private_key(tmp_path: Path) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "private.pem").write_bytes(
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (tmp_path / "public.pem").write_bytes(
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    result = run("token", "--key-file", str(tmp_path / "private.pem"), "--user", "alice")
    authority = JwtAuthority(read_public_key(tmp_path / "public.pem"), milliseconds)
    assert authority.check(result.stdout.rstrip("\n")).user == "alice"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--user", "alice"), "exactly one of"),
        (("--user", "alice", "--secret-file", "s", "--key-file", "k"), "exactly one of"),
        (("--user", "alice", "--secret-file", "no-such-file"), "cannot be read"),
        (("--user", "alice", "--key-file", "no-such-file"), "cannot be read"),
        (("--user", "alice", "--expires", "soon"), "as in 15m"),
        (("--user", "alice", "--expires", ""), "as in 15m"),
        ((), "--user"),
    ],
)
def test_a_token_that_cannot_be_made_is_refused(given: tuple[str, ...], told: str) -> None:
    result = run("token", *given)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_a_token_for_nobody_is_not_made(secret_file: Path) -> None:
    result = run("token", "--secret-file", str(secret_file), "--user", "")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "mobync-hub: the user must be a text of 1 to 128 characters\n"


# The list of settings


def test_a_pipe_gets_the_settings_as_json() -> None:
    result = run("settings")
    rows = json.loads(result.stdout)
    assert [row["name"] for row in rows] == [item.name for item in DEFINITIONS]
    (most,) = (row for row in rows if row["name"] == "max_diffs")
    assert most == {
        "name": "max_diffs",
        "group": "Limits",
        "flag": "--max-diffs",
        "env": "MOBYNC_MAX_DIFFS",
        "toml": "limits.max_diffs",
        "default": "1000",
        "value": "a whole number from 1 to 9007199254740991",
        "help": "Diffs in one push.",
    }


def test_a_terminal_gets_the_settings_as_a_table() -> None:
    outer, inner = pty.openpty()
    size = struct.pack("HHHH", 500, 100, 0, 0)
    fcntl.ioctl(inner, termios.TIOCSWINSZ, size)
    process = subprocess.Popen(command("settings"), stdout=inner, stdin=subprocess.DEVNULL)
    os.close(inner)
    shown = read_all(outer)
    assert process.wait(timeout=DEADLINE) == 0
    for item in DEFINITIONS:
        assert item.flag in shown
        assert item.env in shown
    assert "[tokens]." in shown, "a text in brackets was taken for a colour"
    assert "┃" in shown
    assert "\x1b[" in shown


def read_all(terminal: int) -> str:
    """All that is written to a terminal until its other side closes, which Linux says as EIO."""
    parts = []
    with open(terminal, "rb", buffering=0) as stream, contextlib.suppress(OSError):
        while part := stream.read(65_536):
            parts.append(part)
    return b"".join(parts).decode()
