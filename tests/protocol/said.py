"""What devices and hubs say, each message with its JSON (docs/protocol.md, sections 2 to 8)."""

from __future__ import annotations

import json
from typing import Any

from msgspec import Raw

from protocol.diffs import Place, read_diff
from protocol.messages import (
    Ack,
    Auth,
    Authenticated,
    Changes,
    Error,
    FromDevice,
    FromHub,
    Half,
    Hello,
    Lost,
    Ping,
    Pong,
    Push,
    PushOutcome,
    Ready,
    Received,
    Rejected,
    Snapshot,
    SnapshotObject,
    Welcome,
)
from tests.protocol.ledger import edit

STORED = '[{"id":"e1","utc_timestamp":7,"type":"create","model":"tasks","json_data":{"id":"t1"}}]'
OUTCOME = (
    '"lost":[{"index":0,"id":"e1","fields":{"n":4}}],'
    '"rejected":[{"index":1,"id":null,"code":"invalid_diff","message":"no"}]'
)
LOST = (Lost(0, "e1", {"n": 4}),)
REJECTED = (Rejected(1, None, "invalid_diff", "no"),)
LIMITS = {"max_diffs": 1000, "max_frame_bytes": 2**20}
DIFF = read_diff(edit("delete", name="e1", base=3, at=7))

DEVICE_SAYS: list[tuple[FromDevice, str]] = [
    (
        Hello(token="t", device="phone", logical_clock=0),
        (
            '{"type":"hello","token":"t","device":"phone","logical_clock":0,"log_id":null,"half":null,'
            '"epoch":null,"earlier":[]}'
        ),
    ),
    (
        Hello(token="t", device="phone", logical_clock=9, log_id="L", half=Half(0, 12)),
        (
            '{"type":"hello","token":"t","device":"phone","logical_clock":9,"log_id":"L",'
            '"half":{"from":0,"head":12},"epoch":null,"earlier":[]}'
        ),
    ),
    (
        Hello(device="phone", logical_clock=9, log_id="L", epoch="3-c", earlier=("2-b", "1-a")),
        (
            '{"type":"hello","token":"","device":"phone","logical_clock":9,"log_id":"L",'
            '"half":null,"epoch":"3-c","earlier":["2-b","1-a"]}'
        ),
    ),
    (
        Push(1, [DIFF]),
        (
            '{"type":"push","push_id":1,"diffs":[{"id":"e1","logical_clock":3,"utc_timestamp":7,'
            '"type":"delete","model":"tasks","json_data":{"id":"t1"}}]}'
        ),
    ),
    (Push(2, [None], again=True), '{"type":"push","push_id":2,"diffs":[null],"again":true}'),
    (Auth("fresh"), '{"type":"auth","token":"fresh"}'),
    (Received(41), '{"type":"received","logical_clock":41}'),
    (Ping(), '{"type":"ping"}'),
    (Ping("n"), '{"type":"ping","nonce":"n"}'),
]
HUB_SAYS: list[tuple[FromHub, str]] = [
    (
        Welcome("alice", "phone", "L", 9, 0, reset=False, server_time=5, expires=None, limits={}),
        (
            '{"type":"welcome","user":"alice","device":"phone","log_id":"L","logical_clock":9,'
            '"last_push_id":0,"reset":false,"server_time":5,"expires":null,"limits":{}}'
        ),
    ),
    (
        Welcome("alice", "phone", "L", 9, 3, reset=True, server_time=5, expires=8, limits=LIMITS),
        (
            '{"type":"welcome","user":"alice","device":"phone","log_id":"L","logical_clock":9,'
            '"last_push_id":3,"reset":true,"server_time":5,"expires":8,'
            '"limits":{"max_diffs":1000,"max_frame_bytes":1048576}}'
        ),
    ),
    (
        Welcome(
            "alice",
            "phone",
            "L",
            9,
            0,
            reset=False,
            server_time=5,
            expires=None,
            limits={},
            epoch="3-c",
            continues=(Place("K", 7), Place("J", 0)),
        ),
        (
            '{"type":"welcome","user":"alice","device":"phone","log_id":"L","logical_clock":9,'
            '"last_push_id":0,"reset":false,"server_time":5,"expires":null,"limits":{},'
            '"epoch":"3-c","continues":[{"log_id":"K","logical_clock":7},'
            '{"log_id":"J","logical_clock":0}]}'
        ),
    ),
    (
        Changes(9, "desk", Raw(STORED.encode())),
        f'{{"type":"changes","logical_clock":9,"device":"desk","diffs":{STORED}}}',
    ),
    (Ack(1, 9), '{"type":"ack","push_id":1,"logical_clock":9}'),
    (
        Ack(1, 9, Raw(STORED.encode()), LOST, REJECTED),
        f'{{"type":"ack","push_id":1,"logical_clock":9,"diffs":{STORED},{OUTCOME}}}',
    ),
    (Ack(1, 9, Raw(b"[]")), '{"type":"ack","push_id":1,"logical_clock":9,"diffs":[]}'),
    (
        Snapshot(
            9,
            [
                SnapshotObject("tasks", 4, Raw(b'{"id":"t1"}')),
                SnapshotObject("tasks", 5, id="t2", deleted=True),
            ],
            head=12,
            remaining=70,
        ),
        (
            '{"type":"snapshot","logical_clock":9,"objects":['
            '{"model":"tasks","logical_clock":4,"json_data":{"id":"t1"}},'
            '{"model":"tasks","logical_clock":5,"id":"t2","deleted":true}],"head":12,"remaining":70}'
        ),
    ),
    (Ready(9, 0), '{"type":"ready","logical_clock":9,"last_push_id":0}'),
    (
        Ready(9, 2, (PushOutcome(2, LOST, REJECTED),)),
        (
            '{"type":"ready","logical_clock":9,"last_push_id":2,"outcomes":[{"push_id":2,'
            f"{OUTCOME}}}]}}"
        ),
    ),
    (
        Ready(9, 1, more=True),
        '{"type":"ready","logical_clock":9,"last_push_id":1,"more":true}',
    ),
    (Authenticated(8), '{"type":"authenticated","expires":8}'),
    (Authenticated(None), '{"type":"authenticated","expires":null}'),
    (Pong(5), '{"type":"pong","server_time":5}'),
    (Pong(5, "n"), '{"type":"pong","server_time":5,"nonce":"n"}'),
    (Error("forbidden", "No."), '{"type":"error","code":"forbidden","message":"No."}'),
    (
        Error("bad_message", "No.", 3),
        '{"type":"error","code":"bad_message","message":"No.","push_id":3}',
    ),
]


def frame(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields})
