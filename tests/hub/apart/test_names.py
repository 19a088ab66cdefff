"""Names and values come back byte for byte, whatever is in them, or are refused with a clear error.

Every text below is at once a model, an object's id, a field's name, its value, an edit's id, a
device's name and, where it has no control character, a user's. Texts that look alike, or that
Unicode calls equivalent, stay apart. They go through the socket, a poll, a snapshot, the log, a
restart, and a backup that is restored.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias
from unicodedata import category

import jwt
import pytest
from click.testing import CliRunner

from client import Device
from hub.cli import main
from tests.hub.apart.two import SECRET, Talk, a_hub, edit, talking, token
from tests.hub.http.served import Json, ServedHub

Objects: TypeAlias = dict[tuple[str, str], Json]

FOUR_BYTES: Final = "💧"
TEXTS: Final = (
    *("o'clock", 'say "hi"', "a/b", "../../etc/passwd", "back\\slash", "`$(id)`", "a\tb\r\nc"),
    *("\0", "nul\0inside", "nul at its end\0", "\x1b[2J", "\x7f", "\x85", "\u2028\u2029"),
    *("\u202eright to left\u202c", "\u200fmark", "\u200e", "zero\u200bwidth", "\ufeff", "\ufffe"),
    *(
        FOUR_BYTES,
        "\U0001f469\u200d\U0001f467",
        "\U0001d518\U0001d52b",
        "\U0010ffff",
        "é",
        "e\u0301",
        "ﬁ",
        "fi",
        "Å",
        "\u212b",
    ),
    *("ß", "SS", "ss", "ada", "Ada", "ada ", " ada", "\u0430da", "İ", "i̇", " ", "  "),
    *("'; DROP TABLE log; --", "%", "_", "*", "?", "[a-z]", "$.id", "$", "{}", "[]", '"', "\\"),
    *("1", "01", "1.0", "1e0", "-1", "NaN", "null", "true", "0x10", "9" * 40, "\\u0000", "\\"),
    *("[bold]x[/bold]", "<b>", "&amp;", "id", "type", "__proto__", "constructor"),
)
"""One of each kind that has ever been lost, cut, folded, or taken for something else somewhere."""
NAMES: Final = tuple(dict.fromkeys((*TEXTS, "x" * 64, FOUR_BYTES * 64, "\0" * 64, '"' * 64)))
LONGEST: Final = ("y" * 128, FOUR_BYTES * 128, "\0" * 128, "\\" * 128)
"""As long as models, objects' ids and users' names may be, in the fewest and the most bytes."""
USERS: Final = tuple(
    text for text in (*NAMES, *LONGEST) if not any(category(each) == "Cc" for each in text)
)


def object_of(text: str) -> Json:
    """An object that has this text wherever an object can have one."""
    return {
        "id": text,
        "v": text,
        "list": [text, {text: text}],
        **({text: text} if text != "id" else {}),
    }


def creation(text: str, number: int = 0) -> Json:
    diff = text if len(text) <= 64 else f"long {number}"
    return {**edit("create", text, model=text, diff=diff), "json_data": object_of(text)}


OBJECTS: Final = {(text, text): object_of(text) for text in (*NAMES, *LONGEST)}


# What is told, in whichever way


def key(model: str, fields: Json) -> tuple[str, str]:
    return model, fields["id"]


def in_pages(frames: Iterable[Json]) -> Objects:
    pages = [frame["objects"] for frame in frames if frame["type"] == "snapshot"]
    return {key(each["model"], each["json_data"]): each["json_data"] for p in pages for each in p}


def held(frames: Iterable[Json]) -> Objects:
    """What a device then holds, of pages and of what came behind them."""
    objects = in_pages(frames)
    for _device, diffs in in_changes(frames):
        for diff in diffs:
            place = key(diff["model"], diff["json_data"])
            before = objects.pop(place, {}) if diff["type"] == "update" else {}
            objects[place] = {**before, **diff["json_data"]}
            if diff["type"] == "delete":
                del objects[place]
    return objects


def in_changes(frames: Iterable[Json]) -> list[tuple[str, list[Json]]]:
    """Of each push that was heard: whose it was, and its diffs."""
    return [(each["device"], each["diffs"]) for each in frames if each["type"] == "changes"]


async def served(hub: ServedHub, user: str = "all") -> list[Json]:
    """What a newcomer is told: the objects, and the last pushes where they are not yet folded."""
    async with talking(hub) as talk:
        await talk.hello(token(user), "newcomer")
        return talk.heard


async def served_from_the_log(hub: ServedHub) -> list[Json]:
    """Only the device that has seen the first clock is told of the rest one by one."""
    [welcome, *_rest] = await served(hub)
    async with talking(hub) as talk:
        known = {"log_id": welcome["log_id"], "logical_clock": 1}
        await talk.hello(token("all"), "reader", **known)
        return talk.heard


async def polled(hub: ServedHub, user: str = "all") -> Objects:
    answer = await hub.post({"auth_token": token(user), "logical_clock": 0, "diffs": []})
    assert answer["success"]
    assert {diff["owner"] for diff in answer["diffs"]} <= {user}
    found = [(diff["model"], json.loads(diff["json_data"])) for diff in answer["diffs"]]
    return {key(model, fields): fields for model, fields in found}


# Objects, edits and devices


async def push_all(hub: ServedHub) -> Sequence[tuple[str, list[Json]]]:
    """Each text by the device that is called so; what a live device heard of it."""
    async with talking(hub) as reader:
        await reader.hello(token("all"), "a live one")
        for text in NAMES:
            async with talking(hub) as writer:
                await writer.hello(token("all"), text)
                assert writer.heard[0]["device"] == text
                await pushed(writer, 1, creation(text))
        async with talking(hub) as writer:
            await writer.hello(token("all"), "of the longest")
            diffs = [creation(text, number) for number, text in enumerate(LONGEST)]
            await pushed(writer, 1, *diffs)
        return in_changes(await reader.answers())


async def pushed(writer: Talk, push_id: int, *diffs: Json) -> Json:
    await writer.say(type="push", push_id=push_id, diffs=diffs)
    ack = await writer.until("ack")
    assert ack["type"] == "ack", ack
    return ack


def stored(diff: Json) -> Json:
    return {name: value for name, value in diff.items() if name != "logical_clock"}


def heard_of_all() -> list[tuple[str, list[Json]]]:
    last = [stored(creation(text, number)) for number, text in enumerate(LONGEST)]
    return [*((text, [stored(creation(text))]) for text in NAMES), ("of the longest", last)]


def on_a_hub(folder: Path, ask: Any) -> Any:
    """What is answered by a hub that starts on this folder's file, and stops again."""

    async def serve() -> Any:
        async with a_hub(folder) as hub:
            return await ask(hub)

    return asyncio.run(serve())


def burn_and_restore(folder: Path) -> None:
    data, copy = folder / "hub.db", folder / "copy.db"
    for words in (("backup", copy), ("restore", copy)):
        done = CliRunner().invoke(main, [str(each) for each in (*words, "--data", data)])
        assert done.exit_code == 0, done.output


@pytest.mark.timeout(240)
def test_models_ids_fields_values_edits_and_devices_come_back_byte_for_byte(tmp_path: Path) -> None:
    assert on_a_hub(tmp_path, push_all) == heard_of_all()
    for again in ("after a restart", "after another", "after a restore"):
        if again == "after a restore":
            burn_and_restore(tmp_path)
        assert in_pages(on_a_hub(tmp_path, served)) == OBJECTS, again
        assert on_a_hub(tmp_path, polled) == OBJECTS, again
        told = in_changes(on_a_hub(tmp_path, served_from_the_log))
        assert told == heard_of_all()[1:], again


def test_an_update_and_a_delete_find_the_one_object_that_is_called_so(tmp_path: Path) -> None:
    """And none that looks like it."""

    async def edit_each(hub: ServedHub) -> Any:
        async with talking(hub) as writer:
            await writer.hello(token("all"), "editor")
            for push_id, text in enumerate(NAMES, 1):
                diffs = [creation(text), edit("update", text, model=text, diff="u", v="new")]
                await pushed(writer, push_id, *diffs)
            for push_id, text in enumerate(NAMES[::2], len(NAMES) + 1):
                await pushed(writer, push_id, edit("delete", text, model=text, diff="d"))
        return held(await served(hub))

    left = {(text, text): {**object_of(text), "v": "new"} for text in NAMES[1::2]}
    assert on_a_hub(tmp_path, edit_each) == left


def test_a_device_goes_on_under_its_own_name_and_no_other(tmp_path: Path) -> None:
    """Its counter of pushes is found again after a restart, and by its exact name."""

    async def count_up(hub: ServedHub) -> None:
        for number, text in enumerate(NAMES, 1):
            async with talking(hub) as writer:
                await writer.hello(token("all"), text)
                await pushed(writer, number, edit("create", f"o{number}"))

    async def counters(hub: ServedHub) -> list[tuple[str, int]]:
        found = []
        for text in NAMES:
            async with talking(hub) as device:
                await device.hello(token("all"), text)
                found.append((device.heard[0]["device"], device.heard[0]["last_push_id"]))
        return found

    on_a_hub(tmp_path, count_up)
    assert on_a_hub(tmp_path, counters) == [(text, n) for n, text in enumerate(NAMES, 1)]


async def test_a_python_device_keeps_and_hands_on_all_of_them(tmp_path: Path) -> None:
    """From one file through the hub into another, under a name that is as odd."""
    phone, desk = tmp_path / "phone.db", tmp_path / "desk.db"
    async with a_hub(tmp_path) as hub:
        url, shown = hub.websocket_url, token("all")
        async with Device(url, token=shown, name=NAMES[-1], path=phone) as device:
            for text in (*NAMES, *LONGEST):
                await device.create(text, object_of(text))
            await device.synchronize(30)
        async with Device(url, token=shown, name=NAMES[0], path=desk) as device:
            await device.synchronize(30)
    for file in (phone, desk):
        async with Device("ws://127.0.0.1:9/sync", token=shown, path=file) as alone:
            held = {(text, text): await alone.read(text) for text in (*NAMES, *LONGEST)}
            assert held == {place: [fields] for place, fields in OBJECTS.items()}


# Users


async def users_push(hub: ServedHub) -> None:
    for user in USERS:
        async with talking(hub) as phone:
            await phone.hello(token(user), "phone")
            assert phone.heard[0]["user"] == user
            await pushed(phone, 1, edit("create", "mine", model="m", whose=user))


async def users_hold(hub: ServedHub) -> list[tuple[Objects, Objects]]:
    return [(in_pages(await served(hub, user)), await polled(hub, user)) for user in USERS]


@pytest.mark.timeout(240)
def test_each_user_has_their_own_however_alike_their_names_are(tmp_path: Path) -> None:
    on_a_hub(tmp_path, users_push)
    burn_and_restore(tmp_path)
    own = [{("m", "mine"): {"id": "mine", "whose": user}} for user in USERS]
    assert on_a_hub(tmp_path, users_hold) == [(each, each) for each in own]


# What is refused

NO_NAMES: Final[Sequence[Any]] = (
    "",
    "z" * 65,
    FOUR_BYTES * 65,
    "\ud800",
    "a\udfff",
    None,
    5,
    ["x"],
    {},
)
NO_LONG_NAMES: Final[Sequence[Any]] = ("", "z" * 129, "\ud83d", None, True, ["x"])


def unlike(field: str, value: Any) -> Json:
    """A sound creation but for one of its names."""
    diff = creation("sound")
    if field == "json_data.id":
        return {**diff, "json_data": {"id": value, "v": 1}}
    return {**diff, field: value}


BAD_DIFFS: Final = [
    *(("id", value) for value in NO_NAMES),
    *((field, value) for field in ("model", "json_data.id") for value in NO_LONG_NAMES),
    *(("json_data", {"id": "sound", name: 1}) for name in ("\ud800", "a\udc00b")),
    *(
        ("json_data", {"id": "sound", "v": value})
        for value in ("\ud800", ["\udfff"], {"\ud800": 1})
    ),
]


async def test_an_edit_with_a_name_that_cannot_be_is_refused_and_nothing_else(
    tmp_path: Path,
) -> None:
    async with a_hub(tmp_path) as hub, talking(hub) as phone:
        await phone.hello(token("all"), "phone")
        for push_id, (field, value) in enumerate(BAD_DIFFS, 1):
            good = [edit("create", f"before {push_id}"), edit("create", f"behind {push_id}")]
            ack = await pushed(phone, push_id, good[0], unlike(field, value), good[1])
            [refusal] = ack["rejected"]
            assert (refusal["index"], refusal["code"]) == (1, "invalid_diff"), (field, value)
            assert len(refusal["message"]) > 10, (field, value)
            assert [diff["json_data"]["id"] for diff in ack["diffs"]] == [
                f"before {push_id}", f"behind {push_id}",
            ]  # fmt: skip
        assert len(held(await served(hub))) == 2 * len(BAD_DIFFS)


async def test_so_is_one_of_a_polling_client(tmp_path: Path) -> None:
    async with a_hub(tmp_path) as hub:
        for number, (field, value) in enumerate(BAD_DIFFS):
            diffs = [unlike(field, value), edit("create", f"good {number}")]
            said = [{**diff, "json_data": json.dumps(diff["json_data"])} for diff in diffs]
            request = {"auth_token": token("all"), "logical_clock": 0, "diffs": said}
            answer = await hub.post(request)
            assert (answer["success"], answer["message"] != "") == (True, True), (field, value)
        assert len(held(await served(hub))) == len(BAD_DIFFS)


@pytest.mark.parametrize("name", NO_NAMES, ids=ascii)
async def test_a_device_with_a_name_that_cannot_be_is_told_so(tmp_path: Path, name: Any) -> None:
    async with a_hub(tmp_path) as hub, talking(hub) as phone, talking(hub) as other:
        await other.hello(token("all"), "other")
        await phone.hello(token("all"), name)
        error, closed = phone.heard
        assert (error["code"], closed["code"][0]) == ("bad_message", 4400)
        assert closed["code"][1] in error["message"]
        await pushed(other, 1, edit("create", "still served"))


@pytest.mark.parametrize("user", ["", "u" * 129, "\0", "a\0b", "line\nbreak", "\x1b[2J", "\x85", 5])
async def test_a_user_with_a_name_that_cannot_be_is_told_so(tmp_path: Path, user: Any) -> None:
    made = jwt.PyJWS().encode(json.dumps({"sub": user}).encode(), SECRET.material, "HS256")
    async with a_hub(tmp_path) as hub, talking(hub) as phone:
        await phone.hello(made, "phone")
        error, closed = phone.heard
        assert (error["code"], closed["code"][0]) == ("unauthorized", 4401)
        assert "sub" in error["message"] or "claims" in error["message"]
        answer = await hub.ask(
            "POST", "/sync", json={"auth_token": made, "logical_clock": 0, "diffs": []}
        )
        assert (answer.status, answer.json["success"]) == (401, False)
        assert error["message"] in answer.json["message"]
