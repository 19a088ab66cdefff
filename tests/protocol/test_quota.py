"""What a user may have in all: an edit that would go beyond it is named, and the rest goes on."""

from typing import Any

from protocol.diffs import Object, Tombstone, json_size
from protocol.merge import Outcome, Room
from tests.protocol.ledger import NOW, Ledger, edit

PLENTY = 10**9


def make(name: str, **fields: Any) -> Any:
    return edit("create", {"id": name, **fields})


def change(name: str, at: int = NOW, **fields: Any) -> Any:
    return edit("update", {"id": name, **fields}, base=1 if at == NOW else 0, at=at)


def codes(outcome: Outcome) -> list[tuple[int, str]]:
    return [(rejection.index, rejection.code) for rejection in outcome.rejected]


def test_only_what_would_make_one_object_too_many_is_rejected() -> None:
    ledger = Ledger()
    room = Room(objects=2, bytes=PLENTY)
    outcome = ledger.send("phone", *(make(f"t{n}") for n in range(4)), room=room)
    assert codes(outcome) == [(2, "over_quota"), (3, "over_quota")]
    assert len(ledger.held) == 2


def test_a_deletion_makes_room_for_what_follows_it_in_the_push() -> None:
    ledger = Ledger()
    ledger.send("phone", make("t1"))
    room = Room(objects=0, bytes=PLENTY)
    outcome = ledger.send("phone", edit("delete", base=1), make("t2"), room=room)
    assert codes(outcome) == []
    kinds = {name: type(held) for (_model, name), held in ledger.held.items()}
    assert kinds == {"t1": Tombstone, "t2": Object}


def test_an_object_may_grow_by_as_many_bytes_as_there_are_and_by_no_more() -> None:
    ledger = Ledger()
    ledger.send("phone", make("t1", title=""))
    for room, fits in ((3, False), (4, True)):
        outcome = ledger.send("phone", change("t1", title="éé"), room=Room(objects=0, bytes=room))
        assert codes(outcome) == ([] if fits else [(0, "over_quota")])
    assert json_size({"title": "éé"}) - json_size({"title": ""}) == 4


def test_what_makes_an_object_smaller_always_fits_even_far_beyond_the_quota() -> None:
    ledger = Ledger()
    ledger.send("phone", make("t1", title="x" * 100))
    less = change("t1", title="x")
    outcome = ledger.send("phone", less, room=Room(objects=-5, bytes=-1_000))
    assert codes(outcome) == []


def test_what_an_edit_makes_smaller_another_of_the_push_may_fill() -> None:
    ledger = Ledger()
    ledger.send("phone", make("t1", title="x" * 100), make("t2", title=""))
    outcome = ledger.send(
        "phone",
        change("t1", title=""),
        change("t2", title="x" * 100),
        change("t1", title="x"),
        room=Room(objects=0, bytes=0),
    )
    assert codes(outcome) == [(2, "over_quota")]


def test_an_edit_that_loses_and_would_not_fit_either_is_named_once() -> None:
    ledger = Ledger()
    ledger.send("phone", make("t1", title="Milk"))
    ledger.send("laptop", change("t1", title="Tea"))
    late = change("t1", at=0, title="Rye", note="x" * 9)
    outcome = ledger.send("phone", late, room=Room(objects=0, bytes=0))
    assert (codes(outcome), outcome.lost) == ([(0, "over_quota")], [])
