"""Fields that come from the application and go to it: always a copy.

What the replica holds is shared by its layers and by the storage, which may write it a moment
later: a list that the application goes on changing must not be the one that is held.
"""

from collections.abc import Mapping
from typing import Any, Final

from protocol.diffs import MAX_DEPTH
from protocol.errors import InvalidDiff

_FLAT: Final = frozenset({str, int, float, bool, type(None)})


def copied(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with every list and object in them copied.

    Raises:
        InvalidDiff: they are no mapping, or nested deeper than an edit may be.

    """
    if not isinstance(fields, Mapping):
        raise InvalidDiff(f"an object has fields, a mapping of names; {type(fields)} is none")
    return {
        name: value if type(value) in _FLAT else _copied(value, MAX_DEPTH)
        for name, value in fields.items()
    }


def _copied(value: Any, depth: int) -> Any:
    if depth <= 0:
        raise InvalidDiff("json_data is nested too deep")
    if type(value) is dict:
        return {name: _copied(inner, depth - 1) for name, inner in value.items()}
    if type(value) is list:
        return [_copied(inner, depth - 1) for inner in value]
    return value
