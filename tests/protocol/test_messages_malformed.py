"""Sections 2 to 8 of docs/protocol.md: what is no message, shape by shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from protocol.diffs import read_diff
from protocol.errors import BadMessage
from protocol.messages import (
    Push,
    Received,
    decode_diffs,
    decode_fields,
    decode_from_device,
    decode_from_hub,
)
from tests.protocol.ledger import edit
from tests.protocol.said import STORED, frame

HELLO: dict[str, Any] = {"token": "t", "device": "phone", "logical_clock": 0}
NOT_COUNTS: list[Any] = [None, -1, 2**53, 2**64, 1.0, 0.5, True, "1", [], {}]
NOT_TEXTS: list[Any] = [5, True, [], {}]
NOT_HALVES: list[Any] = [5, [], {}, {"from": 1}, {"head": 1}, {"from": -1, "head": 1}]
NOT_LISTS: list[Any] = [None, 5, "x", {}, True]
NOT_BOOLEANS: list[Any] = [None, 1, "true", []]

FROM_DEVICE_MALFORMED: dict[str, list[str]] = {
    "no JSON": ["", " ", "{", "}", "hello", "{'type':'ping'}", '{"type":"ping"} ping', "\ufeff{}"],
    "JSON but no object": ["null", "true", "5", '"ping"', "[]", '[{"type":"ping"}]'],
    "no type": ["{}", '{"push_id":1,"diffs":[1]}', '{"Type":"ping"}'],
    "an ill type": [frame(kind) for kind in ("", "PING", "pong", "welcome", "error", "x" * 9999)],
    "a type of another type": [f'{{"type":{kind}}}' for kind in ("null", "5", '["ping"]', "{}")],
    "NaN": ['{"type":"ping","later":NaN}', '{"type":"push","push_id":1,"diffs":[Infinity]}'],
    "a hello without": [
        frame("hello", **{name: HELLO[name] for name in HELLO if name != missing})
        for missing in ("device", "logical_clock")
    ],
    "a hello with an ill token": [frame("hello", **HELLO | {"token": t}) for t in NOT_TEXTS],
    "a hello with an ill device": [
        frame("hello", **HELLO | {"device": name}) for name in (*NOT_TEXTS, None, "", "x" * 65)
    ],
    "a hello with an ill clock": [
        frame("hello", **HELLO | {"logical_clock": n}) for n in NOT_COUNTS
    ],
    "a hello with an ill log": [frame("hello", **HELLO, log_id=name) for name in NOT_TEXTS],
    "a hello with an ill half": [frame("hello", **HELLO, half=half) for half in NOT_HALVES],
    "a hello with an ill epoch": [
        frame("hello", **HELLO, epoch=name) for name in (*NOT_TEXTS, "", "x" * 65)
    ],
    "a hello with ill earlier epochs": [
        frame("hello", **HELLO, earlier=names) for names in (*NOT_LISTS, [5], ["x" * 65], ["x"] * 9)
    ],
    "an ill auth": [frame("auth", token=token) for token in NOT_TEXTS],
    "an ill received": [frame("received", logical_clock=n) for n in NOT_COUNTS],
    "received nothing": [frame("received")],
    "an ill ping": [frame("ping", nonce=nonce) for nonce in NOT_TEXTS],
    "a nonce that could not be sent back": ['{"type":"ping","nonce":"\\ud800"}'],
    "too deep for anybody": [
        "[" * 100_000,
        '{"type":"ping","later":' + "[" * 9999 + "]" * 9999 + "}",
    ],
}


@pytest.mark.parametrize(
    "text",
    [pytest.param(t, id=f"{k}: {t[:60]}") for k, ts in FROM_DEVICE_MALFORMED.items() for t in ts],
)
def test_is_no_message(text: str) -> None:
    for received in (text, text.encode()):
        with pytest.raises(BadMessage) as caught:
            decode_from_device(received)
        assert str(caught.value)
        assert caught.value.push_id in (None, 1)


PUSH_MALFORMED: list[tuple[dict[str, Any], int | None]] = [
    *[({"push_id": n, "diffs": [1]}, None) for n in (*NOT_COUNTS, 0)],
    ({"diffs": [1]}, None),
    ({"push_id": 7}, 7),
    ({"push_id": 7, "diffs": []}, 7),
    *[({"push_id": 7, "diffs": diffs}, 7) for diffs in NOT_LISTS],
    *[({"push_id": 7, "diffs": [1], "again": again}, 7) for again in NOT_BOOLEANS],
    ({"push_id": 7, "diffs": ["\ud800"], "again": 1}, 7),
]


@pytest.mark.parametrize(("fields", "push_id"), PUSH_MALFORMED, ids=lambda value: str(value)[:50])
def test_a_malformed_push_is_named_by_its_id_where_that_can_be_told(
    fields: dict[str, Any], push_id: int | None
) -> None:
    with pytest.raises(BadMessage) as caught:
        decode_from_device(frame("push", **fields))
    assert caught.value.push_id == push_id


@pytest.mark.parametrize("kind", ["hello", "auth", "received", "later", "Push"])
def test_only_a_push_is_about_a_push(kind: str) -> None:
    with pytest.raises(BadMessage) as caught:
        decode_from_device(frame(kind, push_id=7, token=5))
    assert caught.value.push_id is None


ODD_JSON = ['"\\ud800"', '"\\udd1e\\ud834"', "1e400", "-1e999", "1" + "0" * 30, "9" * 9999]


@pytest.mark.parametrize("odd", ODD_JSON, ids=lambda odd: odd[:16])
def test_story_12_what_is_json_but_not_i_json_spoils_its_diff_and_not_the_frame(odd: str) -> None:
    """Section 4: a diff that is not well formed, whatever JSON it is, is rejected by itself."""
    bad = f'{{"id":"e1","json_data":{{"id":"t1","title":{odd}}}}}'
    push = decode_from_device(
        f'{{"type":"push","push_id":7,"diffs":[{bad},{json.dumps(edit("create"))}]}}'
    )
    assert isinstance(push, Push)
    assert (push.push_id, len(push.diffs)) == (7, 2)
    assert push.diffs[0]["id"] == "e1"
    assert read_diff(push.diffs[1])


@pytest.mark.parametrize("odd", ODD_JSON, ids=lambda odd: odd[:16])
def test_an_unknown_field_is_ignored_whatever_json_it_is(odd: str) -> None:
    assert decode_from_device(f'{{"type":"received","logical_clock":4,"later":{odd}}}') == Received(
        4
    )


@pytest.mark.parametrize("odd", ODD_JSON, ids=lambda odd: odd[:16])
def test_a_known_field_is_not(odd: str) -> None:
    for text in (
        f'{{"type":"received","logical_clock":{odd}}}',
        f'{{"type":"auth","token":{odd}}}',
    ):
        with pytest.raises(BadMessage):
            decode_from_device(text)


def test_of_a_name_given_twice_the_last_counts() -> None:
    twice = '{"type":"push","push_id":7,"diffs":[{"json_data":{"id":"t1","n":1,"n":2}}]}'
    push = decode_from_device(twice)
    assert isinstance(push, Push)
    assert push.diffs[0]["json_data"]["n"] == 2


def test_a_frame_that_is_no_utf_8_is_no_message() -> None:
    for received in (b'{"type":"auth","token":"\xff"}', '{"type":"auth","token":"\ud800"}'):
        with pytest.raises(BadMessage):
            decode_from_device(received)


FROM_HUB_MALFORMED = [
    *("", "null", "[]", "{}", '{"type":"hello"}', '{"type":"changes"}', '{"type":"later"}'),
    '{"type":"ready","logical_clock":"9","last_push_id":0}',
    '{"type":"ack","push_id":1}',
    '{"type":"snapshot","logical_clock":9,"objects":[{}],"head":1,"remaining":0}',
    '{"type":"pong","server_time":5,"nonce":"\\ud800"}',
    "[" * 100_000,
]


@pytest.mark.parametrize("text", FROM_HUB_MALFORMED, ids=lambda text: text[:50])
def test_a_device_refuses_what_is_no_message_of_the_hub(text: str) -> None:
    with pytest.raises(BadMessage):
        decode_from_hub(text)


@pytest.mark.parametrize(
    "diffs",
    [
        *(b"", b"{}", b"[1]", b'[{"id":"e1"}]', STORED.replace("create", "upsert").encode()),
        *(STORED.replace('"t1"', other).encode() for other in ("5", "null", "[]", '"\\ud800"')),
        STORED.replace('{"id":"t1"}', "{}").encode(),
        STORED.replace('"t1"', '"t1","n":' + "[" * 9999 + "]" * 9999).encode(),
    ],
    ids=lambda diffs: str(diffs[-40:]),
)
def test_stored_diffs_that_are_none_are_a_bad_message(diffs: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_diffs(Raw(diffs))


@pytest.mark.parametrize("fields", [b"", b"[]", b"null", b"{}", b'{"id":5}', b'{"id":1e400}'])
def test_fields_without_an_id_are_a_bad_message(fields: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_fields(Raw(fields))


@pytest.mark.parametrize("word", ["secret", "it's", "' - at `$.x`", "line\nbreak", "x" * 9_000])
def test_what_is_wrong_with_a_message_is_told_without_what_it_said(word: str) -> None:
    """It is logged: a token that was put in the wrong place stood in the log, at any length."""
    with pytest.raises(BadMessage) as caught:
        decode_from_device(json.dumps({"type": word}))
    assert str(caught.value) == "Invalid value - at `$.type`"
