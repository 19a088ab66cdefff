"""Section 3 of docs/protocol.md: what is a diff, and what is not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.diffs import (
    MAX_DEPTH,
    MAX_INTEGER,
    StoredDiff,
    check_values,
    json_size,
    name_of,
    read_diff,
)
from protocol.errors import InvalidDiff
from tests.model import strategies
from tests.model.hub import has_valid_id, is_well_formed
from tests.protocol.ledger import edit

if TYPE_CHECKING:
    from collections.abc import Callable

CLEF = "\U0001d11e"
"""One code point, two UTF-16 units, four bytes of UTF-8."""


def nested(levels: int) -> dict[str, Any]:
    """A `json_data` that is nested so deep, itself counted."""
    return {"id": "t1", "in": strategies.nested(levels - 1)}


WELL_FORMED: dict[str, dict[str, Any]] = {
    "an id of one character": {"id": "e"},
    "an id of 64 characters": {"id": "e" * 64},
    "an id of 64 code points beyond UTF-16": {"id": CLEF * 64},
    "a model of 128 code points": {"model": CLEF * 128},
    "an object id of 128 code points": {"json_data": {"id": CLEF * 128}},
    "base 0": {"logical_clock": 0},
    "the greatest base": {"logical_clock": 2**53 - 1},
    "a timestamp in 1970": {"utc_timestamp": 0},
    "the greatest timestamp": {"utc_timestamp": 2**53 - 1},
    "a field that is null": {"json_data": {"id": "t1", "title": None}},
    "the greatest integer": {"json_data": {"id": "t1", "n": 2**53 - 1}},
    "the least integer": {"json_data": {"id": "t1", "n": -(2**53) + 1}},
    "a double beyond the integers": {"json_data": {"id": "t1", "n": 1e300}},
    "minus zero": {"json_data": {"id": "t1", "n": -0.0}},
    "a field without a name": {"json_data": {"id": "t1", "": 1}},
    "text beyond UTF-16": {"json_data": {"id": "t1", CLEF: [CLEF]}},
    "NUL in a text": {"json_data": {"id": "t1", "title": "\0"}},
    "as deep as allowed": {"json_data": nested(MAX_DEPTH)},
    "an unknown field": {"owner": ["whatever"]},
}

MALFORMED: dict[str, dict[str, Any]] = {
    "an empty id": {"id": ""},
    "an id of 65 characters": {"id": "e" * 65},
    "an id that is a number": {"id": 7},
    "an id that is null": {"id": None},
    "an id with half a surrogate pair": {"id": "e\ud834"},
    "a base below 0": {"logical_clock": -1},
    "a base of 2^53": {"logical_clock": 2**53},
    "a base of 2^64": {"logical_clock": 2**64},
    "a base that is true": {"logical_clock": True},
    "a base that is a double": {"logical_clock": 1.0},
    "a base that is text": {"logical_clock": "1"},
    "a base that is half a surrogate pair": {"logical_clock": "\ud834"},
    "a timestamp below 0": {"utc_timestamp": -1},
    "a timestamp of 2^53": {"utc_timestamp": 2**53},
    "a timestamp that is infinite": {"utc_timestamp": math.inf},
    "a type that does not exist": {"type": "upsert"},
    "a type in capitals": {"type": "CREATE"},
    "a type that is null": {"type": None},
    "a type that is half a surrogate pair": {"type": "\ud834"},
    "an empty model": {"model": ""},
    "a model of 129 characters": {"model": "m" * 129},
    "a model with half a surrogate pair": {"model": "\udd1e"},
    "fields that are null": {"json_data": None},
    "fields that are a list": {"json_data": [{"id": "t1"}]},
    "fields that are JSON in a text": {"json_data": '{"id": "t1"}'},
    "fields without an id": {"json_data": {"title": "Milk"}},
    "an empty object id": {"json_data": {"id": ""}},
    "an object id of 129 characters": {"json_data": {"id": "t" * 129}},
    "an object id that is a number": {"json_data": {"id": 1}},
    "an object id with half a surrogate pair": {"json_data": {"id": "\ud834"}},
    "a name with half a surrogate pair": {"json_data": {"id": "t1", "\ud834": 1}},
    "a text with half a surrogate pair": {"json_data": {"id": "t1", "a": [{"b": "\udd1e"}]}},
    "an integer of 2^53": {"json_data": {"id": "t1", "n": 2**53}},
    "an integer of -2^53": {"json_data": {"id": "t1", "n": [-(2**53)]}},
    "infinity": {"json_data": {"id": "t1", "n": math.inf}},
    "minus infinity, deeper": {"json_data": {"id": "t1", "n": [{"m": -math.inf}]}},
    "not a number": {"json_data": {"id": "t1", "n": math.nan}},
    "too deep by one": {"json_data": nested(MAX_DEPTH + 1)},
    "far too deep": {"json_data": nested(900)},
}


def test_what_was_read_does_not_change_with_what_it_was_read_from() -> None:
    value = edit("update")
    read = read_diff(value)
    value["json_data"]["title"] = "changed afterwards"
    assert read.json_data == {"id": "t1"}


def test_the_diff_of_the_page_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    shown = page.partition("```json\n")[2].partition("```")[0]
    diff = read_diff(orjson.loads(shown))
    assert (diff.type, diff.model, diff.json_data) == (
        "update",
        "tasks",
        {"id": "t1", "done": True},
    )


@pytest.mark.parametrize("kind", ["create", "update", "delete"])
@pytest.mark.parametrize("what", WELL_FORMED)
def test_is_well_formed(what: str, kind: str) -> None:
    value = {**edit(kind), **WELL_FORMED[what]}
    read = msgspec.to_builtins(read_diff(value))
    assert read == {name: value[name] for name in read}


@pytest.mark.parametrize("kind", ["create", "update", "delete"])
@pytest.mark.parametrize("what", MALFORMED)
def test_is_not_well_formed(what: str, kind: str) -> None:
    with pytest.raises(InvalidDiff):
        read_diff({**edit("create"), "type": kind, **MALFORMED[what]})


@pytest.mark.parametrize("field", edit("create"))
def test_a_diff_has_every_field(field: str) -> None:
    diff = edit("create")
    del diff[field]
    with pytest.raises(InvalidDiff, match=field):
        read_diff(diff)


@pytest.mark.parametrize("value", [None, True, 5, 0.5, "create", [], [edit("create")], {}])
def test_what_is_no_object_or_an_empty_one_is_no_diff(value: object) -> None:
    with pytest.raises(InvalidDiff):
        read_diff(value)


def test_the_depth_that_a_hub_allows_can_be_set() -> None:
    assert read_diff({**edit("create"), "json_data": nested(3)}, max_depth=3)
    with pytest.raises(InvalidDiff, match="deep"):
        read_diff({**edit("create"), "json_data": nested(4)}, max_depth=3)


@pytest.mark.parametrize(
    "value",
    [(1, 2), {1, 2}, b"bytes", object(), {5: "a number names it"}, {None: 1}, 1j],
    ids=lambda value: type(value).__name__,
)
def test_a_device_refuses_what_json_cannot_say(value: object) -> None:
    with pytest.raises(InvalidDiff):
        check_values({"id": "t1", "title": value})
    with pytest.raises(InvalidDiff):
        read_diff({**edit("create"), "json_data": {"id": "t1", "title": value}})


def test_a_structure_that_holds_itself_is_nested_too_deep() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidDiff, match="deep"):
        check_values(loop)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("\ud800", "surrogate"),
        (2**53, r"2\^53"),
        (math.nan, "finite"),
        ({1: 2}, "int"),
        (b"", "bytes"),
    ],
)
def test_a_refusal_says_what_is_wrong(value: object, words: str) -> None:
    with pytest.raises(InvalidDiff, match=words):
        check_values({"id": "t1", "title": value})


@pytest.mark.parametrize("make", [read_diff, lambda d: msgspec.convert(d, StoredDiff)])
def test_a_diff_knows_its_object(make: Any) -> None:
    assert make(edit("update", {"n": 1})).key == ("tasks", "t1")


def test_the_size_of_an_object_is_its_bytes_as_compact_json() -> None:
    assert json_size({"id": "t1", "title": "é"}) == len('{"id":"t1","title":"é"}'.encode())


def test_a_diff_is_called_by_its_id_well_formed_or_not() -> None:
    assert name_of({"id": "e1"}) == "e1"
    nameless: list[Any] = [None, "e1", ["id"], {}, {"id": ""}, {"id": "e" * 65}, {"id": "\ud800"}]
    assert [name_of(value) for value in nameless] == [None] * len(nameless)


def any_diff() -> st.SearchStrategy[Any]:
    return st.one_of(
        strategies.well_formed_diffs(),
        strategies.edge_diffs(),
        strategies.malformed_diffs(),
        strategies.unspeakable_diffs(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
    )


@given(any_diff())
def test_a_value_is_a_diff_exactly_when_the_model_says_so(value: Any) -> None:
    assert name_of(value) == (value["id"] if has_valid_id(value) else None)
    assert passes(read_diff, value) == is_well_formed(value)


def passes(check: Callable[[Any], object], value: object) -> bool:
    try:
        check(value)
    except InvalidDiff:
        return False
    return True


@given(strategies.well_formed_diffs() | strategies.edge_diffs())
def test_what_is_well_formed_survives_any_json_library(value: dict[str, Any]) -> None:
    """I-JSON is what another language reads as it was meant; so a diff changes nowhere."""
    diff = read_diff(value)
    assert (
        msgspec.convert(orjson.loads(orjson.dumps(msgspec.to_builtins(diff))), type(diff)) == diff
    )
    assert msgspec.json.decode(msgspec.json.encode(diff), type=type(diff)) == diff


@given(st.integers())
def test_an_integer_is_well_formed_if_javascript_holds_it_exactly(number: int) -> None:
    assert passes(check_values, number) == (abs(number) <= MAX_INTEGER)
    assert not passes(check_values, number) or int(float(number)) == number
