"""What was looked at, what was found there, and how good that is."""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from hub.errors import SettingsError

Verdict: TypeAlias = Literal["well", "note", "wrong"]
"""`note`: nothing is wrong, but an operator may want to know."""
ALL_WELL: Final = 0
WRONG: Final = 1
SETTING_WRONG: Final = 2


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was looked at; `remedy` says what to do, where something is to be done."""

    check: str
    verdict: Verdict
    found: str
    remedy: str = ""
    settings: tuple[str, ...] = ()
    """Those that are wrong."""


def well(check: str, found: str) -> Finding:
    """Nothing is to be done."""
    return Finding(check, "well", found)


def note(check: str, found: str, remedy: str = "") -> Finding:
    """Nothing has to be done."""
    return Finding(check, "note", found, remedy)


def wrong(check: str, found: str, remedy: str) -> Finding:
    """Something has to be done."""
    return Finding(check, "wrong", found, remedy)


def wrong_setting(error: SettingsError, check: str = "settings") -> Finding:
    """A setting has to be mended."""
    places = [f"{name}: {place}" for name, place in error.places.items()]
    found = f"{error.problem} ({'; '.join(places)})" if places else error.problem
    return Finding(check, "wrong", found, error.remedy, error.settings or ("",))


def exit_code(findings: Sequence[Finding]) -> int:
    """What the command ends with."""
    bad = [each for each in findings if each.verdict == "wrong"]
    if any(each.settings for each in bad):
        return SETTING_WRONG
    return WRONG if bad else ALL_WELL
