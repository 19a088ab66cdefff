"""The words of mobync's clients: requests as edits, and what the log says as an answer."""

import itertools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from protocol.diffs import MAX_DEPTH, MAX_INTEGER, Held, Key, Place
from protocol.errors import BadMessage
from protocol.history import History
from protocol.merge import Terms, decide
from protocol.messages import Lost, Rejected, encode_diffs
from protocol.mobync import (
    MOST_TOLD,
    Request,
    View,
    answer,
    decode_request,
    edits_of,
    failure,
    hear,
    hear_all,
)

NOW = 1_790_000_000_000
MINUTE = 60_000
Json = dict[str, Any]

_numbers = itertools.count(1)


def diff(kind: str, name: str = "x", *, at: int = NOW, called: str = "", **fields: Any) -> Json:
    """A diff as a polling client sends it."""
    return {
        "id": called or f"d{next(_numbers)}",
        "owner": "a constant",
        "logical_clock": 7,
        "utc_timestamp": at,
        "type": kind,
        "model": "tasks",
        "json_data": json.dumps({"id": name, **fields}),
    }


class Row(NamedTuple):
    clock: int
    device: str
    diffs: bytes
    lost: Sequence[Lost]
    rejected: Sequence[Rejected]


class Hub:
    """One user's log and objects, decided by the product."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.held: dict[Key, Held] = {}
        self.read_only = False

    @property
    def head(self) -> int:
        return len(self.rows)

    def push(self, device: str, diffs: Sequence[Any], **terms: Any) -> None:
        clock = self.head + 1
        usual = {"user": "ada", "device": device, "clock": clock, "latest": NOW + MINUTE}
        outcome = decide(diffs, self.held.get, Terms(**{**usual, **terms}))
        self.held.update(outcome.objects)
        row = Row(clock, device, encode_diffs(outcome.diffs), outcome.lost, outcome.rejected)
        self.rows.append(row)

    def phone(self, *diffs: Json, base: int | None = None) -> None:
        """A device on a socket pushes, level with the hub unless it is said otherwise."""
        base = self.head if base is None else base
        self.push("phone", [edit.value for edit in edits_of(Request(base, diffs), MAX_DEPTH)])

    def store(self, clock: int, *diffs: Any) -> None:
        """A polling client pushes, and its answer is lost."""
        values = [edit.value for edit in edits_of(Request(clock, diffs), MAX_DEPTH)]
        self.push("mobync", values, polled=True, read_only=self.read_only)

    def answer(self, clock: int, *diffs: Any, log_from: int = 0) -> Json:
        """What a polling client is told that has pushed these diffs, now or before."""
        request = Request(clock, diffs)
        edits = edits_of(request, MAX_DEPTH)
        heard = hear(edits, self.rows[clock:])
        if log_from > clock:
            changed = [key for key, held in self.held.items() if held.clock > clock]
            heard = hear_all(edits, self.rows[log_from:], changed)
        told: Json = json.loads(answer(request, edits, View("ada", self.head, heard, self.held)))
        return told

    def poll(self, clock: int, *diffs: Any) -> Json:
        self.store(clock, *diffs)
        return self.answer(clock, *diffs)


@pytest.fixture
def hub() -> Hub:
    return Hub()


def told(answer: Json) -> list[tuple[str, Json]]:
    return [(each["type"], json.loads(each["json_data"])) for each in answer["diffs"]]


# What a client says


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"[]",
        b"null",
        b"{}",
        b'{"logical_clock": 0}',
        b'{"diffs": []}',
        b'{"logical_clock": -1, "diffs": []}',
        b'{"logical_clock": "0", "diffs": []}',
        b'{"logical_clock": true, "diffs": []}',
        b'{"logical_clock": 9007199254740992, "diffs": []}',
        b'{"logical_clock": NaN, "diffs": []}',
        b'{"logical_clock": 0, "diffs": {}}',
        b'{"logical_clock": 0, "diffs": null}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_request_is_a_bad_message(body: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_request(body)


def test_a_request_may_have_fields_that_nobody_knows() -> None:
    request = decode_request(b'{"logical_clock": 3, "diffs": [1], "auth_token": "t", "more": {}}')
    assert request == Request(3, [1], "t")


def test_the_base_of_every_edit_is_the_clock_of_the_request() -> None:
    edits = edits_of(Request(41, [diff("create"), diff("delete")]), MAX_DEPTH)
    assert [edit.value["logical_clock"] for edit in edits] == [41, 41]  # type: ignore[index]


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ([5, 5, 5], [5, 6, 7]),
        ([5, 5, 6], [5, 6, 7]),
        ([5, 5, 6, 9], [5, 6, 7, 9]),
        ([5, 3], [5, 3]),
        ([5, 5, 3, 3], [5, 6, 3, 4]),
        ([0, 0], [0, 1]),
        ([-1, -1], [-1, -1]),
        ([MAX_INTEGER, MAX_INTEGER], [MAX_INTEGER, MAX_INTEGER]),
    ],
)
def test_equal_timestamps_of_one_request_are_raised(sent: list[int], meant: list[int]) -> None:
    request = Request(0, [diff("update", at=at, n=1) for at in sent])
    values: list[Any] = [edit.value for edit in edits_of(request, MAX_DEPTH)]
    assert [value["utc_timestamp"] for value in values] == meant


@pytest.mark.parametrize(
    "flawed",
    [
        {"json_data": {"id": "x"}},
        {"json_data": "no JSON"},
        {"json_data": "[]"},
        {"json_data": '{"name": "without id"}'},
        {"json_data": '{"id": "x", "n": 1e400}'},
        {"json_data": '{"id": "x", "n": 9007199254740992}'},
        {"json_data": '{"id": "x", "half": "\\ud800"}'},
        {"json_data": '{"id": "x", "deep": ' + "[" * 70 + "]" * 70 + "}"},
        {"json_data": None},
        {"type": "upsert"},
        {"model": ""},
        {"model": 5},
        {"utc_timestamp": "today"},
        {"utc_timestamp": -1},
        {"id": "x" * 65},
    ],
)
def test_a_flawed_diff_is_refused_by_itself(hub: Hub, flawed: Json) -> None:
    good = diff("create", "good", n=1)
    answer = hub.poll(0, {**diff("create", called="bad"), **flawed}, good)
    assert "invalid_diff" in answer["message"]
    assert answer["logical_clock"] == 1
    assert set(hub.held) == {("tasks", "good")}


@pytest.mark.parametrize("flawed", [None, 5, "text", [], {}])
def test_whatever_stands_for_a_diff_is_refused_by_itself(hub: Hub, flawed: Any) -> None:
    answer = hub.poll(0, flawed, diff("create", "good"))
    assert answer["message"].startswith("refused: a diff without an id (invalid_diff: ")
    assert set(hub.held) == {("tasks", "good")}


def test_text_that_is_no_object_is_kept_as_it_came() -> None:
    """The log keeps what was refused (section 5): it must be what the person typed."""
    texts = ["no JSON", "[1]", '"text"']
    request = Request(0, [{**diff("create"), "json_data": text} for text in texts])
    values: list[Any] = [edit.value for edit in edits_of(request, MAX_DEPTH)]
    assert [value["json_data"] for value in values] == texts


def test_of_a_name_given_twice_the_last_counts(hub: Hub) -> None:
    hub.poll(0, {**diff("create"), "json_data": '{"id": "x", "n": 1, "n": 2}'})
    assert told(hub.answer(0)) == [("create", {"id": "x", "n": 2})]


# What a client is told


def test_a_client_is_told_what_others_stored_and_not_its_own(hub: Hub) -> None:
    hub.phone(diff("create", "x", at=NOW, title="Milk", called="theirs"))
    answer = hub.poll(0, diff("create", "y"))
    assert answer == {
        "success": True,
        "message": "",
        "logical_clock": 2,
        "diffs": [
            {
                "id": "theirs",
                "owner": "ada",
                "logical_clock": 0,
                "utc_timestamp": NOW,
                "type": "create",
                "model": "tasks",
                "json_data": '{"id":"x","title":"Milk"}',
            }
        ],
    }


@pytest.mark.parametrize("log_from", [0, 9])
def test_what_a_device_gives_back_to_a_restored_hub_makes_the_row_anew(
    hub: Hub, log_from: int
) -> None:
    """A simulated world: the log has an offer as a create, which fails where the row is there.

    The client kept the old row for ever, for it was told that it was level.
    """
    hub.phone(diff("create", a=1, b=1))
    was = {"log_id": "lost", "logical_clock": 5}
    [offer] = [edit.value for edit in edits_of(Request(1, [diff("create", a=2)]), MAX_DEPTH)]
    assert isinstance(offer, dict)
    history = History("new", (Place("lost", 1),), NOW)
    hub.push("phone", [{**offer, "was": was}], history=history)
    again = hub.answer(1, log_from=log_from)
    assert told(again) == [("delete", {"id": "x"}), ("create", {"id": "x", "a": 2})]
    assert len({each["id"] for each in again["diffs"]}) == 2


def test_fields_keep_the_order_in_which_they_were_pushed(hub: Hub) -> None:
    hub.phone({**diff("create"), "json_data": '{ "z": 1, "id": "x",\n"a": {"c": 1, "b": 2.0} }'})
    assert hub.answer(0)["diffs"][0]["json_data"] == '{"z":1,"id":"x","a":{"c":1,"b":2.0}}'


def test_text_beyond_ascii_comes_as_it_is(hub: Hub) -> None:
    hub.phone(diff("create", title="Käse \U0001f9c0 \u2028"))
    assert hub.answer(0)["diffs"][0]["json_data"] == '{"id":"x","title":"Käse \U0001f9c0 \u2028"}'


def test_an_object_that_others_touched_too_comes_whole(hub: Hub) -> None:
    hub.phone(diff("create", a=1, b=1))
    hub.phone(diff("update", a=2))
    answer = hub.poll(1, diff("update", b=3))
    assert told(answer) == [("update", {"id": "x", "a": 2, "b": 3})]
    assert answer["diffs"][0]["logical_clock"] == answer["logical_clock"] - 1


def test_an_object_that_others_made_meanwhile_is_replaced(hub: Hub) -> None:
    hub.phone(diff("create", a=1))
    answer = hub.poll(0, diff("create", b=2))
    assert told(answer) == [("delete", {"id": "x"}), ("create", {"id": "x", "a": 1, "b": 2})]
    first, second = answer["diffs"]
    assert first["utc_timestamp"] < second["utc_timestamp"]
    assert len({first["id"], second["id"]}) == 2


def test_an_object_made_anew_leaves_nothing_of_the_first_behind(hub: Hub) -> None:
    """Story 11: P updates y, which W deleted and made anew."""
    hub.phone(diff("create", "y", old=1, kept=1))
    hub.phone(diff("delete", "y"))
    hub.phone(diff("create", "y", new=2))
    answer = hub.poll(1, diff("update", "y", kept=3))
    row = {"id": "y", "new": 2, "kept": 3}
    assert told(answer) == [("delete", {"id": "y"}), ("create", row)]


def test_a_row_made_where_others_deleted_unseen_is_not_removed(hub: Hub) -> None:
    """Story 11: P creates y, which W created and deleted unseen."""
    hub.phone(diff("create", "y", at=NOW))
    hub.phone(diff("delete", "y", at=NOW + 1))
    answer = hub.poll(0, diff("create", "y", at=NOW + 2, mine=1))
    assert told(answer) == [("delete", {"id": "y"}), ("create", {"id": "y", "mine": 1})]


def test_a_retry_does_not_bring_old_values_back(hub: Hub) -> None:
    """Story 11: P's request is stored, its answer lost."""
    hub.phone(diff("create", "y", n=0))
    hub.phone(diff("update", "y", n=1, at=NOW))
    mine = diff("update", "y", n=2, at=NOW + 1)
    hub.store(1, mine)
    assert told(hub.answer(1, mine)) == [("update", {"id": "y", "n": 2})]


def test_a_part_that_lost_brings_the_object_whole(hub: Hub) -> None:
    hub.phone(diff("create", n=0, m=0))
    hub.phone(diff("update", n=1, at=NOW + 5))
    assert told(hub.poll(1, diff("update", n=2, m=2))) == [("update", {"id": "x", "n": 1, "m": 2})]


def test_an_object_that_is_gone_comes_as_a_delete(hub: Hub) -> None:
    hub.phone(diff("create", n=0))
    hub.phone(diff("delete"))
    answer = hub.poll(1, diff("update", n=1, called="late"))
    assert told(answer) == [("delete", {"id": "x"})]
    assert "late (object_deleted" in answer["message"]


def test_a_row_of_an_object_that_never_was_is_removed(hub: Hub) -> None:
    answer = hub.poll(0, diff("update", n=1, called="stray"))
    assert told(answer) == [("delete", {"id": "x"})]
    assert "stray (no_such_object" in answer["message"]


def test_what_a_reader_edits_is_refused_and_taken_back(hub: Hub) -> None:
    hub.phone(diff("create", n=0))
    hub.read_only = True
    answer = hub.poll(1, diff("update", n=1, called="hers"))
    assert told(answer) == [("update", {"id": "x", "n": 0})]
    assert answer["message"] == "refused: hers (forbidden: this token may only read)"


def test_a_refused_delete_brings_the_row_back(hub: Hub) -> None:
    """An `update` would find no row."""
    hub.phone(diff("create", n=0))
    hub.read_only = True
    assert told(hub.poll(1, diff("delete")))[-1] == ("create", {"id": "x", "n": 0})


def test_a_refused_field_that_the_hub_lacks_does_not_stay_on_the_row(hub: Hub) -> None:
    """An `update` would leave it there."""
    hub.phone(diff("create", n=0))
    hub.read_only = True
    answer = hub.poll(1, diff("update", extra=1))
    assert told(answer) == [("delete", {"id": "x"}), ("create", {"id": "x", "n": 0})]


def test_an_edit_that_lost_to_an_earlier_one_of_the_same_client_is_taken_back(hub: Hub) -> None:
    """The phone's clock went back before its request, stored by then, came again."""
    hub.phone(diff("create", n=0))
    stored = diff("update", n=1, at=NOW)
    hub.store(1, stored)
    grown = [stored, diff("update", n=2, at=NOW - MINUTE)]
    hub.store(1, grown[1])
    assert told(hub.answer(1, *grown)) == [("update", {"id": "x", "n": 1})]


def test_an_edit_without_an_id_is_refused_and_taken_back(hub: Hub) -> None:
    hub.phone(diff("create", n=0))
    answer = hub.poll(1, {**diff("update", n=1), "id": ""})
    assert told(answer) == [("update", {"id": "x", "n": 0})]


def test_a_delete_that_had_been_made_before_is_nothing_new(hub: Hub) -> None:
    hub.phone(diff("create"))
    hub.phone(diff("delete"))
    assert hub.poll(2, diff("delete"))["diffs"] == []


def test_what_a_client_made_and_deleted_in_one_request_is_nothing_new(hub: Hub) -> None:
    assert hub.poll(0, diff("create"), diff("delete"))["diffs"] == []


def test_a_diff_of_another_device_with_the_same_id_is_heard(hub: Hub) -> None:
    hub.phone(diff("create", "theirs", called="1"))
    assert told(hub.poll(0, diff("create", "mine", called="1"))) == [("create", {"id": "theirs"})]


def test_refusals_are_named_again_when_the_request_comes_again(hub: Hub) -> None:
    hub.phone(diff("create", n=0))
    hub.phone(diff("delete"))
    request = [diff("update", n=1), {**diff("create"), "json_data": "no JSON"}]
    first = hub.poll(1, *request)
    assert first["message"].count(";") == 1
    assert hub.answer(1, *request) == first


def test_a_message_names_no_more_than_a_person_would_read(hub: Hub) -> None:
    answer = hub.poll(0, *(diff("update", f"x{number}", n=1) for number in range(MOST_TOLD + 7)))
    assert answer["message"].count("no_such_object") == MOST_TOLD
    assert answer["message"].endswith("; and 7 more")


def test_diffs_of_one_clock_keep_their_order_however_they_are_sorted(hub: Hub) -> None:
    """Clocks of phones go back, and a time too far ahead is clipped to that of others."""
    times = [NOW + 9 * MINUTE, NOW + 8 * MINUTE, NOW, NOW]
    hub.phone(*(diff("create", f"x{number}", at=at) for number, at in enumerate(times)))
    diffs = hub.answer(0)["diffs"]
    stamps = [each["utc_timestamp"] for each in diffs]
    assert stamps == sorted(set(stamps))
    assert [json.loads(each["json_data"])["id"] for each in diffs] == ["x0", "x1", "x2", "x3"]


def test_diffs_of_one_object_keep_their_order_however_they_are_sorted(hub: Hub) -> None:
    hub.phone(diff("create", n=0, at=NOW))
    hub.phone(diff("update", n=1, at=NOW - MINUTE))
    first, second = hub.answer(0)["diffs"]
    assert first["utc_timestamp"] < second["utc_timestamp"]


def test_diffs_of_other_objects_keep_the_timestamps_that_the_hub_compared(hub: Hub) -> None:
    hub.phone(diff("create", "x", at=NOW))
    hub.phone(diff("create", "y", at=NOW - MINUTE))
    assert [each["utc_timestamp"] for each in hub.answer(0)["diffs"]] == [NOW, NOW - MINUTE]


def test_everything_comes_whole_when_the_log_no_longer_goes_back_that_far(hub: Hub) -> None:
    hub.phone(diff("create", "old", n=0), diff("create", "gone", n=0), diff("create", "same", n=0))
    hub.phone(diff("update", "old", n=1))
    hub.phone(diff("delete", "gone"))
    hub.phone(diff("create", "new", n=2))
    answer = hub.answer(1, log_from=3)
    assert told(answer) == [
        ("update", {"id": "old", "n": 1}),
        ("delete", {"id": "gone"}),
        ("delete", {"id": "new"}),
        ("create", {"id": "new", "n": 2}),
    ]
    stamps = [each["utc_timestamp"] for each in answer["diffs"]]
    assert stamps == sorted(set(stamps))
    assert {each["logical_clock"] for each in answer["diffs"]} == {3}


def test_what_was_refused_comes_whole_when_the_log_is_gone_too(hub: Hub) -> None:
    hub.phone(diff("create", n=0))
    hub.phone(diff("create", "other"))
    hub.read_only = True
    mine = diff("update", n=1)
    hub.store(1, mine)
    assert ("update", {"id": "x", "n": 0}) in told(hub.answer(1, mine, log_from=2))


def test_a_failure_is_said_in_mobync_s_words() -> None:
    assert json.loads(failure("why")) == {"success": False, "message": "why"}


def test_a_clock_that_is_a_broken_text_is_a_bad_message() -> None:
    """A client sends half of a surrogate pair where its clock should be. That is JSON, and no text:
    the check of the request failed with an error of its own, and the client was told 500, with a
    traceback in the hub's log, instead of 400.
    """
    with pytest.raises(BadMessage):
        decode_request(b'{"auth_token": "ada", "logical_clock": "\\ud800", "diffs": []}')
