import sys
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pytest

from hub.errors import SettingsError
from hub.policy import load_policy
from protocol.diffs import Diff
from protocol.merge import Refusal

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

RULES = '''
class Rules:
    def __call__(self, user, diff, current):
        return None

def rule(user, diff, current):
    return None

async def later(user, diff, current):
    return None

class Later:
    async def __call__(self, user, diff, current):
        return None

class Nested:
    rule = Rules()

def two(user, diff):
    return None

class Mobync:
    """As an application of mobync wrote it."""

    def __init__(self):
        self.asked = []

    def validate_create(self, owner_id, **kwargs):
        self.asked.append((owner_id, kwargs))
        return kwargs["model"] == "tasks"

    def validate_update(self, owner_id, **kwargs):
        return True

    def validate_delete(self, owner_id, **kwargs):
        return 0

class Half:
    def validate_create(self, owner_id, **kwargs):
        return True

instance, later_instance, nested, mobync, half, number = (
    Rules(), Later(), Nested(), Mobync(), Half(), 5
)
'''


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory for modules; what was imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "rules.py").write_text(RULES)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def diff(
    kind: Literal["create", "update", "delete"] = "update", model: str = "tasks", **fields: Any
) -> Diff:
    return Diff("d1", 3, 1_790_000_000_123, kind, model, {"id": "x", **fields})


def problem(name: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load_policy(name)
    assert caught.value.settings == ("policy",)
    return caught.value


@pytest.mark.parametrize("name", ["rule", "instance", "nested.rule"])
def test_rules_are_found_from_the_working_directory(modules: Path, name: str) -> None:
    assert load_policy(f"house.rules:{name}")("alice", diff(), None) is None


def test_a_callable_that_does_not_tell_its_arguments_is_taken_at_its_word(modules: Path) -> None:
    policy: object = load_policy("builtins:min")
    assert policy is min


@pytest.mark.parametrize("name", ["", "house.rules", "house.rules:", ":rule", ".:rule", "a..b:c"])
def test_a_name_that_is_none_is_refused(modules: Path, name: str) -> None:
    assert problem(name)


def test_a_module_that_is_not_there_is_named_with_where_it_was_searched(modules: Path) -> None:
    error = problem("house.rulez:rule")
    assert error.problem == f"policy: there is no module house.rulez, searched from {modules} on"


def test_a_module_that_lacks_another_names_that_one(modules: Path) -> None:
    (modules / "lacking.py").write_text("import no_such_thing\n")
    assert "there is no module no_such_thing" in problem("lacking:rule").problem


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\n1 / 0\n", "ZeroDivisionError: division by zero"),
        ("\ndef rule(:\n", "SyntaxError"),
        ("\nfrom house import nothing\n", "ImportError"),
    ],
)
def test_a_module_that_fails_is_told_with_its_error(modules: Path, text: str, told: str) -> None:
    (modules / "failing.py").write_text(text)
    error = problem("failing:rule")
    assert error.problem.startswith(f"policy: failing fails when imported: {told}")
    assert "line 2" in error.problem


def test_an_object_that_is_not_there_is_named(modules: Path) -> None:
    assert problem("house.rules:rulez").problem == "policy: the module house.rules has no rulez"
    assert "has no nested.rulez" in problem("house.rules:nested.rulez").problem


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("number", "is neither callable nor an object with validate_create"),
        ("half", "is neither callable nor an object with validate_create"),
        ("Rules", "is a class"),
        ("Mobync", "is a class"),
        ("later", "is async"),
        ("later_instance", "is async"),
        ("two", "does not take three arguments"),
    ],
)
def test_an_object_that_cannot_be_asked_is_refused(modules: Path, name: str, told: str) -> None:
    assert f"house.rules:{name} {told}" in problem(f"house.rules:{name}").problem


def test_mobyncs_rules_are_asked_in_mobyncs_words(modules: Path) -> None:
    policy = load_policy("house.rules:mobync")
    assert policy("alice", diff("create", title="Milk"), None) is None
    assert sys.modules["house.rules"].mobync.asked == [
        (
            "alice",
            {
                "id": "d1",
                "owner": "alice",
                "logical_clock": 3,
                "utc_timestamp": 1_790_000_000_123,
                "type": "create",
                "model": "tasks",
                "json_data": '{"id":"x","title":"Milk"}',
            },
        )
    ]


def test_mobyncs_no_is_forbidden(modules: Path) -> None:
    policy = load_policy("house.rules:mobync")
    assert policy("alice", diff("create", model="notes"), None) == Refusal("forbidden")
    assert policy("alice", diff("update", model="notes"), {"id": "x"}) is None
    assert policy("alice", diff("delete"), {"id": "x"}) == Refusal("forbidden")


# The example of the docs


@pytest.fixture
def in_examples(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)


@pytest.mark.parametrize(
    ("user", "edit", "current", "code"),
    [
        ("parent", diff("delete", "chores"), {"id": "x"}, None),
        ("child", diff("delete", "chores"), {"id": "x"}, "parents_only"),
        ("child", diff("delete", "chores"), None, "parents_only"),
        ("child", diff("delete", "tasks"), {"id": "x"}, None),
        ("child", diff("update", "chores", done=True), {"id": "x", "paid": False}, None),
        ("child", diff("update", "chores", done=True), {"id": "x", "paid": True}, "chore_paid"),
        ("parent", diff("update", "chores", done=True), {"id": "x", "paid": True}, None),
        ("child", diff("create", title="Milk"), None, None),
        ("child", diff("create", title=""), None, "title_empty"),
        ("child", diff("update", title="  "), {"id": "x"}, "title_empty"),
        ("child", diff("update", title=None), {"id": "x"}, "title_empty"),
        ("parent", diff("create", "chores", title=" "), None, "title_empty"),
        ("child", diff("update", done=True), {"id": "x", "title": "Milk"}, None),
    ],
)
def test_the_familys_rules_do_what_they_say(
    in_examples: None, user: str, edit: Diff, current: dict[str, Any] | None, code: str | None
) -> None:
    policy = load_policy("family_rules:family_rules")
    refusal = policy(user, edit, None if current is None else MappingProxyType(current))
    assert (refusal and refusal.code) == code
