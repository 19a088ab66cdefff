"""What the hub decides, against the model that was written from the text alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from protocol.diffs import Key, Object, Stamp, Tombstone, json_size
from tests.model import strategies
from tests.model.hub import ModelHub, is_well_formed
from tests.protocol.ledger import Ledger, folded, without_sizes

if TYPE_CHECKING:
    from protocol.merge import Outcome
    from protocol.messages import Rejected


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Every kind of diff that a frame can hold, those among them that are JSON but not I-JSON."""
    poison = st.lists(strategies.unspeakable_diffs(), max_size=1)
    return [
        {**step, "diffs": [*draw(poison), *step["diffs"]]} for step in draw(strategies.histories())
    ]


def shown(outcome: Outcome | None) -> Any:
    """An outcome as the model says it; the order of fields counts, true is not 1."""
    if outcome is None:
        return None
    return json.dumps(
        {
            "diffs": msgspec.to_builtins(outcome.diffs),
            "lost": msgspec.to_builtins(outcome.lost),
            "rejected": [without_message(rejection) for rejection in outcome.rejected],
            "differs": outcome.differs,
        }
    )


def without_message(rejection: Rejected) -> dict[str, Any]:
    assert rejection.message
    return {"index": rejection.index, "id": rejection.id, "code": rejection.code}


def shown_by_model(stored: dict[str, Any] | None) -> Any:
    if stored is None:
        return None
    return json.dumps({name: stored[name] for name in ("diffs", "lost", "rejected", "differs")})


def held_by_model(model: ModelHub) -> dict[Key, Any]:
    """What the model's histories say, in the product's records; sizes are left out."""
    held: dict[Key, Any] = {
        key: Tombstone(t["logical_clock"], t["utc_timestamp"], t["device"])
        for key, t in model.tombstones().items()
    }
    for key, there in model.objects().items():
        fields = there["fields"]
        writes = {name: model._writes(key, name) for name in fields if name != "id"}
        stamps = {
            name: Stamp(w[-1].clock, max(e.timestamp for e in w), w[-1].device)
            for name, w in writes.items()
        }
        created = model._life(key)[0].clock
        held[key] = Object(created, there["logical_clock"], fields, stamps, 0)
    return held


@given(histories())
def test_every_outcome_and_every_object_is_what_the_text_says(
    history: list[dict[str, Any]],
) -> None:
    model, ledger = ModelHub(), Ledger()
    for step in history:
        assert shown(ledger.push(**step)) == shown_by_model(model.push(**step))
        assert without_sizes(ledger.held) == held_by_model(model)


@given(histories(), st.sets(st.integers(0, 9)))
def test_a_hub_that_folds_its_log_again_after_every_crash_decides_alike(
    history: list[dict[str, Any]], crashes: set[int]
) -> None:
    steady, crashing = Ledger(), Ledger()
    written = 0
    objects: dict[Key, Any] = {}
    for number, step in enumerate(history):
        assert shown(steady.push(**step)) == shown(crashing.push(**step))
        if number in crashes:
            crashing.held = folded(crashing.log[written:], objects)
            assert without_sizes(crashing.held) == without_sizes(steady.held)
            objects, written = dict(crashing.held), len(crashing.log)
    assert without_sizes(folded(steady.log)) == without_sizes(steady.held)


@st.composite
def wordy_histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Edits with texts of which a few fill an object."""
    sizes = st.dictionaries(st.sampled_from("abc"), st.integers(0, 40), max_size=3)

    def wordy(diff: Any) -> Any:
        if not is_well_formed(diff):
            return diff
        texts = {name: "é" * length for name, length in draw(sizes).items()}
        return {**diff, "json_data": {"id": "t1", **texts}}

    return [
        {**step, "diffs": [wordy(diff) for diff in step["diffs"]]}
        for step in draw(strategies.histories())
    ]


@given(wordy_histories())
def test_what_is_too_large_is_so_by_its_bytes_however_it_came_about(
    history: list[dict[str, Any]],
) -> None:
    model, ledger = ModelHub(max_object_bytes=150), Ledger(max_object_bytes=150)
    for step in history:
        assert shown(ledger.push(**step)) == shown_by_model(model.push(**step))
        ledger.held = folded(ledger.log)
        for held in ledger.held.values():
            assert isinstance(held, Tombstone) or held.size >= json_size(held.fields)
