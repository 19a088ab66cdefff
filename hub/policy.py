"""The application's own rules: found by name, and asked about each diff (docs/protocol.md, 4).

A rule is any callable `rule(user, diff, current) -> Refusal | None`: `current` is the object's
fields as they stand, None if it is not there, and None as an answer means yes. Everybody waits for
it: it must be pure, quick and synchronous. docs/examples/family_rules.py is one.

The rules of mobync's Python package are taken as they are: an object with its three methods
`validate_create`, `validate_update` and `validate_delete`, each called as mobync calls it, with
the owner and the diff's fields by name (`json_data` as JSON text), and answering yes or no.
"""

import sys
import traceback
from functools import reduce
from importlib import import_module
from inspect import iscoroutinefunction, signature
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol, TypeGuard

import orjson

from hub.errors import SettingsError
from protocol.diffs import Diff, Fields
from protocol.merge import Policy, Refusal

_METHODS: Final = ("validate_create", "validate_update", "validate_delete")


class MobyncRules(Protocol):
    """mobync's three rules, less the rest of its `Synchronizer`."""

    def validate_create(self, owner_id: str, **diff: Any) -> bool:
        """Whether this owner may create this object."""

    def validate_update(self, owner_id: str, **diff: Any) -> bool:
        """Whether this owner may change this object so."""

    def validate_delete(self, owner_id: str, **diff: Any) -> bool:
        """Whether this owner may delete this object."""


def load_policy(name: str) -> Policy:
    """The rules called `package.module:object`; the working directory is searched first.

    Raises:
        SettingsError: there is no such object, or it cannot be asked.

    """
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise _wrong(f"{name!r} is not the name of an object", "write it as package.module:object")
    found = _find(_import(module_name), path)
    if not callable(found) and _is_mobync(found):
        return _adapted(found)
    _check_callable(name, found)
    return found  # type: ignore[no-any-return]  # what it answers is checked when it is asked


def _wrong(problem: str, remedy: str) -> SettingsError:
    return SettingsError(f"policy: {problem}", remedy, "policy")


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        problem = f"there is no module {error.name}, searched from {here} on"
        raise _wrong(problem, "correct the name, install it, or start the hub elsewhere") from error
    except Exception as error:
        raise _wrong(f"{name} fails when imported: {_told(error)}", "mend that module") from error


def _told(error: Exception) -> str:
    """The error with the line that raised it: the application's, so that it can be mended."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"


def _find(module: ModuleType, path: str) -> Any:
    try:
        return reduce(getattr, path.split("."), module)
    except AttributeError:
        problem = f"the module {module.__name__} has no {path}"
        raise _wrong(problem, "correct the name after the colon") from None


def _is_mobync(found: object) -> TypeGuard[MobyncRules]:
    return all(callable(getattr(found, method, None)) for method in _METHODS)


def _check_callable(name: str, found: Any) -> None:
    if isinstance(found, type):
        raise _wrong(f"{name} is a class", "name an instance of it")
    if not callable(found):
        problem = f"{name} is neither callable nor an object with {', '.join(_METHODS)}"
        raise _wrong(problem, "name a function of user, diff and current object")
    if iscoroutinefunction(found) or iscoroutinefunction(getattr(found, "__call__", None)):  # noqa: B004 - whether it is async, not whether it is there
        raise _wrong(f"{name} is async, and the hub cannot wait for it", "make it a plain function")
    if not _takes_three(found):
        raise _wrong(f"{name} does not take three arguments", "let it take user, diff and current")


def _takes_three(found: Any) -> bool:
    try:
        signature(found).bind("user", "diff", None)
    except TypeError:
        return False
    except ValueError:
        return True  # a callable written in C may not tell
    return True


def _adapted(rules: MobyncRules) -> Policy:
    asked = {
        "create": rules.validate_create,
        "update": rules.validate_update,
        "delete": rules.validate_delete,
    }

    def ask(user: str, diff: Diff, current: Fields | None) -> Refusal | None:  # noqa: ARG001 - mobync's rules do not see the object
        return None if asked[diff.type](user, **_in_mobync_words(user, diff)) else Refusal()

    return ask


def _in_mobync_words(user: str, diff: Diff) -> dict[str, Any]:
    return {
        "id": diff.id,
        "owner": user,
        "logical_clock": diff.logical_clock,
        "utc_timestamp": diff.utc_timestamp,
        "type": diff.type,
        "model": diff.model,
        "json_data": orjson.dumps(diff.json_data).decode(),
    }
