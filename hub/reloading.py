"""The settings read anew while the hub serves: on SIGHUP, from where they were read at its start.

Limits, rates, keys and logs change at once. What cannot be changed in a hub that serves keeps its
value, and is named in the log. Settings that are wrong change nothing at all.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import structlog
from msgspec.structs import replace

from hub.endless import meanwhile
from hub.errors import HubError, SettingsError
from hub.limits import Limits
from hub.rates import Rates
from hub.service.notifier import Notifier
from hub.settings import DEFINITIONS, TABLES, Definition, Settings

KEYS: Final = frozenset(
    {
        "token_secret_file",
        "token_key_file",
        "token_audience",
        "token_leeway_seconds",
        "token_issuer",
        "token_jwks",
    }
)
"""What says whose tokens count."""
_WITH_THE_LISTENERS: Final = {"hello_seconds", "max_ungreeted", "max_body_bytes", "stop_seconds"}
"""Limits that a listener is made with."""
LIVE: Final = (
    KEYS
    | {"log_level", "log_format"}
    | set(Rates.__struct_fields__)
    | (set(Limits.__struct_fields__) - _WITH_THE_LISTENERS)
)
"""What can change while the hub serves."""

logger: Final = structlog.get_logger("hub")


class Change(NamedTuple):
    """The settings that count from now on, those that have changed, and those that could not."""

    settings: Settings
    changed: Collection[str]
    kept: Collection[str]


def change_of(old: Settings, new: Settings) -> Change:
    """What becomes of a running hub's settings when these are read.

    Raises:
        SettingsError: those that change contradict those that do not.

    """
    live = LIVE if old.dev == new.dev else LIVE - KEYS
    differ = [item.name for item in DEFINITIONS if _value(old, item) != _value(new, item)]
    changed = [name for name in differ if name in live]
    return Change(_taken_over(old, new, changed), changed, [n for n in differ if n not in live])


def keys_of(settings: Settings) -> Collection[object]:
    """All that says whose tokens count, to compare."""
    return [_value(settings, item) for item in DEFINITIONS if item.name in KEYS]


def _value(settings: Settings, item: Definition) -> object:
    return getattr(getattr(settings, item.table) if item.table else settings, item.name)


def _taken_over(old: Settings, new: Settings, names: Collection[str]) -> Settings:
    """The old settings with these of the new ones."""
    tables = {name: _with(getattr(old, name), getattr(new, name), names) for name in TABLES}
    own = [name for name in names if name in Settings.__struct_fields__]
    return replace(old, **tables, **{name: getattr(new, name) for name in own})


def _with(old: Any, new: Any, names: Collection[str]) -> Any:
    own = [name for name in names if name in old.__struct_fields__]
    return replace(old, **{name: getattr(new, name) for name in own})


class Reloading:
    """Reads the settings anew whenever it is asked to, and has the hub keep to them.

    `take` gets the settings before it and those that count from now on; what it raises says why
    they cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings],
        take: Callable[[Settings, Settings], Awaitable[None]],
    ) -> None:
        self.settings = settings
        self._read = read
        self._take = take

    async def reload(self) -> None:
        """Read them once."""
        try:
            change = change_of(self.settings, await asyncio.to_thread(self._read))
            await self._take(self.settings, change.settings)
        except HubError as error:
            _say_refused(error)
        else:
            self.settings = change.settings
            _say_taken(change)

    @asynccontextmanager
    async def on_demand(
        self, asked: asyncio.Event, notifier: Notifier, status: Callable[[], str]
    ) -> AsyncIterator[None]:
        """Read them when asked to, for as long as this lasts."""
        async with meanwhile(self._keep_reloading(asked, notifier, status), "reload"):
            yield

    async def _keep_reloading(
        self, asked: asyncio.Event, notifier: Notifier, status: Callable[[], str]
    ) -> None:
        while True:
            await asked.wait()
            asked.clear()
            notifier.reloading()
            try:
                await self.reload()
            except Exception:
                # A bug ends no hub that serves, and the next reload may go well.
                logger.exception("settings not read again")
            notifier.ready(status())


def _say_refused(error: HubError) -> None:
    why, remedy = str(error), "see to it, and have them read again"
    if isinstance(error, SettingsError):
        why, remedy = error.problem, error.remedy
    logger.warning("the old settings still count", why=why, remedy=remedy)


def _say_taken(change: Change) -> None:
    logger.info("settings read again", changed=list(change.changed))
    if change.kept:
        remedy = "restart the hub"
        logger.warning("settings that wait for a restart", names=list(change.kept), remedy=remedy)
