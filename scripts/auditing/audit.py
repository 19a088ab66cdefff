"""`scripts/audit`: asks pip-audit about each lock file, and says what its answers are worth.

pip-audit says "no known vulnerabilities" and ends with 0 where the database knew none of the
packages, too; here that is a failure of its own.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

LOCKS: Final = ("requirements.lock", "requirements-dev.lock", "requirements-audit.lock")
CLEAN: Final = 0
VULNERABLE: Final = 1
NOT_ASKED: Final = 3
SECONDS: Final = 600.0


class Verdict(NamedTuple):
    """What becomes of the check, and why."""

    code: int
    lines: Sequence[str]


def verdict(answer: str, errors: str) -> Verdict:
    """What an answer of pip-audit, as JSON, comes to."""
    try:
        packages = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = errors.strip().splitlines()[-1:]
        return Verdict(NOT_ASKED, ["The database could not be asked:", *last])
    found = [line for package in packages for line in _vulnerabilities(package)]
    if found:
        return Verdict(VULNERABLE, found)
    skipped = [package for package in packages if "skip_reason" in package]
    if skipped or not packages:
        why = [f"{each['name']}: {each['skip_reason']}" for each in skipped[:3]]
        count = f"The database was silent about {len(skipped)} of {len(packages)} packages:"
        return Verdict(NOT_ASKED, [count, *why])
    return Verdict(CLEAN, [f"{len(packages)} packages, no known vulnerability"])


def _vulnerabilities(package: Mapping[str, Any]) -> Sequence[str]:
    return [
        f"{package['name']} {package['version']}: {each['id']}, "
        f"mended in {', '.join(each['fix_versions']) or 'no version yet'}"
        for each in package.get("vulns", ())
    ]


def ask(lock: str, arguments: Sequence[str]) -> Verdict:
    """Have pip-audit look up what a lock file pins; nothing is installed for it."""
    command = [str(Path(sys.executable).with_name("pip-audit")), "--requirement", lock]
    options = ["--disable-pip", "--format", "json", "--progress-spinner", "off", *arguments]
    try:
        done = subprocess.run(
            [*command, *options], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Verdict(NOT_ASKED, ["pip-audit gave no answer:", str(error)])
    return verdict(done.stdout, done.stderr)


def main(arguments: Sequence[str]) -> int:
    """Ask about each lock file, up to the first about which nothing can be said."""
    worst = CLEAN
    for lock in LOCKS:
        code, lines = ask(lock, arguments)
        print(f"{lock}: {lines[0]}", *(f"  {line}" for line in lines[1:]), sep="\n")
        worst = VULNERABLE if VULNERABLE in (code, worst) else max(code, worst)
        if code == NOT_ASKED:
            print("NOT AUDITED: run scripts/audit where a database of vulnerabilities is reached.")
            break
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
