"""Without a browser the live page is not tested, which is said; a build machine fails then."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_readme import ROOT

NOT_INSTALLED = "raise ModuleNotFoundError(\"No module named 'playwright'\", name='playwright')\n"


def outcome_without(missing: str, folder: Path, **environment: str) -> tuple[int, str]:
    """What pytest ends with, and what it says; the folder is to stand in for a package."""
    here = {name: value for name, value in os.environ.items() if name != "CI"}
    if missing == "chromium":
        here["CHROMIUM"] = "/not/there/chromium"
    else:
        (folder / "playwright.py").write_text(NOT_INSTALLED)
        here["PYTHONPATH"] = str(folder)
    options = ("-p", "no:cacheprovider", "-p", "no:xdist", "-k", "wrong_token or background")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "tests/page/test_page.py"],
        cwd=ROOT, env=here | environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("chromium", "no chromium was found; on Debian: apt-get install chromium"),
        ("playwright", "playwright is not installed: pip install -e '.[dev]'"),
    ],
)
def test_without_a_browser_it_is_skipped_and_said_and_on_a_build_machine_it_fails(
    tmp_path: Path, missing: str, said: str
) -> None:
    code, out = outcome_without(missing, tmp_path)
    assert code == 0
    assert said in out
    assert "passed" not in out
    code, out = outcome_without(missing, tmp_path, CI="true")
    assert code == 1
    assert f"the live page is not tested: {said}" in out
