"""Watching a model: what the user sees of it has changed."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from client.errors import StorageFailed
from client.filters import equal
from client.values import copied
from protocol.diffs import Fields, Key


class Change(NamedTuple):
    """An object as the user now sees it; `fields` is None when it is gone."""

    model: str
    id: str
    fields: dict[str, Any] | None


class Watch:
    """The changes of one model from now on, made here or elsewhere: an asynchronous iterator.

    A watcher that is slower than the changes gets the newest state of each object, once. What
    waits for it is therefore never more than one name for each object of the model. It ends when
    the device is closed.
    """

    def __init__(
        self, model: str, shown: Iterable[Fields], show: Callable[[Key], Fields | None]
    ) -> None:
        self._model = model
        self._show = show
        self._seen: dict[str, Fields] = {fields["id"]: fields for fields in shown}
        self._touched: OrderedDict[str, None] = OrderedDict()
        self._news = asyncio.Event()
        self._ended = False
        self._failure: StorageFailed | None = None

    def touch(self, keys: Iterable[Key]) -> None:
        """These objects may look different now."""
        self._touched.update((name, None) for model, name in keys if model == self._model)
        if self._touched:
            self._news.set()

    def end(self, failure: StorageFailed | None = None) -> None:
        """Nothing more will come, because of a failure or of none."""
        self._ended = True
        self._failure = failure
        self._news.set()

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> Change:
        while True:
            change = self._next()
            if change is not None:
                return change
            if self._ended:
                raise self._failure or StopAsyncIteration
            self._news.clear()
            await self._news.wait()

    def _next(self) -> Change | None:
        """The next object that does look different from what was last told of it."""
        while self._touched:
            name, _ = self._touched.popitem(last=False)
            fields = self._show((self._model, name))
            if not equal(fields, self._seen.get(name)):
                return self._told(name, fields)
        return None

    def _told(self, name: str, fields: Fields | None) -> Change:
        if fields is None:
            del self._seen[name]
            return Change(self._model, name, None)
        self._seen[name] = fields
        return Change(self._model, name, copied(fields))
