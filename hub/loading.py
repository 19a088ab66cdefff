"""What the operator gave of the settings: as flags, in the environment, in a TOML file.

What is said more than once counts in this order:

    flag > environment > TOML file > default

An empty variable counts as none. A path in the TOML file is relative to the file's own folder, any
other to the working directory.
"""

import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from hub.errors import SettingsError
from hub.settings import (
    BY_KEY,
    CONFIG,
    DEFINITIONS,
    FILE_GROUPS,
    OPEN_GROUPS,
    TABLES,
    Definition,
    Settings,
    shown,
)
from hub.tokens import JwksPlace, read_place


class Given(NamedTuple):
    """A value as somebody gave it, and where; text (of a flag or a variable) is yet to be read."""

    value: object
    place: str
    is_text: bool = True
    folder: Path = Path()


class Loaded(NamedTuple):
    """The settings, and where each that is not the default was set."""

    settings: Settings
    places: Mapping[str, str]


def load(flags: Mapping[str, object], env: Mapping[str, str]) -> Loaded:
    """Read flags (by the setting's name; None: not given), environment and TOML file.

    Raises:
        SettingsError: says which setting cannot be, where it was set, and how to mend it.

    """
    given = {**_from_environment(env), **_from_flags(flags)}
    try:
        given = {**_from_file(given.get(CONFIG)), **given}
        return Loaded(_build(given), _places(given))
    except SettingsError as error:
        error.place(_places(given))
        raise


def load_for_file(flags: Mapping[str, object], env: Mapping[str, str]) -> Settings:
    """The settings of a hub that is stopped, for a command that opens its file in its place.

    Whose tokens count, and where it listens, is nothing to that.

    Raises:
        SettingsError: as `load`.

    """
    given = {**_from_environment(env), **_from_flags(flags)}
    given = {**_from_file(given.get(CONFIG)), **given}
    of_the_file = {item.name for item in DEFINITIONS if item.group in FILE_GROUPS}
    kept = {name: value for name, value in given.items() if name in of_the_file}
    return _build({**kept, "dev": Given(value=True, place="", is_text=False)})


def given_settings(flags: Mapping[str, object], env: Mapping[str, str]) -> Mapping[str, str]:
    """What was set of the settings, for somebody who is not to know names, files and secrets.

    Raises:
        SettingsError: as `load`.

    """
    given = {**_from_environment(env), **_from_flags(flags)}
    given = {**_from_file(given.get(CONFIG)), **given}
    open_ones = {item.name for item in DEFINITIONS if item.group in OPEN_GROUPS}
    return {name: str(each.value) if name in open_ones else "set" for name, each in given.items()}


def data_file(flags: Mapping[str, object], env: Mapping[str, str]) -> Path:
    """The file that `data` names, for a command that needs no other setting.

    Raises:
        SettingsError: as `load`.

    """
    given = {**_from_environment(env), **_from_flags(flags)}
    given = {**_from_file(given.get(CONFIG)), **given}
    item = BY_KEY["data"]
    return Path(str(_read(item, given["data"]) if "data" in given else item.default))


def _places(given: Mapping[str, Given]) -> dict[str, str]:
    return {name: value.place for name, value in given.items()}


def _build(given: Mapping[str, Given]) -> Settings:
    values: dict[str, Any] = {
        item.name: _read(item, given[item.name]) for item in DEFINITIONS if item.name in given
    }
    for table, (struct, _heading) in TABLES.items():
        own = [name for name in struct.__struct_fields__ if name in values]
        values[table] = struct(**{name: values.pop(name) for name in own})
    return Settings(**values)


def _from_flags(flags: Mapping[str, object]) -> dict[str, Given]:
    return {
        item.name: Given(flags[item.name], item.flag)
        for item in DEFINITIONS
        if flags.get(item.name) is not None
    }


def _from_environment(env: Mapping[str, str]) -> dict[str, Given]:
    return {item.name: Given(env[item.env], item.env) for item in DEFINITIONS if env.get(item.env)}


def _from_file(config: Given | None) -> dict[str, Given]:
    if config is None:
        return {}
    path = Path(str(config.value))
    given = {}
    for key, value in _flat(_parse(path)):
        item = BY_KEY.get(key) or _refuse_key(key, path)
        given[item.name] = Given(value, f"{path}: {key}", is_text=False, folder=path.parent)
    return given


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problem = f"the settings file {path} cannot be read: {error.strerror}"
    except ValueError as error:
        problem = f"the settings file {path} is not TOML: {error}"
    raise SettingsError(problem, "name another file, or mend this one", CONFIG)


def _flat(tables: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Every key with its value, a key of a table as `table.key`."""
    for key, value in tables.items():
        if isinstance(value, dict) and (value or key in TABLES):
            yield from ((f"{key}.{inner}", each) for inner, each in value.items())
        else:
            yield key, value


def _refuse_key(key: str, path: Path) -> Definition:
    raise SettingsError(
        f"the settings file {path} has {key}, which is no setting",
        _remedy(key),
        CONFIG,
    )


def _remedy(key: str) -> str:
    nearest = _nearest(key)
    if not nearest:
        return "see mobync-hub settings for all there are"
    is_above = "." in key and "." not in nearest
    return f"write {nearest}" + (", at the top of the file, above its tables" if is_above else "")


def _nearest(key: str) -> str:
    """The key that was probably meant: the same name in another table counts as nearest."""
    name = key.rpartition(".")[2]
    by_name = {item.name: item.key for item in BY_KEY.values()}
    close = get_close_matches(name, by_name, n=1)
    return by_name[close[0]] or "" if close else ""


def _read(item: Definition, given: Given) -> object:
    try:
        return msgspec.convert(
            _parts(item, given),
            item.type,
            strict=not given.is_text,
            dec_hook=partial(_as_path, given.folder),
        )
    except ValueError:
        problem = f"{item.name} is {shown(given.value)}, which is not {item.wanted}"
    raise SettingsError(problem, f"give {item.wanted}", item.name)


def _parts(item: Definition, given: Given) -> object:
    """The value as it is, or a list where a list is written as text."""
    if given.value == "":
        raise ValueError
    if given.is_text and item.kind == tuple[str, ...]:
        return [part.strip() for part in str(given.value).split(",") if part.strip()]
    return given.value


def _as_path(folder: Path, kind: type, value: object) -> object:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    return read_place(folder, value) if kind is JwksPlace else folder / value
