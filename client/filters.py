"""mobync's filters: which objects `Device.read` gives.

Values compare as JSON does: true is not 1, 1 is 1.0, and only numbers with numbers and text with
text have an order. A field that is missing or cannot be compared never matches and never raises.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

from protocol.diffs import Fields


class FilterType(Enum):
    """How a field is compared with the filter's value; the words are mobync's own."""

    inside = "inside"
    equal = "equal"
    major = "major"
    majorOrEqual = "majorOrEqual"  # noqa: N815 - mobync's spelling
    minor = "minor"
    minorOrEqual = "minorOrEqual"  # noqa: N815 - mobync's spelling


class ReadFilter(NamedTuple):
    """One condition: `ReadFilter("rank", FilterType.major, 3)` is rank > 3.

    For `inside`, `data` is a list of the values that match.
    """

    field: str
    filter: FilterType
    data: Any

    def matches(self, fields: Fields) -> bool:
        """Whether an object fulfils the condition."""
        return self.field in fields and _TESTS[self.filter](fields[self.field], self.data)


def equal(value: Any, other: Any) -> bool:
    """Whether two values are the same as JSON."""
    if isinstance(value, dict) and isinstance(other, Mapping):
        return value.keys() == other.keys() and all(equal(value[k], other[k]) for k in value)
    if isinstance(value, list) and isinstance(other, (list, tuple)):
        return len(value) == len(other) and all(map(equal, value, other))
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def _inside(value: Any, others: Any) -> bool:
    if isinstance(others, str) or not isinstance(others, (Sequence, set, frozenset)):
        return False
    return any(equal(value, other) for other in others)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(value: Any, other: Any) -> bool:
        kind = _order(value)
        return kind is not None and kind == _order(other) and compare(value, other)

    return test


def _order(value: Any) -> type | None:
    """What a value may be compared with; None: nothing."""
    if isinstance(value, str):
        return str
    return float if isinstance(value, (int, float)) and not isinstance(value, bool) else None


_TESTS: Final[Mapping[FilterType, Callable[[Any, Any], bool]]] = {
    FilterType.inside: _inside,
    FilterType.equal: equal,
    FilterType.major: _ordered(operator.gt),
    FilterType.majorOrEqual: _ordered(operator.ge),
    FilterType.minor: _ordered(operator.lt),
    FilterType.minorOrEqual: _ordered(operator.le),
}
