"""Each verb is about the user who was named, and nobody else hears or loses anything by it."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hub import logs
from hub.auth import JwtAuthority
from hub.cli import main
from tests.hub.apart.two import (
    HERS,
    NOTES,
    SECRET,
    a_hub,
    adas_hub,
    edit,
    greeted,
    token,
    told,
)


def verb(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """The file of a hub that Ada and Mallory used, which is stopped."""
    async with adas_hub(tmp_path) as (hub, _ada):
        await told(hub, {"type": "push", "push_id": 1, "diffs": [edit("create", "m", model="own")]})
    return tmp_path / "hub.db"


def test_a_token_is_made_for_the_user_that_was_named_and_nobody_else(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET.material)
    secret.chmod(0o600)
    authority = JwtAuthority(SECRET, lambda: 0)
    for name in ("mallory", "ada ", "Ada", 'ada"', "ada\u200f", "*", "ada,mallory", "../ada"):
        made = verb("token", "--secret-file", secret, f"--user={name}").stdout.strip()
        assert authority.check(made).user == name
    refused = verb("token", "--secret-file", secret, "--user", "ada\0")
    assert (refused.exit_code, refused.stdout) == (2, "")


async def test_each_user_has_their_own_behind_a_backup_and_a_restore(data: Path) -> None:
    copy = data.with_name("copy.db")
    said = [verb("backup", copy, "--data", data), verb("restore", copy, "--data", data)]
    said.append(verb("refills", "--data", data))
    assert [(each.exit_code, HERS in each.output) for each in said] == [(0, False)] * 3
    async with a_hub(data.parent) as hub:
        [welcome, page, *_rest] = await greeted(hub, token("mallory"), "new")
        assert [each["json_data"]["id"] for each in page["objects"]] == ["m"]
        assert [each["log_id"] for each in welcome["continues"]] != []
        [hers, *more] = await greeted(hub, token("ada"), "new")
        assert hers["log_id"] != welcome["log_id"]
        assert {each["log_id"] for each in hers["continues"]}.isdisjoint(
            each["log_id"] for each in welcome["continues"]
        )
        held = [each["json_data"]["id"] for each in more[0]["objects"]]
        assert held == [f"n1-{HERS}", "n1", f"n3-{HERS}"]
        assert (NOTES in json.dumps(more), '"own"' in json.dumps(more)) == (True, False)


async def test_who_is_revoked_is_the_one_who_was_named_and_nobody_else(data: Path) -> None:
    for name in ("mallory", "mallory ", "MALLORY", "%", "m*"):
        said = verb("revoke", "user", name, "--data", data)
        assert (said.exit_code, HERS in said.output) == (0, False)
    async with a_hub(data.parent) as hub:
        [refused, *_] = await greeted(hub, token("mallory"), "new")
        assert refused["code"] == "forbidden"
        [welcome, *_] = await greeted(hub, token("ada"), "phone")
        assert welcome["user"] == "ada"


@pytest.mark.parametrize("looking", ["devices", "objects", "log"])
def test_what_is_shown_is_of_the_user_who_was_named_and_nobody_else(
    data: Path, looking: str
) -> None:
    said = verb(looking, "mallory", "--data", data)
    assert (said.exit_code, said.stdout != "", HERS in said.output) == (0, True, False)
    for name in ("mallory ", "MALLORY", "%", "*"):
        assert verb(looking, name, "--data", data).exit_code == 1


def test_why_tells_of_an_object_of_the_user_who_was_named_and_nobody_else(data: Path) -> None:
    said = verb("why", "mallory", "own", "m", "--data", data)
    assert (said.exit_code, HERS in said.output) == (0, False)
    said = verb("why", "mallory", "notes", "n1", "--data", data)
    assert (said.exit_code, said.stdout) == (1, "")


async def test_the_doctor_says_nothing_of_anybody(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "nice", lambda _more: 0)
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    data.chmod(0o600)
    said = await asyncio.to_thread(verb, "doctor", "--data", data)
    assert (said.exit_code, HERS in said.output, "ada" in said.output) == (0, False, False)


def test_a_bundle_is_about_the_user_who_was_named_and_quotes_nobody(data: Path) -> None:
    for user in ("mallory", "ada"):
        target = data.with_name(f"{user}.jsonl")
        said = verb("bundle", target, "--user", user, "--data", data)
        assert (said.exit_code, HERS in target.read_text()) == (0, False)
    assert len(data.with_name("mallory.jsonl").read_text().splitlines()) == 9


async def test_who_is_exported_imported_and_deleted_is_the_one_who_was_named(
    data: Path,
) -> None:
    before = verb("objects", "ada", "--data", data).stdout
    export = data.with_name("export.jsonl")
    export.write_bytes(verb("export", "mallory", "--data", data).stdout_bytes)
    assert HERS not in export.read_text()
    words: list[tuple[str | Path, ...]] = [("import", "--replace", export), ("compact",)]
    for each in (*words, ("delete-user", "mallory", "--yes")):
        said = await asyncio.to_thread(verb, *each, "--data", data)
        assert (said.exit_code, HERS in said.output) == (0, False)
    assert verb("objects", "ada", "--data", data).stdout == before
    for name in ("ada ", "ADA", "%"):
        assert verb("delete-user", name, "--yes", "--data", data).exit_code == 1
    assert verb("objects", "ada", "--data", data).stdout == before


def test_no_verb_but_those_that_are_tried_here_touches_what_users_have() -> None:
    """`serve` is what all else on this page is about; `settings` has no data."""
    tried = {"serve", "settings", "token", "backup", "restore", "refills", "revoke"}
    tried |= {"users", "devices", "objects", "log", "why", "doctor"}
    tried |= {"export", "import", "delete-user", "compact", "bundle"}
    assert set(main.commands) == tried
    assert HERS not in verb("settings").output
