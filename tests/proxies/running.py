"""A proxy with its example's configuration, on ports, with a certificate and a folder of a test's.

What an example says of all else is what is tested: a word that is to be replaced must be there.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.crash.processes import START_SECONDS
from tests.test_readme import ROOT

EXAMPLES: Final = ROOT / "docs" / "examples"
SHORT_SECONDS: Final = 2
"""A proxy's patience with a line on which nothing comes, in a test: else it would last a minute."""


class Place(NamedTuple):
    """Where everything is."""

    folder: Path
    port: int
    hub_port: int
    http_port: int

    @property
    def cert(self) -> Path:
        return self.folder / "cert.pem"

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"


class Proxy(NamedTuple):
    """A program, the file that makes it a hub's proxy, and how it is started on that."""

    program: str
    configure: Callable[[Place], Path]
    command: Callable[[Path], Sequence[str]]


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert text.count(old) == 1, f"the example no longer has {old!r} once"
        text = text.replace(old, new)
    return text


def caddyfile(place: Place) -> Path:
    path = place.folder / "Caddyfile"
    site = f"https://localhost:{place.port} {{\n\tbind 127.0.0.1\n\ttls {place.cert} {place.key}\n"
    text = replaced(
        (EXAMPLES / "Caddyfile").read_text(),
        ("\n{\n", "\n{\n\tadmin off\n\tauto_https disable_redirects\n"),
        ("\nsync.example.com {\n", f"\n{site}"),
        ("127.0.0.1:8765", f"127.0.0.1:{place.hub_port}"),
        ("127.0.0.1:8766", f"127.0.0.1:{place.http_port}"),
    )
    path.write_text(text)
    return path


def nginx_conf(place: Place) -> Path:
    site, path = place.folder / "site.conf", place.folder / "nginx.conf"
    letsencrypt = "/etc/letsencrypt/live/sync.example.com"
    site.write_text(
        replaced(
            (EXAMPLES / "nginx.conf").read_text(),
            ("listen 443 ssl", f"listen 127.0.0.1:{place.port} ssl"),
            ("server_name sync.example.com", "server_name localhost"),
            (f"{letsencrypt}/fullchain.pem", str(place.cert)),
            (f"{letsencrypt}/privkey.pem", str(place.key)),
            ("127.0.0.1:8765", f"127.0.0.1:{place.hub_port}"),
            ("127.0.0.1:8766", f"127.0.0.1:{place.http_port}"),
            ("proxy_read_timeout 75s", f"proxy_read_timeout {SHORT_SECONDS}s"),
            ("proxy_send_timeout 75s", f"proxy_send_timeout {SHORT_SECONDS}s"),
        )
    )
    temporary = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    lines = [
        *(["user root;"] if os.geteuid() == 0 else []),
        "daemon off;",
        f"pid {place.folder}/nginx.pid;",
        "events { worker_connections 100; }",
        "http {",
        "access_log off;",
        *(f"{name}_temp_path {place.folder}/{name};" for name in temporary),
        f"include {site};",
        "}",
    ]
    path.write_text("\n".join(lines))
    return path


CADDY: Final = Proxy(
    "caddy", caddyfile, lambda path: ["run", "--config", str(path), "--adapter", "caddyfile"]
)
NGINX: Final = Proxy(
    "nginx",
    nginx_conf,
    lambda path: ["-p", str(path.parent), "-c", str(path), "-e", f"{path.parent}/nginx.log"],
)


def found(program: str) -> str:
    """Where the program is; a test that needs it is skipped where it is not."""
    path = shutil.which(program, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed; .ci/run installs it on Debian")
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(proxy: Proxy, place: Place) -> Iterator[None]:
    """The proxy at work for as long as this lasts."""
    command = [found(proxy.program), *proxy.command(proxy.configure(place))]
    home = {"HOME": str(place.folder), "XDG_DATA_HOME": str(place.folder)}
    with (place.folder / "proxy.log").open("w") as log:
        process = subprocess.Popen(command, env={**os.environ, **home}, stdout=log, stderr=log)
    try:
        _wait_until_it_listens(process, place)
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(START_SECONDS)


def _wait_until_it_listens(process: "subprocess.Popen[bytes]", place: Place) -> None:
    while True:
        with socket.socket() as knocking:
            if knocking.connect_ex(("127.0.0.1", place.port)) == 0:
                return
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"it ended: {(place.folder / 'proxy.log').read_text()}")
