"""What a planted bug is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple
from unittest.mock import patch

Patches = dict[str, Any]
"""What stands in the place of what, by its dotted name."""


class Mutant(NamedTuple):
    """`plant` makes what is put in place anew for each world, for it may count and remember."""

    name: str
    harm: str
    plant: Callable[[], Patches]

    def planted(self) -> ExitStack:
        """As long as this is open, the product has the bug."""
        with ExitStack() as patches:
            for name, value in self.plant().items():
                patches.enter_context(patch(name, value))
            return patches.pop_all()
