"""The stories that concern the merge, told to the model, and whatever devices send."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.model import strategies
from tests.model.hub import ModelHub, fold, has_valid_id, is_well_formed
from tests.model.scenes import MINUTE, NOW, Hub, codes, edit, hub_with, lost, types

# STORIES, as far as the merge is concerned


def test_story_4_the_same_edits_sent_again_change_nothing() -> None:
    """A create would undelete, a delete kill what was made anew, an old value win a tie."""
    hub = Hub()
    edits = [
        edit("create", {"title": "a"}, name="e1"),
        edit("update", {"title": "b"}, at=NOW + 1, name="e2"),
        edit("delete", at=NOW + 2, name="e3"),
    ]
    hub.send("phone", *edits)
    hub.send("laptop", edit("create", {"title": "c"}, base=1, at=NOW + 1))
    before = hub.objects()
    stored = hub.send("phone", *edits, again=True)
    assert (stored["diffs"], hub.objects()) == ([], before)


def test_story_7_a_device_with_a_slow_clock_does_not_lose_to_itself() -> None:
    hub = Hub()
    hub.send("laptop", edit("create", {"title": ""}, at=NOW + 2000))
    hub.send("phone", edit("update", {"title": "x"}, base=1, at=NOW))
    stored = hub.send("phone", edit("update", {"title": "xy"}, base=1, at=NOW + 1))
    assert stored["lost"] == []
    assert hub.task() == {"title": "xy"}


def test_story_7_a_device_with_a_fast_clock_creates_anew_what_it_deleted() -> None:
    hub = hub_with(title="Milk")
    hub.send("laptop", edit("delete", base=1, at=NOW + 2 * MINUTE))
    stored = hub.send("laptop", edit("create", {"done": 1}, base=1, at=NOW + 2 * MINUTE + 1))
    assert types(stored) == ["create"]


def test_story_10_a_create_and_a_delete_in_one_push_undo_nothing() -> None:
    hub = hub_with(title="Milk")
    stored = hub.send("laptop", edit("create", {"title": "Bread"}), edit("delete", at=NOW + 1))
    assert types(stored) == ["update", "delete"]
    assert hub.objects() == {}


def test_story_11_a_poller_creates_what_was_created_and_deleted_unseen() -> None:
    hub = Hub()
    hub.send("phone", edit("create", {"title": "theirs", "done": True}))
    hub.send("phone", edit("delete", base=1, at=NOW + 1))
    stored = hub.send("mobync", edit("create", {"title": "mine"}, at=NOW + 2))
    assert types(stored) == ["create"]
    assert hub.task() == {"title": "mine"}


def test_story_11_a_poller_updates_what_was_deleted_and_made_anew_unseen() -> None:
    hub = hub_with(title="first", note="of the first")
    hub.send("phone", edit("delete", base=1, at=NOW + 1))
    hub.send("phone", edit("create", {"title": "second"}, base=2, at=NOW + 2))
    stored = hub.send("mobync", edit("update", {"title": "polled"}, base=1, at=NOW + 3))
    assert types(stored) == ["update"]
    assert hub.task() == {"title": "polled"}


@pytest.mark.parametrize("poison", ["\ud800", float("inf"), 10**400])
def test_story_12_a_poison_pill_is_refused_by_itself(poison: Any) -> None:
    hub = Hub()
    stored = hub.send("phone", edit("create", {"title": poison}), edit("create", {"done": True}))
    assert codes(stored) == ["invalid_diff"]
    assert hub.task() == {"done": True}


def test_story_15_a_phone_that_was_put_back_does_not_overwrite_its_own_newer_edit() -> None:
    hub = hub_with(title="")
    e1 = edit("update", {"title": "older"}, base=1, at=NOW + 1, name="e1")
    e2 = edit("update", {"title": "newer"}, base=1, at=NOW + 2, name="e2")
    hub.send("phone", e2)  # e1 was folded into e2 and never sent
    stored = hub.send("phone", e1, again=True)
    assert lost(stored) == [{"title": 2}]
    assert hub.task() == {"title": "newer"}


# Whatever devices send


unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A history takes up to 0.2 s to make, on a busy machine longer; that is no fault of the model."""


def note_what_happened(stored: list[dict[str, Any]]) -> None:
    """Count, for `--hypothesis-show-statistics`, how many examples met each kind of outcome."""
    for code in sorted({code for push in stored for code in codes(push)}):
        event(f"rejected {code}")
    for what in ("lost", "diffs"):
        if any(push[what] for push in stored):
            event(what)


def replayed(history: list[dict[str, Any]], **limits: int) -> tuple[ModelHub, list[dict[str, Any]]]:
    """A hub after this history, and what it stored."""
    hub = ModelHub(**limits)
    outcomes = [hub.push(**step) for step in history]
    return hub, [stored for stored in outcomes if stored is not None]


@given(strategies.histories())
@unhurried
def test_a_device_that_applies_what_goes_out_holds_the_objects(
    history: list[dict[str, Any]],
) -> None:
    hub, stored = replayed(history, max_object_bytes=400)
    note_what_happened(stored)
    assert fold(stored) == hub.objects()
    assert not hub.objects().keys() & hub.tombstones().keys()


@given(strategies.histories(most_pushes=4))
@unhurried
def test_every_stored_push_takes_the_next_clock(history: list[dict[str, Any]]) -> None:
    hub, stored = replayed(history)
    assert [push["logical_clock"] for push in stored] == list(range(1, hub.head + 1))
    assert hub.log == stored


@given(strategies.histories())
@unhurried
def test_every_field_sent_is_kept_or_lost_and_every_diff_else_refused(
    history: list[dict[str, Any]],
) -> None:
    """No edit disappears in silence (section 5)."""
    hub = ModelHub()
    for number, step in enumerate(history):
        diffs = [named(diff, f"{number}.{at}") for at, diff in enumerate(step["diffs"])]
        stored = hub.push(**{**step, "diffs": diffs, "again": False})
        if stored is None:
            continue
        refused = {rejection["index"] for rejection in stored["rejected"]}
        lost_of = {loss["index"]: set(loss["fields"]) for loss in stored["lost"]}
        kept_of = {diff["id"]: set(diff["json_data"]) - {"id"} for diff in stored["diffs"]}
        for at, diff in enumerate(diffs):
            kept, gone = kept_of.get(f"{number}.{at}", set()), lost_of.get(at, set())
            if at in refused or diff["type"] == "delete":
                assert not kept | gone
            else:
                assert not kept & gone
                assert kept | gone == set(diff["json_data"]) - {"id"}


def named(diff: Any, name: str) -> Any:
    """The same diff under another id, so that what became of it can be told."""
    return {**diff, "id": name} if has_valid_id(diff) else diff


@given(strategies.histories())
@unhurried
def test_an_edit_that_has_seen_everything_never_loses(history: list[dict[str, Any]]) -> None:
    hub = ModelHub()
    for step in history:
        seen = [
            {**diff, "logical_clock": hub.head} if is_well_formed(diff) else diff
            for diff in step["diffs"]
        ]
        stored = hub.push(**{**step, "diffs": seen})
        if stored is not None:
            assert stored["lost"] == []


@given(st.data(), st.sampled_from(("well formed", "edge", "malformed", "unspeakable")))
def test_the_strategies_make_what_they_say(data: st.DataObject, kind: str) -> None:
    strategy = {
        "well formed": strategies.well_formed_diffs(),
        "edge": strategies.edge_diffs(),
        "malformed": strategies.malformed_diffs(),
        "unspeakable": strategies.unspeakable_diffs(),
    }[kind]
    assert is_well_formed(data.draw(strategy)) == (kind in ("well formed", "edge"))


@given(strategies.histories(most_pushes=4))
@unhurried
def test_the_model_leaves_what_it_is_given_as_it_was(history: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(history)
    hub, stored = replayed(history)
    fold(stored)
    hub.objects()
    assert history == before
