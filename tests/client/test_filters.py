import pytest

from client import FilterType, ReadFilter

JSON = [None, True, False, 0, 1, 1.5, "", "a", [], [1], {}, {"a": 1}]


@pytest.mark.parametrize(
    ("kind", "value", "data", "matches"),
    [
        (FilterType.inside, 2, [1, 2], True),
        (FilterType.inside, 3, [1, 2], False),
        (FilterType.inside, "a", ("a", "b"), True),
        (FilterType.inside, "a", "abc", False),
        (FilterType.inside, 1, 1, False),
        (FilterType.inside, True, [1], False),
        (FilterType.equal, 1, 1.0, True),
        (FilterType.equal, True, 1, False),
        (FilterType.equal, None, None, True),
        (FilterType.equal, [1, {"a": True}], [1, {"a": True}], True),
        (FilterType.equal, [1, {"a": True}], [1, {"a": 1}], False),
        (FilterType.equal, {"a": 1}, {"a": 1, "b": 2}, False),
        (FilterType.major, 4, 3, True),
        (FilterType.major, 3, 3, False),
        (FilterType.majorOrEqual, 3, 3.0, True),
        (FilterType.majorOrEqual, 2, 3, False),
        (FilterType.minor, "apple", "pear", True),
        (FilterType.minor, "pear", "apple", False),
        (FilterType.minorOrEqual, 2.5, 2.5, True),
        (FilterType.minorOrEqual, 3, 2.5, False),
    ],
)
def test_a_filter_compares(kind: FilterType, value: object, data: object, matches: bool) -> None:
    assert ReadFilter("field", kind, data).matches({"id": "x", "field": value}) is matches


@pytest.mark.parametrize("kind", FilterType)
def test_a_field_that_is_missing_never_matches(kind: FilterType) -> None:
    for data in [*JSON, [None]]:
        assert not ReadFilter("field", kind, data).matches({"id": "x"})


@pytest.mark.parametrize(
    "kind",
    [FilterType.major, FilterType.majorOrEqual, FilterType.minor, FilterType.minorOrEqual],
)
def test_only_numbers_with_numbers_and_text_with_text_have_an_order(kind: FilterType) -> None:
    ordered = {
        (repr(value), repr(data))
        for value in JSON
        for data in JSON
        if ReadFilter("field", kind, data).matches({"field": value})
    }

    for value in JSON:
        for data in JSON:
            numbers = all(type(item) in (int, float) for item in (value, data))
            texts = isinstance(value, str) and isinstance(data, str)
            assert numbers or texts or (repr(value), repr(data)) not in ordered
