"""What an operator and devices do beside a systemd that runs (scripts/systemd/trial); told as JSON.

It runs there, with the Python of the installed hub: so it is a program of its own.
"""

import asyncio
import json
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

UNIT, DATA = "mobync-hub", "/var/lib/mobync-hub/hub.db"
AS_THE_HUB = ("runuser", "-u", UNIT, "--", UNIT)
HEALTH = "http://127.0.0.1:8766/healthz"
SECONDS = 60.0


def run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=90).stdout


def state(name: str) -> str:
    return run("systemctl", "show", "--value", "--property", name, UNIT).strip()


def wait_for(name: str, value: str) -> str:
    """Look until the unit is so; what it is in the end."""
    ends = time.monotonic() + SECONDS
    while state(name) != value and time.monotonic() < ends:
        time.sleep(0.2)
    return state(name)


async def hello(socket: ClientConnection, token: str, device: str) -> dict[str, Any]:
    said = {"type": "hello", "token": token, "device": device, "logical_clock": 0}
    await socket.send(json.dumps(said))
    answer: dict[str, Any] = json.loads(await socket.recv())
    return answer


async def a_day(token: str) -> dict[str, Any]:
    """A device is connected while the settings change and the hub is restarted."""
    told: dict[str, Any] = {}
    url, spoken = "ws://127.0.0.1:8765/sync", [Subprotocol("mobync.v1")]
    async with connect(url, subprotocols=spoken, proxy=None) as phone:
        told["welcome"] = (await hello(phone, token, "phone"))["limits"]["max_diffs"]
        told["status"] = await asyncio.to_thread(wait_for, "StatusText", "Serving 1 connection")
        settings = Path("/etc/mobync-hub/hub.toml")
        settings.write_text(settings.read_text() + "max_diffs = 7\n")
        before = state("MainPID")
        run("systemctl", "reload", UNIT)
        told["reloaded"] = [state("ActiveState"), state("MainPID") == before]
        async with connect(url, subprotocols=spoken, proxy=None) as tab:
            told["welcome after a reload"] = (await hello(tab, token, "tab"))["limits"]["max_diffs"]
        told["polls"] = await asyncio.to_thread(polls_in_a_restart)
        try:
            while True:
                await phone.recv()
        except ConnectionClosed as closed:
            told["goodbye"] = closed.rcvd.code if closed.rcvd else None
    return told


def polls_in_a_restart() -> list[int | str]:
    """What each of many requests is answered that come while the hub is restarted, twice."""
    over = threading.Event()
    answers: list[int | str] = []

    def poll() -> None:
        while not over.is_set():
            try:
                with urllib.request.urlopen(HEALTH, timeout=SECONDS) as one:
                    answers.append(one.status)
            except OSError as error:
                answers.append(str(error))

    pollers = [threading.Thread(target=poll) for _ in range(4)]
    for poller in pollers:
        poller.start()
    for _ in range(2):
        run("systemctl", "restart", UNIT)
    over.set()
    for poller in pollers:
        poller.join(SECONDS)
    return answers


def a_stuck_hub() -> dict[str, Any]:
    """It is stopped as a whole, so that it gives no sign of life."""
    extra = Path(f"/run/systemd/system/{UNIT}.service.d")
    extra.mkdir(parents=True)
    (extra / "watchdog.conf").write_text("[Service]\nWatchdogSec=3\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", UNIT)
    time.sleep(5)  # Longer than the watchdog waits: signs of life have come.
    told = {"restarts while it moves": state("NRestarts")}
    run("kill", "-STOP", state("MainPID"))
    told["restarts of a stuck hub"] = wait_for("NRestarts", "1")
    told["state after that"] = wait_for("ActiveState", "active")
    told["journal"] = run("journalctl", "--no-pager", "--output", "cat", "--unit", UNIT)
    return told


def main() -> None:
    told: dict[str, Any] = {
        "user": run("stat", "--format", "%U %a", f"/proc/{state('MainPID')}", DATA).split(),
        "secret": run("stat", "--format", "%U %a", "/etc/mobync-hub/token.secret").split(),
    }
    secret = ("--secret-file", "/etc/mobync-hub/token.secret")
    token = run(UNIT, "token", *secret, "--user", "alice").strip()
    told |= asyncio.run(a_day(token))
    told["revoked"] = run(*AS_THE_HUB, "revoke", "user", "bob", "--data", DATA)
    told |= a_stuck_hub()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
