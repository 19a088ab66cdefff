"""How what an operator asks is read, and answered: JSON there and back.

What was wrong may name objects, so it is told to whoever asked, and is in no log.
"""

import contextlib
from collections.abc import Coroutine, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from aiohttp import web

from hub.exports import NotAnExport
from hub.http.answers import PRIVATE
from hub.http.bearer import Guard
from hub.restoring import NotRestored
from hub.revoking import BeingMoved
from hub.store.errors import NoSuchObject, NoSuchUser, NotKnown, UserExists

T = TypeVar("T")
Said: TypeAlias = dict[str, Any]
MAX_BODY: Final = 64 * 1024
_STATUSES: Final[Mapping[type[Exception], HTTPStatus]] = {
    NoSuchUser: HTTPStatus.NOT_FOUND,
    NoSuchObject: HTTPStatus.NOT_FOUND,
    NotKnown: HTTPStatus.NOT_FOUND,
    NotRestored: HTTPStatus.CONFLICT,
    UserExists: HTTPStatus.CONFLICT,
    BeingMoved: HTTPStatus.CONFLICT,
    NotAnExport: HTTPStatus.BAD_REQUEST,
}


async def answered(
    request: web.Request, guard: Guard, work: Coroutine[Any, Any, Said | web.StreamResponse]
) -> web.StreamResponse:
    """The answer that some work gives to whom the guard lets pass, or what was wrong.

    Work that has answered by itself gives that.
    """
    with contextlib.closing(work):
        guard.check(request)
        try:
            said = await work
            return _answer({"success": True, **said}) if isinstance(said, dict) else said
        except tuple(_STATUSES) as error:
            told = {"success": False, "message": str(error)}
            return _answer(told, _STATUSES[type(error)])


def asked(request: web.Request, kind: type[T]) -> T:
    """What the address asks."""
    try:
        return msgspec.convert(dict(request.query), kind, strict=False)
    except msgspec.MsgspecError as error:
        raise _malformed(error) from None


async def ordered(request: web.Request, kind: type[T]) -> T:
    """What the body asks."""
    body = await request.content.read(MAX_BODY)
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _malformed(error) from None


def _malformed(error: Exception) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(reason=f"malformed: {error}".replace("\n", " "))


def _answer(said: Said, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(said),
        status=status,
        headers=PRIVATE,
        content_type="application/json",
    )
