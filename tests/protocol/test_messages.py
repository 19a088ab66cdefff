"""Sections 2 to 8 of docs/protocol.md: every frame as JSON, there and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from protocol.diffs import Place, StoredDiff, read_diff
from protocol.errors import BadMessage
from protocol.messages import (
    Ack,
    Auth,
    Authenticated,
    Changes,
    Error,
    FromDevice,
    FromHub,
    Half,
    Hello,
    Lost,
    Ping,
    Pong,
    Push,
    PushOutcome,
    Ready,
    Received,
    Rejected,
    Snapshot,
    SnapshotObject,
    Welcome,
    decode_diffs,
    decode_fields,
    decode_from_device,
    decode_from_hub,
    encode,
    encode_diffs,
)
from tests.protocol.ledger import edit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

STORED = '[{"id":"e1","utc_timestamp":7,"type":"create","model":"tasks","json_data":{"id":"t1"}}]'
OUTCOME = (
    '"lost":[{"index":0,"id":"e1","fields":{"n":4}}],'
    '"rejected":[{"index":1,"id":null,"code":"invalid_diff","message":"no"}]'
)
LOST = (Lost(0, "e1", {"n": 4}),)
REJECTED = (Rejected(1, None, "invalid_diff", "no"),)
LIMITS = {"max_diffs": 1000, "max_frame_bytes": 2**20}
DIFF = read_diff(edit("delete", name="e1", base=3, at=7))

DEVICE_SAYS: list[tuple[FromDevice, str]] = [
    (
        Hello(token="t", device="phone", logical_clock=0),
        (
            '{"type":"hello","token":"t","device":"phone","logical_clock":0,"log_id":null,"half":null,'
            '"epoch":null,"earlier":[]}'
        ),
    ),
    (
        Hello(token="t", device="phone", logical_clock=9, log_id="L", half=Half(0, 12)),
        (
            '{"type":"hello","token":"t","device":"phone","logical_clock":9,"log_id":"L",'
            '"half":{"from":0,"head":12},"epoch":null,"earlier":[]}'
        ),
    ),
    (
        Hello(device="phone", logical_clock=9, log_id="L", epoch="3-c", earlier=("2-b", "1-a")),
        (
            '{"type":"hello","token":"","device":"phone","logical_clock":9,"log_id":"L",'
            '"half":null,"epoch":"3-c","earlier":["2-b","1-a"]}'
        ),
    ),
    (
        Push(1, [DIFF]),
        (
            '{"type":"push","push_id":1,"diffs":[{"id":"e1","logical_clock":3,"utc_timestamp":7,'
            '"type":"delete","model":"tasks","json_data":{"id":"t1"}}]}'
        ),
    ),
    (Push(2, [None], again=True), '{"type":"push","push_id":2,"diffs":[null],"again":true}'),
    (Auth("fresh"), '{"type":"auth","token":"fresh"}'),
    (Received(41), '{"type":"received","logical_clock":41}'),
    (Ping(), '{"type":"ping"}'),
    (Ping("n"), '{"type":"ping","nonce":"n"}'),
]
HUB_SAYS: list[tuple[FromHub, str]] = [
    (
        Welcome("alice", "phone", "L", 9, 0, reset=False, server_time=5, expires=None, limits={}),
        (
            '{"type":"welcome","user":"alice","device":"phone","log_id":"L","logical_clock":9,'
            '"last_push_id":0,"reset":false,"server_time":5,"expires":null,"limits":{}}'
        ),
    ),
    (
        Welcome("alice", "phone", "L", 9, 3, reset=True, server_time=5, expires=8, limits=LIMITS),
        (
            '{"type":"welcome","user":"alice","device":"phone","log_id":"L","logical_clock":9,'
            '"last_push_id":3,"reset":true,"server_time":5,"expires":8,'
            '"limits":{"max_diffs":1000,"max_frame_bytes":1048576}}'
        ),
    ),
    (
        Welcome(
            "alice",
            "phone",
            "L",
            9,
            0,
            reset=False,
            server_time=5,
            expires=None,
            limits={},
            epoch="3-c",
            continues=(Place("K", 7), Place("J", 0)),
        ),
        (
            '{"type":"welcome","user":"alice","device":"phone","log_id":"L","logical_clock":9,'
            '"last_push_id":0,"reset":false,"server_time":5,"expires":null,"limits":{},'
            '"epoch":"3-c","continues":[{"log_id":"K","logical_clock":7},'
            '{"log_id":"J","logical_clock":0}]}'
        ),
    ),
    (
        Changes(9, "desk", Raw(STORED.encode())),
        f'{{"type":"changes","logical_clock":9,"device":"desk","diffs":{STORED}}}',
    ),
    (Ack(1, 9), '{"type":"ack","push_id":1,"logical_clock":9}'),
    (
        Ack(1, 9, Raw(STORED.encode()), LOST, REJECTED),
        f'{{"type":"ack","push_id":1,"logical_clock":9,"diffs":{STORED},{OUTCOME}}}',
    ),
    (Ack(1, 9, Raw(b"[]")), '{"type":"ack","push_id":1,"logical_clock":9,"diffs":[]}'),
    (
        Snapshot(
            9,
            [
                SnapshotObject("tasks", 4, Raw(b'{"id":"t1"}')),
                SnapshotObject("tasks", 5, id="t2", deleted=True),
            ],
            head=12,
            remaining=70,
        ),
        (
            '{"type":"snapshot","logical_clock":9,"objects":['
            '{"model":"tasks","logical_clock":4,"json_data":{"id":"t1"}},'
            '{"model":"tasks","logical_clock":5,"id":"t2","deleted":true}],"head":12,"remaining":70}'
        ),
    ),
    (Ready(9, 0), '{"type":"ready","logical_clock":9,"last_push_id":0}'),
    (
        Ready(9, 2, (PushOutcome(2, LOST, REJECTED),)),
        (
            '{"type":"ready","logical_clock":9,"last_push_id":2,"outcomes":[{"push_id":2,'
            f"{OUTCOME}}}]}}"
        ),
    ),
    (
        Ready(9, 1, more=True),
        '{"type":"ready","logical_clock":9,"last_push_id":1,"more":true}',
    ),
    (Authenticated(8), '{"type":"authenticated","expires":8}'),
    (Authenticated(None), '{"type":"authenticated","expires":null}'),
    (Pong(5), '{"type":"pong","server_time":5}'),
    (Pong(5, "n"), '{"type":"pong","server_time":5,"nonce":"n"}'),
    (Error("forbidden", "No."), '{"type":"error","code":"forbidden","message":"No."}'),
    (
        Error("bad_message", "No.", 3),
        '{"type":"error","code":"bad_message","message":"No.","push_id":3}',
    ),
]


def frame(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields})


def of_type(says: Sequence[tuple[object, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("message", "text"), says, ids=[type(message).__name__ for message, _ in says]
    )


@of_type([*DEVICE_SAYS, *HUB_SAYS])
def test_a_message_is_this_json_with_its_type_first(message: Any, text: str) -> None:
    assert encode(message).decode() == text
    assert next(iter(json.loads(text))) == "type"


@of_type(DEVICE_SAYS)
def test_the_hub_reads_what_a_device_says(message: FromDevice, text: str) -> None:
    for received in (text, text.encode(), json.dumps(json.loads(text), indent=2)):
        assert type(decode_from_device(received)) is type(message)
        assert encode(decode_from_device(received)).decode() == text


@of_type(HUB_SAYS)
def test_a_device_reads_what_the_hub_says(message: FromHub, text: str) -> None:
    for received in (text, text.encode()):
        assert type(decode_from_hub(received)) is type(message)
        assert encode(decode_from_hub(received)).decode() == text


@of_type(DEVICE_SAYS)
def test_the_hub_ignores_unknown_fields(message: FromDevice, text: str) -> None:
    grown = {**json.loads(text), "later": {"more": [None]}}
    assert encode(decode_from_device(json.dumps(grown))).decode() == text


@of_type(HUB_SAYS)
def test_a_device_ignores_unknown_fields(message: FromHub, text: str) -> None:
    assert encode(decode_from_hub(text[:-1] + ',"later":{"more":[null]}}')).decode() == text


def test_what_is_optional_may_be_left_out() -> None:
    assert decode_from_device(frame("push", push_id=1, diffs=[1])) == Push(1, [1], again=False)
    assert decode_from_device(frame("ping")) == Ping(None)
    hello = decode_from_device(frame("hello", token="t", device="phone", logical_clock=0))
    assert hello == Hello(token="t", device="phone", logical_clock=0, log_id=None, half=None)


def test_a_missing_token_is_for_the_hub_to_refuse_with_4401_not_a_bad_message() -> None:
    """Section 8: `unauthorized` is for a token missing, wrong, or run out."""
    hello = decode_from_device(frame("hello", device="phone", logical_clock=0))
    assert hello == Hello(token="", device="phone", logical_clock=0)
    assert decode_from_device('{"type":"auth"}') == Auth("")


# Malformed input, shape by shape

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


def test_stored_diffs_are_the_bytes_that_they_were_stored_as() -> None:
    diffs = decode_diffs(Raw(STORED.encode()))
    assert diffs == (StoredDiff("e1", 7, "create", "tasks", {"id": "t1"}),)
    assert encode_diffs(diffs) == STORED.encode()
    assert decode_fields(Raw(b'{"id":"t1","n":null}')) == {"id": "t1", "n": None}


# Whatever comes in


def any_json() -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )


def nearly_frames() -> st.SearchStrategy[bytes]:
    """A right frame of which a few bytes are wrong."""
    texts = st.sampled_from([text.encode() for _, text in (*DEVICE_SAYS, *HUB_SAYS)])
    return st.builds(
        lambda text, at, cut, put: text[: at % len(text)] + put + text[at % len(text) + cut :],
        texts,
        st.integers(0, 500),
        st.integers(0, 4),
        st.binary(max_size=4) | st.sampled_from([b"[", b"{", b'"', b"\\ud800", b"1e999", b"null"]),
    )


def odd_frames() -> st.SearchStrategy[bytes]:
    """A right frame with another value somewhere, or another type."""
    frames = st.sampled_from([json.loads(text) for _, text in (*DEVICE_SAYS, *HUB_SAYS)])
    fields = ("type", "token", "device", "logical_clock", "log_id", "half", "push_id", "diffs")
    spoilt = st.dictionaries(st.sampled_from((*fields, "again", "nonce")), any_json(), max_size=2)
    return st.builds(lambda right, wrong: json.dumps(right | wrong).encode(), frames, spoilt)


FRAMES = st.one_of(
    st.binary(), any_json().map(lambda v: json.dumps(v).encode()), nearly_frames(), odd_frames()
)


def taken(decode: Callable[[Any], T], received: object) -> T | BadMessage:
    try:
        return decode(received)
    except BadMessage as error:
        return error


@given(FRAMES)
def test_any_bytes_are_a_message_that_can_be_said_again_or_a_bad_message(received: bytes) -> None:
    message = taken(decode_from_device, received)
    if isinstance(message, BadMessage):
        assert message.push_id is None or message.push_id >= 1
    elif not isinstance(message, Push):  # whose diffs are still to be judged
        assert decode_from_device(encode(message)) == message


@given(FRAMES)
def test_a_device_takes_any_bytes_for_a_message_or_a_bad_message(received: bytes) -> None:
    message = taken(decode_from_hub, received)
    if not isinstance(message, BadMessage):
        assert encode(decode_from_hub(encode(message))) == encode(message)


@given(st.text(st.characters()) | FRAMES.map(lambda received: received.decode(errors="replace")))
def test_any_text_is_a_message_or_a_bad_message(received: str) -> None:
    assert str(taken(decode_from_device, received))
    assert str(taken(decode_from_hub, received))


@given(st.binary() | any_json().map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_diffs_or_a_bad_message(stored: bytes) -> None:
    diffs = taken(decode_diffs, Raw(stored))
    assert isinstance(diffs, BadMessage) or all(diff.key for diff in diffs)
    fields = taken(decode_fields, Raw(stored))
    assert isinstance(fields, BadMessage) or isinstance(fields["id"], str)


COUNTS = st.integers(0, 2**53 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.one_of(
        st.builds(
            Hello,
            token=TEXTS,
            device=TEXTS.filter(lambda name: 1 <= len(name) <= 64),
            logical_clock=COUNTS,
            log_id=st.none() | TEXTS,
            half=st.none() | st.builds(Half, COUNTS, COUNTS),
        ),
        st.builds(Push, COUNTS.map(lambda n: n or 1), st.just([1]), again=st.booleans()),
        st.builds(Auth, TEXTS),
        st.builds(Received, COUNTS),
        st.builds(Ping, st.none() | TEXTS),
    )
)
def test_a_device_is_understood_as_it_meant_it(message: FromDevice) -> None:
    assert decode_from_device(encode(message)) == message
