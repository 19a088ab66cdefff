"""What the tests of the live page need, and what is said where a contributor has none of it."""

import os
import shutil
from importlib import import_module
from typing import Final

import pytest

CHROMIUM: Final = shutil.which(os.environ.get("CHROMIUM", "chromium"))
"""The browser; the variable CHROMIUM names another one than Debian's."""


def what_is_missing() -> str:
    """What there is not, and how to get it; empty where all is there."""
    if CHROMIUM is None:
        return "no chromium was found; on Debian: apt-get install chromium"
    try:
        import_module("playwright.async_api")
    except ImportError:
        return "playwright is not installed: pip install -e '.[dev]'"
    return ""


def need_a_browser() -> None:
    """Skip what is tested where there is no browser; a build machine has to have one, and fails."""
    missing = what_is_missing()
    if missing and os.environ.get("CI"):
        pytest.fail(f"the live page is not tested: {missing}", pytrace=False)
    if missing:
        pytest.skip(missing)
