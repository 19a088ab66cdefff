"""What a person sees of the demo: two devices side by side, and what is happening."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from client import Device

WIDTH: Final = 42


class Stage:
    """Shows the devices as they are, several times a second; in a pipe, plain lines."""

    def __init__(self, devices: Mapping[str, Device], seconds_a_scene: float) -> None:
        self._devices = devices
        self._seconds = seconds_a_scene
        self._console = Console()
        self._words = ""
        self._tasks: dict[str, list[dict[str, object]]] = {name: [] for name in devices}
        self._exits = AsyncExitStack()
        self._live: Live | None = None

    async def __aenter__(self) -> Self:
        if self._console.is_terminal:
            self._live = self._exits.enter_context(Live(console=self._console, auto_refresh=False))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._exits.aclose()

    async def say(self, words: str) -> None:
        """Tell what happens next, and give people time to read it."""
        self._words = words
        if self._live is None:
            await self._look()
            self._console.print(f"{words}\n  {self._line()}", highlight=False, soft_wrap=True)
            return
        for _ in range(max(int(self._seconds * 5), 1)):
            await self._look()
            self._live.update(self._picture(), refresh=True)
            await asyncio.sleep(0.2)

    async def _look(self) -> None:
        for name, device in self._devices.items():
            tasks = await device.read("tasks")
            self._tasks[name] = sorted(tasks, key=lambda task: str(task["id"]))

    def _line(self) -> str:
        return "; ".join(
            f"{name} ({self._state(name)}): " + ", ".join(_words(task) for task in tasks)
            for name, tasks in self._tasks.items()
        )

    def _picture(self) -> RenderableType:
        panels = [self._panel(name, tasks) for name, tasks in self._tasks.items()]
        return Group(Columns(panels), Text(self._words, style="bold"))

    def _panel(self, name: str, tasks: list[dict[str, object]]) -> Panel:
        table = Table.grid(padding=(0, 1))
        for task in tasks:
            table.add_row("[green]✔[/]" if task.get("done") else "·", str(task.get("title")))
        online = self._devices[name].status.connected
        return Panel(
            table,
            title=f"{name}",
            subtitle=self._state(name),
            border_style="green" if online else "yellow",
            width=WIDTH,
            height=8,
        )

    def _state(self, name: str) -> str:
        status = self._devices[name].status
        online = "online" if status.connected else "offline"
        waiting = f", {status.pending} to send" if status.pending else ""
        return f"{online}, clock {status.clock}{waiting}"


def _words(task: Mapping[str, object]) -> str:
    return f"{'✔ ' if task.get('done') else ''}{task.get('title')}"
