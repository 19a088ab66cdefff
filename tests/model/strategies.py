"""Hypothesis strategies for what devices send: mostly well formed, now and then anything at all.

There are few models, ids, fields and devices, the bases lie around the head and the timestamps
within milliseconds of each other, so that edits meet as often as they can.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    Strategy = st.SearchStrategy

POLLER = "mobync"
DEVICES = ("phone", "laptop", "tab")
OBJECTS = (*(("tasks", "t1"),) * 5, *(("tasks", "t2"),) * 3, ("notes", "t1"), ("notes", "水"))
KINDS = (*("create",) * 4, *("update",) * 8, "delete")
EDITS = st.sampled_from(tuple(itertools.product(KINDS, OBJECTS)))
EXTRAS = st.sampled_from(({}, {}, {}, {"owner": "any field may come along"}))
FIELDS = st.sampled_from(
    (*(("title",), ("done",), ("title", "done")) * 3, ("done", "title", "tags", ""), ())
)
"""Which fields a diff carries beside `id`: often the same, sometimes a new one, rarely none."""
NO_FIELDS = st.sampled_from((*((),) * 6, ("title",)))
"""The same of a delete, which may carry more than it needs."""

DIFF_IDS = st.sampled_from([f"e{n}" for n in range(1, 61)])
"""Few enough that an `again` push often meets an id that the log holds."""

START = 1_790_000_000_000
MAX_AHEAD_MS = 60_000
GREATEST_INTEGER = 2**53 - 1
GREATEST_DEPTH = 64

NUMBERS = (0, -1, 7, GREATEST_INTEGER, -GREATEST_INTEGER, 0.5, -0.0, 1e300, 5e-324)
TEXTS = ("", "Milk", "naïve 💧", 'a "quoted" \\ line\n', "\x00\x7f\u2028")


def nested(depth: int) -> Any:
    """A value whose lists and objects nest this deep."""
    value: Any = None
    for level in range(depth):
        value = [value] if level % 2 else {"in": value}
    return value


def mostly(common: Strategy[Any], *rare: Strategy[Any], weight: int = 6) -> Strategy[Any]:
    """The first of these, `weight` times as often as each other one.

    (`one_of` takes the same strategy only once, so that it cannot be weighted by repetition.)
    """
    return st.sampled_from((*(common,) * weight, *rare)).flatmap(lambda chosen: chosen)


@functools.cache
def well_formed_values() -> Strategy[Any]:
    """The value of a field."""
    scalars = st.sampled_from((None, True, False, *NUMBERS, *TEXTS))
    texts = st.text(st.characters(exclude_categories=("Cs", "Cn")), max_size=8)
    lists = st.lists(scalars | texts, max_size=3)
    dicts = st.dictionaries(texts, scalars | lists, max_size=2)
    # One level is the json_data itself.
    return mostly(scalars, texts, lists, dicts, st.just(nested(GREATEST_DEPTH - 1)), weight=12)


@functools.cache
def bases(head: int) -> Strategy[int]:
    """Bases of a device that is behind, level, new, or confused."""
    near = range(max(0, head - 6), head + 1)
    return st.sampled_from((*near, *near, *near, 0, head + 1, GREATEST_INTEGER))


@functools.cache
def timestamps(now: int) -> Strategy[int]:
    """Timestamps that tie, follow each other closely, or lie at and beyond what the hub allows."""
    near = range(now - 4, now + 4)
    ahead = (now + MAX_AHEAD_MS + more for more in (-1, 0, 1, 2, 10**9))
    return st.sampled_from((*near, *near, *near, *near, *ahead, 0, GREATEST_INTEGER))


@st.composite
def well_formed_diffs(draw: st.DrawFn, head: int = 0, now: int = START) -> dict[str, Any]:
    """A diff that section 3 allows, made by a device near this head at about this time."""
    kind, (model, object_id) = draw(EDITS)
    return {
        "id": draw(DIFF_IDS),
        "logical_clock": draw(bases(head)),
        "utc_timestamp": draw(timestamps(now)),
        "type": kind,
        "model": model,
        "json_data": draw(json_data(object_id, bare=kind == "delete")),
        **draw(EXTRAS),
    }


@st.composite
def json_data(draw: st.DrawFn, object_id: str, *, bare: bool) -> dict[str, Any]:
    """An id, first or last, and other fields; mostly none if `bare`."""
    names = draw(NO_FIELDS if bare else FIELDS)
    fields = {name: draw(well_formed_values()) for name in names}
    first = draw(st.booleans())
    return {"id": object_id, **fields} if first else {**fields, "id": object_id}


# What a diff may be and still not be well formed. Each table is complete by kind, not by value.

NOT_DIFFS: tuple[Any, ...] = (None, True, 0, 1.5, "", "create", [], [{}], {}, {"id": "e1"})

NOT_NAMES: tuple[Any, ...] = (None, False, 7, 0.5, "", [], ["x"], {}, {"id": "x"})
NOT_COUNTS: tuple[Any, ...] = (
    *(None, True, False, "1", "", [], {}),
    *(-1, GREATEST_INTEGER + 1, 2**63, 2**64, 10**30, 0.5, -0.5, 1e300),
)
NOT_FIELDS: tuple[Any, ...] = (
    *(GREATEST_INTEGER + 1, -GREATEST_INTEGER - 1, 2**64, -(2**64), 10**30),
    *([GREATEST_INTEGER + 1], {"in": [{"deeper": -(10**30)}]}),
    nested(GREATEST_DEPTH),
)
NOT_OBJECTS: tuple[Any, ...] = (
    *(None, True, 7, "", '{"id": "t1"}', [], [{"id": "t1"}]),
    *({}, {"title": "no id"}, {"ID": "t1"}),
    *({"id": not_a_name} for not_a_name in NOT_NAMES),
    {"id": "x" * 129},
    {"id": "💧" * 129},
    *({"id": "t1", "title": not_a_field} for not_a_field in NOT_FIELDS),
)

ILL: dict[str, tuple[Any, ...]] = {
    "id": (*NOT_NAMES, "x" * 65, "💧" * 65),
    "logical_clock": NOT_COUNTS,
    "utc_timestamp": NOT_COUNTS,
    "type": (None, True, 1, "", "upsert", "CREATE", "created", ["create"], {}),
    "model": (*NOT_NAMES, "x" * 129, "💧" * 129),
    "json_data": NOT_OBJECTS,
}
"""Values that a field of a diff must not have.

Integers that fit no 64 bits are among them: a parser that makes doubles of those lets them pass.
"""

LONGEST: dict[str, tuple[Any, ...]] = {
    "id": ("x" * 64, "💧" * 64),
    "logical_clock": (0, GREATEST_INTEGER),
    "utc_timestamp": (0, GREATEST_INTEGER),
    "model": ("x" * 128, "💧" * 128),
    "json_data": ({"id": "x" * 128}, {"id": "💧" * 128}, {"id": "t", "": nested(63)}),
}
"""Values at the very edge of what a field of a diff may have."""

UNSPEAKABLE: dict[str, tuple[Any, ...]] = {
    "id": ("\ud800", "e\udfff"),
    "logical_clock": (math.inf,),
    "utc_timestamp": (math.inf,),
    "model": ("\ud800", "tasks\udfff"),
    "json_data": (
        *({"id": "\ud800"}, {"id": "t1", "\udfff": 1}, {"id": "t1", "title": ["\ud83d"]}),
        *({"id": "t1", "title": n} for n in (math.inf, -math.inf)),
    ),
}
"""Values that JSON can write ("\\ud800", 1e400) and that many parsers refuse as a frame."""

MAYBE_COUNTS: tuple[Any, ...] = (0.0, 1.0, -0.0, float(START))
"""Integral doubles where an integer belongs. The model refuses them; some languages cannot."""


def _replaced(table: dict[str, tuple[Any, ...]], head: int, now: int) -> Strategy[dict[str, Any]]:
    """A well-formed diff, one field of which has a value of this table."""
    choices = [(field, value) for field, values in table.items() for value in values]

    def replace(diff: dict[str, Any], choice: tuple[str, Any]) -> dict[str, Any]:
        return {**diff, choice[0]: choice[1]}

    return st.builds(replace, well_formed_diffs(head, now), st.sampled_from(choices))


def edge_diffs(head: int = 0, now: int = START) -> Strategy[dict[str, Any]]:
    """A well-formed diff at the edge of a length, a range or a depth."""
    return _replaced(LONGEST, head, now)


def unspeakable_diffs(head: int = 0, now: int = START) -> Strategy[dict[str, Any]]:
    """A diff that is malformed by a lone surrogate or a number that is not finite."""
    return _replaced(UNSPEAKABLE, head, now)


def malformed_diffs(head: int = 0, now: int = START) -> Strategy[Any]:
    """Any JSON that is not a well-formed diff: no object, a field missing, a field ill-typed."""

    def without(diff: dict[str, Any], field: str) -> dict[str, Any]:
        return {name: value for name, value in diff.items() if name != field}

    lacking = st.builds(without, well_formed_diffs(head, now), st.sampled_from(sorted(ILL)))
    return st.one_of(st.sampled_from(NOT_DIFFS), lacking, _replaced(ILL, head, now))


def pushes(head: int = 0, now: int = START, *, most: int = 5) -> Strategy[list[Any]]:
    """The diffs of one push: edits of the same few objects, now and then a malformed one."""
    good = well_formed_diffs(head, now)
    diffs = mostly(good, edge_diffs(head, now), malformed_diffs(head, now), weight=14)
    return st.lists(diffs, min_size=1, max_size=most)


FIRST_PUSH: dict[str, Any] = {
    "device": "phone",
    "push_id": 1,
    "diffs": [
        {
            "id": f"first-{object_id}",
            "logical_clock": 0,
            "utc_timestamp": START,
            "type": "create",
            "model": "tasks",
            "json_data": {"id": object_id, "title": "", "done": False},
        }
        for object_id in ("t1", "t2")
    ],
    "now": START,
    "again": False,
    "polled": False,
}
"""With two objects to begin with, most histories have something to disagree about."""


@st.composite
def histories(draw: st.DrawFn, *, most_pushes: int = 10) -> list[dict[str, Any]]:
    """What several devices of one user send one after the other, as arguments of `ModelHub.push`.

    Of the pushes some are sent twice, some sent `again`, some polled; the hub's clock goes on.
    """
    steps = [FIRST_PUSH] if draw(st.sampled_from((True, True, True, False))) else []
    last_push_ids = {**dict.fromkeys(DEVICES, 0), "phone": len(steps)}
    head, now = len(steps), START
    for _ in range(draw(st.integers(1, most_pushes))):
        now += draw(st.sampled_from((0, 0, 0, 1, 1, 2, MAX_AHEAD_MS * 2)))
        device = draw(st.sampled_from((*DEVICES, *DEVICES, POLLER)))
        push_id = last_push_ids.get(device, 0) + draw(st.sampled_from((1, 1, 1, 1, 2, 0)))
        polled = device == POLLER
        steps.append(
            {
                "device": device,
                "push_id": push_id,
                "diffs": draw(pushes(head, now)),
                "now": now,
                "again": not polled and draw(st.sampled_from((False, False, False, True))),
                "polled": polled,
            }
        )
        if polled or push_id > last_push_ids[device]:
            head += 1
            last_push_ids[device] = push_id
    return steps
