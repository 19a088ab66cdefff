"""Sections 2 to 8 of docs/protocol.md: every frame as JSON, there and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Raw

from protocol.diffs import StoredDiff
from protocol.messages import (
    Auth,
    FromDevice,
    FromHub,
    Hello,
    Ping,
    Push,
    decode_diffs,
    decode_fields,
    decode_from_device,
    decode_from_hub,
    encode,
    encode_diffs,
)
from tests.protocol.said import DEVICE_SAYS, HUB_SAYS, STORED, frame

if TYPE_CHECKING:
    from collections.abc import Sequence


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


def test_stored_diffs_are_the_bytes_that_they_were_stored_as() -> None:
    diffs = decode_diffs(Raw(STORED.encode()))
    assert diffs == (StoredDiff("e1", 7, "create", "tasks", {"id": "t1"}),)
    assert encode_diffs(diffs) == STORED.encode()
    assert decode_fields(Raw(b'{"id":"t1","n":null}')) == {"id": "t1", "n": None}
