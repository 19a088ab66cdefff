"""mobync's own test of two devices, over HTTP: its clocks and its answers, diff for diff.

The scenario is that of the released Python package (tests/test_client_integration.py there).
"""

import json
from typing import Any

import pytest

from tests.hub.http.served import ServedHub

OWNER = "asdf"


def edit(number: int, at: int, kind: str, **fields: str) -> dict[str, Any]:
    return {
        "id": str(number),
        "owner": OWNER,
        "logical_clock": 0,
        "utc_timestamp": 1604114123000 + at,
        "type": kind,
        "model": "model1",
        "json_data": json.dumps(fields, separators=(",", ":")),
    }


EDIT_1 = edit(1, 775, "create", id="uuid1", field1="a")
EDIT_2 = edit(2, 776, "create", id="uuid2", field1="b")
EDIT_3 = edit(3, 777, "create", id="uuid3", field1="c")
EDIT_4 = edit(4, 778, "update", id="uuid1", field1="x")
EDIT_5 = edit(5, 779, "delete", id="uuid3")


def stored(diff: dict[str, Any], clock: int) -> dict[str, Any]:
    """A diff as it is handed out: its own clock counts from 0."""
    return {**diff, "logical_clock": clock - 1}


STEPS = [
    # client, its clock, its edits; the clock and the diffs that it is told
    (1, 0, [EDIT_1], 1, []),
    (2, 0, [EDIT_3], 2, [stored(EDIT_1, 1)]),
    (1, 1, [EDIT_2], 3, [stored(EDIT_3, 2)]),
    (2, 2, [], 3, [stored(EDIT_2, 3)]),
    (2, 3, [EDIT_4], 4, []),
    (1, 3, [], 4, [stored(EDIT_4, 4)]),
    (1, 4, [EDIT_5], 5, []),
    (2, 4, [], 5, [stored(EDIT_5, 5)]),
]


async def test_two_polling_devices_are_told_what_mobync_tells_them(served: ServedHub) -> None:
    for _client, clock, edits, head, told in STEPS:
        request = {"auth_token": OWNER, "logical_clock": clock, "diffs": edits}
        reply = await served.ask("POST", "/sync", json=request)
        expected = {"success": True, "message": "", "logical_clock": head, "diffs": told}
        assert (reply.status, reply.json) == (200, expected)


async def test_a_newcomer_is_told_all_that_was_stored(served: ServedHub) -> None:
    for _client, clock, edits, _head, _told in STEPS:
        await served.post({"auth_token": OWNER, "logical_clock": clock, "diffs": edits})
    answer = await served.post({"auth_token": OWNER, "logical_clock": 0, "diffs": []})
    edits = [EDIT_1, EDIT_3, EDIT_2, EDIT_4, EDIT_5]
    assert answer["diffs"] == [stored(diff, clock) for clock, diff in enumerate(edits, 1)]


@pytest.mark.timeout(20)
async def test_a_live_device_hears_at_once_what_polling_devices_push(served: ServedHub) -> None:
    async with served.live_device(OWNER) as phone:
        for _client, clock, edits, head, _told in STEPS:
            await served.post({"auth_token": OWNER, "logical_clock": clock, "diffs": edits})
            if edits:
                heard = await phone.hear()
                assert (heard["type"], heard["logical_clock"]) == ("changes", head)
                assert heard["device"] == "mobync"
                assert heard["diffs"] == [as_heard(diff) for diff in edits]


def as_heard(diff: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "utc_timestamp", "type", "model")
    return {**{name: diff[name] for name in names}, "json_data": json.loads(diff["json_data"])}


async def test_a_polling_device_is_told_what_a_live_device_pushes(served: ServedHub) -> None:
    async with served.live_device(OWNER) as phone:
        diff = {**as_heard(EDIT_1), "logical_clock": 0}
        await phone.say(type="push", push_id=1, diffs=[diff])
        assert (await phone.hear())["type"] == "ack"
    answer = await served.post({"auth_token": OWNER, "logical_clock": 0, "diffs": []})
    assert answer["diffs"] == [stored(EDIT_1, 1)]


async def test_the_mobync_server_s_order_of_keys_is_kept(served: ServedHub) -> None:
    await served.post({"auth_token": OWNER, "logical_clock": 0, "diffs": [EDIT_1]})
    answer = await served.post({"auth_token": OWNER, "logical_clock": 0, "diffs": []})
    assert list(answer) == ["success", "message", "logical_clock", "diffs"]
    assert list(answer["diffs"][0]) == list(EDIT_1)
