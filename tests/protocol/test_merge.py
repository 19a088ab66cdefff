"""Section 4 of docs/protocol.md: its tables row by row, its sentences one by one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol.diffs import Diff, Fields, Key, Object, Stamp, Tombstone, json_size
from protocol.merge import Outcome, Refusal, Terms, decide
from tests.model import strategies
from tests.protocol.ledger import MINUTE, NOW, T1, Ledger, edit


def types(outcome: Outcome) -> list[str]:
    return [diff.type for diff in outcome.diffs]


def codes(outcome: Outcome) -> list[str]:
    return [rejection.code for rejection in outcome.rejected]


def lost(outcome: Outcome) -> list[dict[str, int]]:
    return [loss.fields for loss in outcome.lost]


def with_task(**fields: Any) -> Ledger:
    """A hub on which the phone has made t1 at clock 1."""
    ledger = Ledger()
    ledger.send("phone", edit("create", fields))
    return ledger


def with_deleted_task(*, at: int = NOW) -> Ledger:
    """A hub on which the phone made t1 at clock 1 and deleted it at clock 2."""
    ledger = with_task(title="Milk")
    ledger.send("phone", edit("delete", base=1, at=at))
    return ledger


# The first table of section 4, row by row


def test_a_create_of_an_unknown_object_creates_it() -> None:
    ledger = Ledger()
    outcome = ledger.send("phone", edit("create", {"title": "Milk"}))
    assert (types(outcome), outcome.differs) == (["create"], False)
    stamps = {"title": Stamp(1, NOW, "phone")}
    fields = {"id": "t1", "title": "Milk"}
    assert ledger.held == {T1: Object(1, 1, fields, stamps, json_size(fields))}


def test_a_create_of_a_deleted_object_whose_base_has_seen_the_delete_creates_it_anew() -> None:
    ledger = with_deleted_task()
    outcome = ledger.send("laptop", edit("create", {"done": True}, base=2, at=0))
    assert (types(outcome), outcome.differs) == (["create"], False)
    assert ledger.task() == {"done": True}


def test_a_create_by_the_device_that_deleted_the_object_creates_it_anew() -> None:
    assert types(with_deleted_task().send("phone", edit("create", base=1, at=0))) == ["create"]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("kind", ["delete of what is there", "delete without effect"])
def test_a_create_after_a_delete_in_its_own_push_creates_the_object_anew(
    kind: str, again: bool
) -> None:
    ledger = with_task() if kind == "delete of what is there" else with_deleted_task()
    edits = (edit("delete", at=0), edit("create", {"done": True}, at=0))
    outcome = ledger.send("laptop", *edits, again=again, first_clock=1)
    assert types(outcome)[-1] == "create"
    assert ledger.task() == {"done": True}


def test_a_create_later_than_the_delete_creates_the_object_anew() -> None:
    assert types(with_deleted_task().send("laptop", edit("create", at=NOW + 1))) == ["create"]


@pytest.mark.parametrize("at", [NOW - 1, NOW])
def test_a_create_not_later_than_an_unseen_delete_is_rejected(at: int) -> None:
    ledger = with_deleted_task()
    outcome = ledger.send("laptop", edit("create", base=1, at=at))
    assert (codes(outcome), types(outcome)) == (["object_deleted"], [])
    assert ledger.held[T1] == Tombstone(2, NOW, "phone")


def test_a_create_of_an_object_that_is_there_merges_and_both_keep_their_work() -> None:
    ledger = with_task(title="Milk")
    outcome = ledger.send("laptop", edit("create", {"done": True}))
    assert (types(outcome), outcome.differs) == (["update"], True)
    assert ledger.task() == {"title": "Milk", "done": True}


def test_an_update_of_an_object_that_is_there_sets_its_fields() -> None:
    ledger = with_task(title="Milk", done=False)
    outcome = ledger.send("laptop", edit("update", {"done": True}, base=1))
    assert (types(outcome), outcome.differs) == (["update"], False)
    assert ledger.task() == {"title": "Milk", "done": True}


def test_an_update_of_a_deleted_object_is_rejected_because_delete_wins() -> None:
    late = edit("update", {"done": True}, base=2, at=NOW + MINUTE)
    assert codes(with_deleted_task().send("laptop", late)) == ["object_deleted"]


def test_an_update_of_an_unknown_object_is_rejected() -> None:
    outcome = Ledger().send("phone", edit("update", {"done": True}))
    assert (codes(outcome), outcome.objects) == (["no_such_object"], {})


def test_a_delete_of_an_object_that_is_there_wins_whatever_its_timestamp() -> None:
    ledger = with_task(title="Milk")
    assert types(ledger.send("laptop", edit("delete", at=0))) == ["delete"]
    assert ledger.held[T1] == Tombstone(2, 0, "laptop")


def test_a_delete_of_a_deleted_object_has_no_effect() -> None:
    ledger = with_deleted_task()
    outcome = ledger.send("laptop", edit("delete", at=NOW + 5))
    assert (types(outcome), codes(outcome), outcome.differs) == ([], [], True)
    assert ledger.held[T1] == Tombstone(2, NOW, "phone")


def test_a_delete_of_an_unknown_object_has_no_effect() -> None:
    outcome = Ledger().send("phone", edit("delete"))
    assert (types(outcome), codes(outcome), outcome.objects) == ([], [], {})


# Field by field


def test_a_value_that_the_device_had_seen_is_replaced_whatever_the_timestamp() -> None:
    ledger = with_task(title="Milk")
    assert lost(ledger.send("laptop", edit("update", {"title": "Tea"}, base=1, at=0))) == []
    assert ledger.task() == {"title": "Tea"}


def test_a_value_set_earlier_in_the_push_is_replaced_whatever_the_timestamp() -> None:
    ledger = with_task(title="Milk")
    first = edit("update", {"title": "Tea"}, base=0, at=NOW)
    second = edit("update", {"title": "Rum"}, base=0, at=0)
    assert lost(ledger.send("laptop", first, second)) == []
    assert ledger.task() == {"title": "Rum"}


def test_a_value_set_by_the_same_device_is_replaced_because_its_own_order_decides() -> None:
    ledger = with_task(title="Milk")
    assert lost(ledger.send("phone", edit("update", {"title": "Tea"}, at=0))) == []


@pytest.mark.parametrize("how", ["again", "polled"])
def test_the_same_device_may_lose_to_itself_in_a_push_sent_again_or_polled(how: str) -> None:
    ledger = Ledger()
    device = "mobync" if how == "polled" else "phone"
    ledger.send(device, edit("create", {"title": "Milk"}), polled=how == "polled")
    late = edit("update", {"title": "Tea"}, at=0)
    outcome = ledger.send(device, late, **{how: True})
    assert lost(outcome) == [{"title": 1}]


@pytest.mark.parametrize(("at", "winner"), [(NOW - 1, "Milk"), (NOW, "Tea"), (NOW + 1, "Tea")])
def test_of_two_unseen_values_the_newer_wins_and_a_tie_goes_to_the_later_arrival(
    at: int, winner: str
) -> None:
    ledger = with_task(title="Milk")
    ledger.send("laptop", edit("update", {"title": "Tea"}, at=at))
    assert ledger.task() == {"title": winner}


def test_a_field_that_loses_is_named_with_the_clock_that_won_and_the_rest_is_kept() -> None:
    ledger = with_task(title="Milk", done=False)
    ledger.send("phone", edit("update", {"title": "Rum"}, base=1))
    late = edit("update", {"title": "Tea", "note": "!"}, at=NOW - 1)
    outcome = ledger.send("laptop", late)
    assert (lost(outcome), types(outcome), outcome.differs) == ([{"title": 2}], ["update"], True)
    assert outcome.diffs[0].json_data == {"id": "t1", "note": "!"}
    kept_beside = outcome.refused[0].diff
    assert kept_beside.json_data == {"id": "t1", "title": "Tea"}


def test_a_diff_that_loses_all_its_fields_is_dropped_from_the_effective_push() -> None:
    outcome = with_task(title="Milk").send("laptop", edit("update", {"title": "Tea"}, at=0))
    assert (types(outcome), lost(outcome), outcome.objects) == ([], [{"title": 1}], {})


def test_a_kept_value_has_this_clock_and_the_greater_of_the_two_timestamps() -> None:
    ledger = with_task(title="Milk")
    ledger.send("laptop", edit("update", {"title": "Tea"}, base=1, at=NOW - 5))
    held = ledger.held[T1]
    assert isinstance(held, Object)
    assert held.stamps == {"title": Stamp(2, NOW, "laptop")}


def test_a_field_never_set_has_clock_0() -> None:
    assert lost(with_task().send("laptop", edit("update", {"done": True}, at=0))) == []


def test_an_object_created_anew_starts_afresh() -> None:
    ledger = with_task(title="Milk", done=False)
    ledger.send("laptop", edit("delete", base=1), edit("create", {"title": "Tea"}))
    held = ledger.held[T1]
    assert isinstance(held, Object)
    assert (held.created, held.stamps) == (2, {"title": Stamp(2, NOW, "laptop")})


def test_a_base_above_the_head_counts_as_the_head() -> None:
    ledger = with_task(title="Milk")
    ledger.send("laptop", edit("update", {"title": "Tea"}, base=10**6))
    outcome = ledger.send("desk", edit("update", {"title": "Rum"}, base=1, at=0))
    assert lost(outcome) == [{"title": 2}]


def test_a_clock_that_runs_ahead_cannot_win_for_ever() -> None:
    ledger = Ledger()
    outcome = ledger.send("phone", edit("create", {"title": "Milk"}, at=NOW + 10 * MINUTE))
    assert outcome.diffs[0].utc_timestamp == NOW + MINUTE
    ledger.send("laptop", edit("update", {"title": "Tea"}, at=NOW + MINUTE))
    assert ledger.task() == {"title": "Tea"}


# The rest of the push


def test_a_refused_part_never_stops_the_rest_of_the_push() -> None:
    outcome = Ledger().send("phone", None, edit("update"), edit("create"))
    assert (codes(outcome), types(outcome)) == (["invalid_diff", "no_such_object"], ["create"])
    assert [rejection.index for rejection in outcome.rejected] == [0, 1]


def test_a_diff_that_changes_no_field_is_dropped() -> None:
    outcome = with_task(title="Milk").send("laptop", edit("update", base=1))
    assert (types(outcome), outcome.differs, outcome.objects) == ([], True, {})


def test_of_a_delete_more_than_the_id_is_ignored() -> None:
    outcome = with_task().send("laptop", edit("delete", {"title": "Milk"}))
    assert (outcome.diffs[0].json_data, outcome.differs) == ({"id": "t1"}, False)


def test_a_rejected_diff_is_named_by_its_id_where_it_has_one() -> None:
    nameless: list[Any] = ["x", {"id": "x" * 65}, {"id": ""}, {"id": 5}, {"id": "\ud800"}]
    outcome = Ledger().send("phone", {"id": "e1"}, *nameless)
    assert [rejection.id for rejection in outcome.rejected] == ["e1", *[None] * len(nameless)]


def test_an_object_may_be_as_large_as_allowed_and_no_larger() -> None:
    fields = {"id": "t1", "title": "é" * 10}
    ledger = Ledger(max_object_bytes=json_size(fields))
    assert codes(ledger.send("phone", edit("create", {"title": "é" * 10 + "e"}))) == ["too_large"]
    assert codes(ledger.send("phone", edit("create", {"title": "é" * 10}))) == []


def test_an_update_that_would_make_its_object_too_large_is_rejected_whole() -> None:
    ledger = Ledger(max_object_bytes=50)
    ledger.send("phone", edit("create", {"title": "Milk"}))
    outcome = ledger.send("laptop", edit("update", {"title": "Tea", "note": "x" * 50}, base=1))
    assert (codes(outcome), lost(outcome)) == (["too_large"], [])
    assert ledger.task() == {"title": "Milk"}


def test_an_object_edited_ten_thousand_times_does_not_count_as_larger_than_it_is() -> None:
    ledger = Ledger(max_object_bytes=60)
    ledger.send("phone", edit("create", {"n": 0}))
    for n in range(10_000):
        assert codes(ledger.send("phone", edit("update", {"n": n}, base=n))) == []


# An application's own rules, and tokens that only read


def refuse_deletes(user: str, diff: Diff, current: Fields | None) -> Refusal | None:
    assert user == "alice"
    return Refusal("keep", "it is kept") if diff.type == "delete" and current else None


def test_what_the_operators_rules_refuse_is_rejected_with_their_code_and_changes_nothing() -> None:
    ledger = with_task(title="Milk")
    outcome = ledger.send("laptop", edit("delete"), edit("update", {"n": 1}), policy=refuse_deletes)
    assert [(r.index, r.code, r.message) for r in outcome.rejected] == [(0, "keep", "it is kept")]
    assert ledger.task() == {"title": "Milk", "n": 1}


def test_the_default_code_of_a_rule_is_forbidden() -> None:
    outcome = Ledger().send("phone", edit("create"), policy=lambda *_: Refusal())
    assert codes(outcome) == ["forbidden"]


def test_a_rule_sees_each_object_as_it_stands_after_the_diffs_before() -> None:
    seen: list[Any] = []

    def note(_user: str, _diff: Diff, current: Fields | None) -> Refusal | None:
        seen.append(None if current is None else dict(current))
        return None

    task = {"id": "t1", "title": "Milk"}
    edits = (edit("create", {"title": "Milk"}), edit("delete"), edit("create"))
    Ledger().send("phone", *edits, policy=note)
    assert seen == [None, task, None]


def test_a_rule_cannot_change_the_object_that_it_is_shown() -> None:
    def meddle(_user: str, _diff: Diff, current: Any) -> Refusal | None:
        current["title"] = "mine"
        return None

    ledger = with_task(title="Milk")
    outcome = ledger.send("laptop", edit("update", {"done": True}), policy=meddle)
    assert (codes(outcome), ledger.task()) == (["policy_error"], {"title": "Milk"})


@pytest.mark.parametrize("answer", [True, "no", Refusal], ids=["true", "text", "class"])
def test_a_rule_that_answers_neither_none_nor_a_refusal_is_in_error(answer: Any) -> None:
    outcome = Ledger().send("phone", edit("create"), policy=lambda *_: answer)
    assert codes(outcome) == ["policy_error"]


def test_a_rule_that_raises_refuses_that_diff_alone() -> None:
    def stumble(_user: str, diff: Diff, _current: Fields | None) -> Refusal | None:
        if diff.json_data["n"] == 1:
            raise ZeroDivisionError
        return None

    ledger = Ledger()
    outcome = ledger.send(
        "phone", edit("create", {"n": 1}), edit("create", {"n": 2}), policy=stumble
    )
    assert (codes(outcome), ledger.task()) == (["policy_error"], {"n": 2})
    assert "ZeroDivisionError" in outcome.rejected[0].message


def test_a_delete_that_is_refused_does_not_tell_that_the_device_knows() -> None:
    ledger = with_deleted_task()
    refused = {**edit("delete"), "utc_timestamp": -1}
    outcome = ledger.send("laptop", refused, edit("create", at=NOW))
    assert codes(outcome) == ["invalid_diff", "object_deleted"]


def test_all_diffs_of_a_token_that_only_reads_are_forbidden() -> None:
    outcome = with_task().send("laptop", edit("update", {"n": 1}), edit("delete"), read_only=True)
    assert (codes(outcome), outcome.objects) == (["forbidden", "forbidden"], {})


# A push sent again (section 5)


def test_what_the_log_holds_is_left_out_with_effect_or_not() -> None:
    ledger = Ledger()
    edits = [edit("create", {"title": "Milk"}), {**edit("delete"), "model": "x"}, {"id": "bad"}]
    ledger.send("phone", *edits)
    outcome = ledger.send("phone", *edits, edit("update", {"n": 1}), again=True)
    assert (types(outcome), codes(outcome), outcome.differs) == (["update"], [], True)


def test_the_log_keeps_the_id_of_every_diff_of_a_push() -> None:
    outcome = Ledger().send(
        "phone", edit("create", name="a"), edit("create", name="b"), {"id": "c"}, {"id": 5}
    )
    assert list(outcome.ids) == ["a", "b", "c"]


def test_a_base_before_the_first_clock_of_the_log_is_too_old() -> None:
    """A base of 2 with a log from 3 on is not: what was pushed since is all still there."""
    diffs = [edit("create", base=1), edit("create", {"n": 1}, base=2)]
    outcome = Ledger().send("phone", *diffs, again=True, first_clock=3)
    assert (codes(outcome), types(outcome)) == (["too_old"], ["create"])
    assert codes(Ledger().send("phone", *diffs, first_clock=3)) == []


def test_a_device_put_back_does_not_undo_its_own_newer_delete() -> None:
    """It deleted t1 after the copy was taken: in the copy it does not know that."""
    older = edit("create", {"title": "Milk"}, base=1, at=NOW - 1)
    assert codes(with_deleted_task().send("phone", older, again=True)) == ["object_deleted"]


# STORIES


def test_story_4_the_same_edits_sent_again_change_nothing() -> None:
    edits = [
        edit("create", {"title": "a"}),
        edit("update", {"title": "b"}, at=NOW + 1),
        edit("delete", at=NOW + 2),
    ]
    ledger = Ledger()
    ledger.send("phone", *edits)
    ledger.send("laptop", edit("create", {"title": "c"}, base=1))
    assert ledger.send("phone", *edits, again=True).objects == {}
    assert ledger.task() == {"title": "c"}


def test_story_7_a_slow_clock_does_not_lose_to_itself() -> None:
    """The first edit inherits the timestamp T of the fast clock; the second is older than T."""
    ledger = Ledger()
    ledger.send("laptop", edit("create", {"title": ""}, at=NOW + 2000))
    ledger.send("phone", edit("update", {"title": "x"}, base=1, at=NOW))
    assert lost(ledger.send("phone", edit("update", {"title": "xy"}, base=1, at=NOW + 1))) == []


def test_story_7_a_fast_clock_creates_anew_what_it_deleted_at_the_same_clamped_time() -> None:
    ledger = with_task(title="Milk")
    ledger.send("laptop", edit("delete", at=NOW + 2 * MINUTE))
    assert types(ledger.send("laptop", edit("create", at=NOW + 2 * MINUTE + 1))) == ["create"]


def test_story_10_a_create_and_a_delete_of_what_is_there_do_not_cancel_out() -> None:
    ledger = with_task(title="Milk")
    edits = (edit("create", {"title": "Tea"}), edit("delete"))
    assert types(ledger.send("laptop", *edits)) == ["update", "delete"]


@pytest.mark.parametrize("poison", ["\ud800", float("inf"), 10**400, strategies.nested(900)])
@pytest.mark.parametrize("place", ["id", "model", "utc_timestamp", "title"])
def test_story_12_a_poison_pill_is_refused_by_itself_and_can_be_kept(
    place: str, poison: Any
) -> None:
    bad = edit("create", {"title": poison} if place == "title" else {})
    if place != "title":
        bad[place] = poison
    outcome = Ledger().send("phone", bad, edit("create", {"done": True}))
    assert (codes(outcome), types(outcome)) == (["invalid_diff"], ["create"])
    assert msgspec.json.decode(msgspec.json.encode(outcome.refused))[0]["index"] == 0
    msgspec.json.encode(outcome.rejected)


def test_story_12_a_thousand_brackets_cannot_fail_the_transaction_of_others() -> None:
    """The JSON just about read cannot be written a few calls deeper, where the log is."""
    bottomless: list[Any] = []
    for _ in range(100_000):
        bottomless = [bottomless]
    outcome = Ledger().send("phone", bottomless)
    assert outcome.refused[0].diff == "nested too deep to be kept"
    while bottomless:  # a list this deep cannot be let go at once
        bottomless = bottomless.pop()


def test_a_refused_diff_is_kept_as_it_came() -> None:
    odd = {"id": "e1", "type": "upsert", "owner": None}
    outcome = Ledger().send("phone", odd, edit("update", name="e2"))
    assert outcome.refused[0].diff == odd
    assert outcome.refused[1].diff["id"] == "e2"


def test_story_15_a_phone_put_back_does_not_overwrite_its_own_newer_edit() -> None:
    ledger = with_task(title="")
    ledger.send("phone", edit("update", {"title": "newer"}, base=1, at=NOW + 2))
    older = edit("update", {"title": "older"}, base=1, at=NOW + 1)
    assert lost(ledger.send("phone", older, again=True)) == [{"title": 2}]


def test_decide_asks_for_an_object_once_at_most_per_diff_and_knows_what_it_is_told() -> None:
    asked: list[Key] = []

    def held(key: Key) -> None:
        asked.append(key)

    terms = Terms(user="alice", device="phone", clock=1, latest=NOW)
    decide([edit("create"), edit("update", {"n": 1})], held, terms)
    assert asked == [T1]
