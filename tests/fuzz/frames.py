"""Frames as no device would send them: sound ones, changed by grammar and by bytes."""

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

Frame: TypeAlias = str | bytes

_DIFF: Final = {
    "id": "e1",
    "logical_clock": 0,
    "utc_timestamp": 1_790_000_000_000,
    "type": "create",
    "model": "tasks",
    "json_data": {"id": "t1", "title": "tea", "done": False, "tags": ["a", {"b": None}]},
}
HELLO: Final = {"type": "hello", "token": "ada", "device": "phone", "logical_clock": 0}
SEEDS: Final[Sequence[dict[str, Any]]] = (
    HELLO,
    {**HELLO, "log_id": "log-1", "half": {"from": 0, "head": 3}},
    {**HELLO, "log_id": "log-1", "epoch": "1-start-1", "earlier": ["9-lost", "0-old"]},
    {"type": "push", "push_id": 1, "diffs": [_DIFF]},
    {"type": "push", "push_id": 2, "diffs": [{**_DIFF, "type": "update"}], "again": True},
    {"type": "push", "push_id": 3, "diffs": [{**_DIFF, "type": "delete"}, _DIFF]},
    {"type": "received", "logical_clock": 2},
    {"type": "auth", "token": "ada"},
    {"type": "ping", "nonce": "n"},
)
POLLS: Final[Sequence[dict[str, Any]]] = (
    {"auth_token": "ada", "logical_clock": 0, "diffs": []},
    {
        "auth_token": "ada",
        "logical_clock": 0,
        "diffs": [{**_DIFF, "owner": "ada", "json_data": '{"id":"t1","title":"tea"}'}],
    },
)
_NASTY: Final[Sequence[Any]] = (
    None, True, False, 0, -1, 1, 2**53 - 1, 2**53, 2**64, -(2**63) - 1, 10**400, 1.5, 1e308, -0.0,
    "", "ada", "\0", "\ud800", "é" * 300, "x" * 5000, "mobync", "create", [], {}, [[]], {"": {}},
    float("nan"), float("inf"), {"id": "t1"}, [_DIFF] * 3,
)  # fmt: skip
_BYTES: Final = (
    b"\0", b"\xff", b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\u0000", b"\\ud800", b"1e999",
    b"-", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"[" * 2000, b"9" * 5000,
)  # fmt: skip


def mutated(chance: random.Random, seeds: Sequence[dict[str, Any]] = SEEDS) -> Frame:
    """A frame that was changed a few times; one in four by its bytes."""
    frame = json.loads(json.dumps(chance.choice(seeds)))
    for _ in range(chance.randint(0, 3)):
        chance.choice(_BY_GRAMMAR)(frame, chance)
    text = json.dumps(frame, ensure_ascii=chance.random() < 0.5)
    data = text.encode(errors="surrogatepass")
    if chance.random() < 0.25:
        data = _by_bytes(data, chance)
    if chance.random() < 0.02:
        return data
    return data.decode(errors="replace")


def body_of(frame: Frame) -> bytes:
    """The frame as the body of a request."""
    return frame.encode(errors="replace") if isinstance(frame, str) else frame


def _by_bytes(data: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randint(0, len(data)), chance.randint(0, 8)
        piece = chance.choice((b"", chance.choice(_BYTES), chance.randbytes(3), data[at : at + 40]))
        data = data[:at] + piece + data[at + length :]
    return data


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every container in a tree with each of its keys."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    found = [(tree, key) for key in keys]
    for key in keys:
        if isinstance(tree[key], dict | list):
            found += _places(tree[key])
    return found


def _set(frame: Any, chance: random.Random) -> None:
    if places := _places(frame):
        tree, key = chance.choice(places)
        tree[key] = copy.deepcopy(chance.choice(_NASTY))


def _drop(frame: Any, chance: random.Random) -> None:
    if places := _places(frame):
        tree, key = chance.choice(places)
        del tree[key]


def _add(frame: Any, chance: random.Random) -> None:
    trees = [frame, *(t[k] for t, k in _places(frame) if isinstance(t[k], dict))]
    name = chance.choice(("id", "type", "again", "extra", "", "nonce", "logical_clock"))
    chance.choice(trees)[name] = copy.deepcopy(chance.choice(_NASTY))


def _repeat(frame: Any, chance: random.Random) -> None:
    lists = [tree[key] for tree, key in _places(frame) if isinstance(tree[key], list)]
    if lists:
        chance.choice(lists).extend(copy.deepcopy(_DIFF) for _ in range(chance.randint(1, 4)))


def _nest(frame: Any, chance: random.Random) -> None:
    if places := _places(frame):
        tree, key = chance.choice(places)
        for _ in range(chance.choice((1, 10, 100))):
            tree[key] = [tree[key]] if chance.random() < 0.5 else {"a": tree[key]}


def _step(frame: Any, chance: random.Random) -> None:
    numbers = [(tree, key) for tree, key in _places(frame) if type(tree[key]) is int]
    if numbers:
        tree, key = chance.choice(numbers)
        tree[key] += chance.choice((-2, -1, 1, 2, 1000))


_BY_GRAMMAR: Final[Sequence[Callable[[Any, random.Random], None]]] = (
    _set, _drop, _add, _repeat, _nest, _step,
)  # fmt: skip
