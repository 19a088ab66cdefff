"""Whatever bytes come in are a message or a bad message, and what is meant is understood."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from protocol.errors import BadMessage
from protocol.messages import (
    Auth,
    FromDevice,
    Half,
    Hello,
    Ping,
    Push,
    Received,
    decode_diffs,
    decode_fields,
    decode_from_device,
    decode_from_hub,
    encode,
)
from tests.protocol.said import DEVICE_SAYS, HUB_SAYS

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


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
