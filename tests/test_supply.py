"""What the hub is made of: few packages, each with its reason, pinned, looked up, and listed.

The lock files are compared with pyproject.toml here, and no index is asked. `scripts/lock` mends
what fails.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.auditing.audit import CLEAN, NOT_ASKED, VULNERABLE, verdict

ROOT: Final = Path(__file__).resolve().parents[1]
PYPROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT: Final = PYPROJECT["project"]
EXTRAS: Final = PROJECT["optional-dependencies"]
BUILDERS: Final = (*PYPROJECT["build-system"]["requires"], "editables>=0.5")
"""What makes a package of this folder; the last is asked for by hatchling where it is editable."""

LOCKS: Final[Mapping[str, tuple[str, ...]]] = {
    "requirements.lock": (*PROJECT["dependencies"], *BUILDERS),
    "requirements-dev.lock": (*PROJECT["dependencies"], *BUILDERS, *EXTRAS["dev"]),
    "requirements-audit.lock": tuple(EXTRAS["audit"]),
}
"""Of each lock file what it was made from."""
ASKERS: Final = {"mobync-hub", "-r"}
"""How a lock file calls pyproject.toml; behind what was asked for beside it, it says nothing."""


class Pin(NamedTuple):
    requirement: Requirement
    hashes: frozenset[str]
    asked_by: frozenset[str]

    @property
    def version(self) -> str:
        [only] = self.requirement.specifier
        assert only.operator == "=="
        return only.version


def pins(lock: str) -> dict[str, Pin]:
    """Every package of a lock file, by its name."""
    text = (ROOT / lock).read_text()
    entries = re.findall(r"^([a-z0-9].*?)(?=^[a-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)
    read = map(pin, entries)
    return {canonicalize_name(each.requirement.name): each for each in read}


def pin(entry: str) -> Pin:
    hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})(?= |$)", entry, re.MULTILINE))
    asked_by = re.findall(r"^    #(?: via| ) +(\S+)", entry, re.MULTILINE)
    return Pin(Requirement(entry.partition("\\")[0]), hashes, frozenset(asked_by) - {"-c"})


def is_direct(pin: Pin) -> bool:
    return not pin.asked_by or bool(pin.asked_by & ASKERS)


def names(requirements: Any) -> set[str]:
    return {canonicalize_name(Requirement(each).name) for each in requirements}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_pins_what_pyproject_asks_for_and_nothing_that_nobody_does(lock: str) -> None:
    pinned, asked_for = pins(lock), LOCKS[lock]
    for each in map(Requirement, asked_for):
        found = pinned[canonicalize_name(each.name)]
        assert found.version in each.specifier, f"scripts/lock: {each}, but {found.version}"
    direct = {name for name, each in pinned.items() if is_direct(each)}
    assert direct == names(asked_for)
    others = {asker for each in pinned.values() for asker in each.asked_by} - ASKERS
    assert others <= {*pinned, "(pyproject.toml)"}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_has_hashes_for_everything_and_knows_no_place(lock: str) -> None:
    """Not an index, an address or a folder of the machine on which it was made."""
    text = (ROOT / lock).read_text()
    known = re.compile(r" +--hash=|\s*#|[a-z0-9.-]+==")
    assert [line for line in text.splitlines() if not known.match(line)] == []
    assert re.findall(r"://|file:|--index|--find-links|--extra|/opt/|/home/| @ ", text) == []
    for name, each in pins(lock).items():
        assert each.hashes, name


def test_what_is_tested_is_what_is_installed() -> None:
    tested = pins("requirements-dev.lock")
    for name, each in pins("requirements.lock").items():
        assert (tested[name].version, tested[name].hashes) == (each.version, each.hashes)


def test_what_is_compiled_has_files_for_every_platform() -> None:
    """And not only those that fit the machine on which the lock file was made."""
    pinned = pins("requirements.lock")
    for name in ("aiohttp", "cryptography", "msgspec", "orjson", "uvloop", "websockets"):
        assert len(pinned[name].hashes) > 20, name


def test_the_scripts_install_from_the_lock_files_and_check_the_hashes() -> None:
    venv = (ROOT / "scripts" / "venv.sh").read_text()
    for line in re.findall(r"^ +pip_install -.*", venv, re.MULTILINE):
        assert "--require-hashes" in line or "--no-deps --no-build-isolation --no-index" in line
    assert "install_project run requirements.lock" in (ROOT / "scripts" / "run").read_text()
    assert "install_project test requirements-dev.lock" in (ROOT / "scripts" / "test").read_text()


# Reasons


def test_each_dependency_has_its_reason_in_the_design() -> None:
    design = (ROOT / "docs" / "design.md").read_text()
    section = design.partition("\n## Dependencies\n")[2].partition("\n## ")[0]
    used, _pinned, working = section.partition("Beside these")
    assert table(used) == names(PROJECT["dependencies"])
    assert table(working) == names((*EXTRAS["dev"], *EXTRAS["audit"], *EXTRAS["fuzz"]))


def table(text: str) -> set[str]:
    """The packages in the first column of a table."""
    columns = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    return {name for each in columns for name in names(re.findall(r"`([^`]+)`", each))}


# The lint


NOT_LINTED: Final = {
    ("hub/auth/__init__.py", "S101"),
    ("hub/auth/keyring.py", "S311"),
    ("hub/http/control.py", "S101"),
    ("hub/http/polling.py", "S101"),
    ("client/storage/rows.py", "S608"),
    ("protocol/closing.py", "S105"),
}
"""Where a line of the product is excepted from a security rule, with its reason beside it."""


def test_the_product_is_linted_for_security_and_every_exception_is_known() -> None:
    lint = PYPROJECT["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert not [rule for rule in lint["ignore"] if re.fullmatch(r"S\d+", rule)]
    assert set(lint["per-file-ignores"]) == {"tests/**", "scripts/**"}
    found = {
        (str(path.relative_to(ROOT)), rule)
        for package in ("protocol", "hub", "client")
        for path in (ROOT / package).rglob("*.py")
        for rule in re.findall(r"noqa:.*?\b(S\d+)", path.read_text())
    }
    assert found == NOT_LINTED


# The audit


def answer(*packages: Mapping[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


SOUND: Final = {"name": "orjson", "version": "3.13.0", "vulns": []}
UNKNOWN: Final = {"name": "yarl", "skip_reason": "Dependency not found on PyPI"}
BAD: Final = {
    "name": "aiohttp",
    "version": "3.14.5",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.14.6"], "description": "..."}],
}


def test_an_audit_that_finds_nothing_says_how_much_it_looked_at() -> None:
    assert verdict(answer(SOUND, SOUND), "") == (CLEAN, ["2 packages, no known vulnerability"])


def test_an_audit_names_what_is_vulnerable_and_what_mends_it() -> None:
    expected = ["aiohttp 3.14.5: PYSEC-1, mended in 3.14.6"]
    assert verdict(answer(SOUND, UNKNOWN, BAD), "") == (VULNERABLE, expected)


def test_a_package_that_the_database_does_not_know_is_not_clean() -> None:
    """pip-audit says "No known vulnerabilities found" and ends with 0."""
    code, lines = verdict(answer(SOUND, UNKNOWN), "")
    assert (code, lines[0]) == (NOT_ASKED, "The database was silent about 1 of 2 packages:")


@pytest.mark.parametrize("said", ["", "no JSON", "{}", "[]", answer()])
def test_a_database_that_cannot_be_reached_is_not_a_clean_one(said: str) -> None:
    assert verdict(said, "Traceback\nConnectionError: no such host").code == NOT_ASKED


def test_an_audit_without_its_tool_says_so() -> None:
    """As the command that it is, in an environment that does not have pip-audit."""
    script = ROOT / "scripts" / "auditing" / "audit.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == NOT_ASKED
    assert "NOT AUDITED" in done.stdout
