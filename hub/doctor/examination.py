"""All that is looked at, in the order in which it is told."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from hub.doctor.files import look_at_disk, look_at_file, look_at_wal, look_for_leftovers
from hub.doctor.findings import Finding, note, well, wrong_setting
from hub.doctor.inside import look_at_hub, look_inside
from hub.doctor.machine import look_at_clock, look_at_limits, look_at_sqlite
from hub.doctor.secrets import look_at_named_files
from hub.errors import SettingsError
from hub.limits import Limits
from hub.loading import Loaded, data_file, load
from hub.server import now
from hub.settings import CONFIG, Settings
from hub.store.lock import holder_of


class Subject(NamedTuple):
    """What is examined: the file, and the settings of its hub if they are known."""

    data: Path
    settings: Settings | None


def examination(
    flags: Mapping[str, object], env: Mapping[str, str], *, thoroughly: bool
) -> Iterator[Finding]:
    """Look at everything; what cannot be looked at for a wrong setting is left out."""
    settings, findings = _settings(flags, env)
    yield from findings
    try:
        data = data_file(flags, env)
    except SettingsError:
        return  # it is among what was found
    yield from _look(Subject(data, settings), thoroughly=thoroughly)


def _settings(
    flags: Mapping[str, object], env: Mapping[str, str]
) -> tuple[Settings | None, list[Finding]]:
    try:
        loaded = load(flags, env)
    except SettingsError as error:
        if error.settings:
            return None, [wrong_setting(error)]
        remedy = "give doctor the settings that serve is given, at best by --config"
        found = "they do not say whose tokens count, so only the file and the machine are looked at"
        return None, [note("settings", found, remedy)]
    return loaded.settings, [_where(loaded), *_placed(loaded)]


def _where(loaded: Loaded) -> Finding:
    given = [name for name in loaded.places if name != CONFIG]
    source = f"from {loaded.settings.config}" if loaded.settings.config else "no file"
    return well("settings", f"{len(given)} given, {source}; all can be")


def _placed(loaded: Loaded) -> Iterator[Finding]:
    """The files that settings name; of one that is wrong, where it was set."""
    for finding in look_at_named_files(loaded.settings):
        places = [f"{n}: {loaded.places[n]}" for n in finding.settings if n in loaded.places]
        found = f"{finding.found} ({'; '.join(places)})" if places else finding.found
        yield Finding(finding.check, finding.verdict, found, finding.remedy, finding.settings)


def _look(subject: Subject, *, thoroughly: bool) -> Iterator[Finding]:
    data, settings = subject
    litestream = settings is not None and settings.checkpoints == "litestream"
    limits = settings.limits if settings is not None else Limits()
    process, newest = None, None
    yield from look_at_file(data)
    if data.is_file():
        process = holder_of(data)
        yield look_at_hub(data, process)
        examined, findings = look_inside(data, thoroughly=thoroughly)
        newest = examined.newest if examined is not None else None
        yield from findings
        yield from look_at_wal(data, is_served=process is not None, litestream=litestream)
        yield from look_for_leftovers(data)
    yield look_at_disk(data)
    yield look_at_clock(now(), newest)
    yield look_at_limits(limits.max_connections, process)
    yield look_at_sqlite(litestream=litestream)
