"""Whatever README and docs show in a fence has a test that runs it: which one, is said here.

A command that is added to a page, or changed, fails this until a test runs it and is named. What no
machine of the tests can do has the test that comes nearest, and says in its own words what it does.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = ("README.md", "SECURITY.md", "CHANGELOG.md", "docs/**/*.md")

README: Final = "tests/test_readme.py::test_"
OPERATING: Final = "tests/test_operating.py::test_"
INTERNET: Final = "tests/test_internet.py::test_"
TESTING: Final = "tests/test_testing.py::test_"
EMBEDDED: Final = "tests/hub/test_embedded.py::test_"
ADMIN: Final = "tests/hub/http/test_admin.py::test_"
UNITS: Final = "tests/service/test_units.py::test_"
SYSTEMD: Final = "tests/service/test_real_systemd.py::test_"
CONTAINER: Final = "tests/service/test_container.py::test_"

PRODUCTION: Final = README + "the_hub_in_production_is_installed_and_takes_the_tokens_it_prints"
FROM_THE_LOCK: Final = INTERNET + "a_hub_is_installed_from_the_lock_file_serves_and_is_backed_up"
BACKUP: Final = OPERATING + "a_backup_and_what_it_is_restored_to"
LITESTREAM: Final = OPERATING + "litestream_beside_the_hub_and_what_it_is_restored_to"
SHOWN: Final = OPERATING + "users_devices_objects_and_the_log_are_shown_beside_a_hub_that_serves"
WHY: Final = OPERATING + "why_a_value_is_there_is_told_beside_a_hub_that_serves"
MOVED: Final = OPERATING + "a_user_is_exported_imported_and_deleted_and_the_file_compacted"
BUNDLE: Final = OPERATING + "a_bundle_is_written_beside_a_hub_that_serves_and_replayed_anywhere"
AWAY: Final = OPERATING + "a_user_a_device_and_a_token_are_turned_away_and_the_user_is_let_in_again"
OVER_HTTP: Final = OPERATING + "a_user_is_exported_and_brought_in_over_http"
PICTURES: Final = OPERATING + "the_pictures_are_made_anew_by_the_command_of_the_page"
METRICS: Final = OPERATING + "the_metrics_are_read_with_their_token_and_by_the_socket"
LOG: Final = OPERATING + "the_log_tells_of_one_connection_and_of_one_user"
DOCTOR: Final = OPERATING + "the_doctor_is_asked_beside_a_hub_and_when_it_is_stopped"
RECIPE: Final = CONTAINER + "the_commands_of_the_page_fit_the_recipe"
LONG_FORM: Final = TESTING + "a_long_form_prints_what_the_page_says"
PROXIES: Final = "tests/proxies/test_page.py::test_a_hub_serves_as_the_page_says"


RUN_BY: Final = {
    "README.md": [
        (
            "scripts/run",
            README + "one_command_gives_a_hub_and_the_device_of_readme_talks_to_it",
        ),
        ("scripts/demo", README + "another_command_shows_two_devices_that_agree"),
        (
            "python: async def main() -> None:",
            README + "one_command_gives_a_hub_and_the_device_of_readme_talks_to_it",
        ),
        ("python3 -m venv venv", PRODUCTION),
        ("venv/bin/pip install .", PRODUCTION),
        ("venv/bin/python -c", PRODUCTION),
        ("chmod 600 token.secret", PRODUCTION),
        ("venv/bin/mobync-hub serve", PRODUCTION),
        ("venv/bin/mobync-hub token", PRODUCTION),
        (
            "scripts/bench",
            README + "the_bench_of_readme_measures_everything_and_draws_its_charts",
        ),
        (
            "scripts/load --seconds 3",
            README + "the_load_of_readme_prints_the_ratio_to_a_relay",
        ),
        (
            "scripts/replay docs/examples/history.jsonl",
            README + "the_history_of_readme_is_replayed_and_all_devices_equal_it",
        ),
        # Itself; what CI runs is held to it.
        ("scripts/test", README + "ci_runs_the_tests_as_readme_says"),
    ],
    "docs/embedding.md": [
        ("python: async def main() -> None:", EMBEDDED + "the_program_of_the_page_runs"),
        (
            "python: async def serve(settings: Settings) -> None:",
            EMBEDDED + "a_program_that_waits_for_its_hub_goes_on_as_long_as_that_does",
        ),
        (
            "python: async def hub(tmp_path: Path) -> AsyncIterator[Hub]:",
            EMBEDDED + "the_fixture_of_the_page_is_a_test_that_passes",
        ),
    ],
    "docs/internet.md": [
        ("python3 -m venv venv", FROM_THE_LOCK),
        ("venv/bin/pip install --quiet --require-hashes", FROM_THE_LOCK),
        ("venv/bin/pip install --quiet --no-deps", FROM_THE_LOCK),
        ("(umask 077; venv/bin/python -c", FROM_THE_LOCK),
        ("venv/bin/mobync-hub serve", FROM_THE_LOCK),
        ("venv/bin/mobync-hub token", FROM_THE_LOCK),
        ("venv/bin/mobync-hub backup", FROM_THE_LOCK),
    ],
    "docs/operating.md": [
        ("mobync-hub backup backup.db", BACKUP),
        ("mobync-hub restore backup.db", BACKUP),
        ("mobync-hub refills", BACKUP),
        ("mobync-hub serve --dev --data hub.db --checkpoints litestream", LITESTREAM),
        ("litestream replicate hub.db file:///srv/replica", LITESTREAM),
        ("litestream restore", LITESTREAM),
        ("mobync-hub restore restored.db", LITESTREAM),
        ("litestream reset", LITESTREAM),
        ("litestream replicate hub.db file:///srv/replica-2", LITESTREAM),
        ("mobync-hub users", SHOWN),
        ("mobync-hub devices alice", SHOWN),
        ("mobync-hub objects alice tasks --data", SHOWN),
        ("mobync-hub log alice --after 1", SHOWN),
        ("mobync-hub why alice tasks t1", WHY),
        (
            "mobync-hub restore alice tasks t1 title --clock 1",
            OPERATING + "a_lost_value_is_brought_back_beside_a_hub_that_serves",
        ),
        ("mobync-hub objects alice tasks --at 1", WHY),
        ("mobync-hub export alice", MOVED),
        ("mobync-hub import --replace alice.jsonl", MOVED),
        ("mobync-hub delete-user alice --yes", MOVED),
        ("mobync-hub compact", MOVED),
        ("mobync-hub bundle for-support.jsonl --user alice", BUNDLE),
        ("scripts/replay-bundle for-support.jsonl", BUNDLE),
        ("mobync-hub serve --token-jwks keys.json", AWAY),
        ("mobync-hub revoke user alice", AWAY),
        ("mobync-hub revoke device alice phone", AWAY),
        ("mobync-hub revoke token 6f1c-77 --expires 1h", AWAY),
        ("mobync-hub revoke --list", AWAY),
        ("mobync-hub revoke --undo user alice", AWAY),
        ("http: POST /admin/revoke", ADMIN + "the_request_that_the_page_shows_revokes_alice"),
        ("curl --fail", OVER_HTTP),
        ("curl --fail", OVER_HTTP),
        (
            "scripts/systemd/install --dry-run",
            OPERATING + "a_dry_run_of_the_installation_says_what_the_page_says",
        ),
        # Into the folder of another system, as no test becomes root of this one.
        (
            "sudo scripts/systemd/install",
            UNITS + "an_installation_is_whole_can_be_repeated_and_leaves_the_data_when_it_goes",
        ),
        ("ini: [Socket]", UNITS + "systemd_understands_where_the_page_has_it_listen"),
        (
            "scripts/upgrade-drill",
            OPERATING + "the_restart_under_load_of_the_page_in_its_short_form",
        ),
        ("sudo scripts/systemd/trial", SYSTEMD + "systemd_shows_its_connections"),
        # There is no podman here: the commands are held to the recipe, whose steps are taken.
        ("podman build", RECIPE),
        ("podman secret create", RECIPE),
        ("podman run", RECIPE),
        ("podman exec", RECIPE),
        ("scripts/screenshots", PICTURES),
        ("python3 -c", METRICS),
        ("chmod 600 metrics.token", METRICS),
        ("mobync-hub serve --dev --metrics-token-file", METRICS),
        ("curl --silent --unix-socket", METRICS),
        ('json: {"connection": 17', LOG),
        ("jq -c 'select(.connection == 17)'", LOG),
        ("jq -c 'select(.user ==", LOG),
        ("mobync-hub doctor --config hub.toml", DOCTOR),
        ("mobync-hub doctor --data hub.db --json", DOCTOR),
    ],
    "docs/protocol.md": [
        ('json: {"id": "6f1c…"', "tests/protocol/test_diffs.py::test_the_diff_of_the_page_is_one"),
    ],
    "docs/proxies.md": [
        ("mobync-hub serve --token-secret-file token.secret --host 0.0.0.0", PROXIES),
        ("mobync-hub serve --token-secret-file token.secret --trusted-proxies", PROXIES),
    ],
    "docs/testing.md": [
        ("scripts/simulate --seeds 1000", LONG_FORM),
        ("scripts/faults", LONG_FORM),
        ("scripts/kills --minutes 10", LONG_FORM),
        ("scripts/fuzz", LONG_FORM),
        ("scripts/hostile", LONG_FORM),
        ("scripts/upgrade-drill", LONG_FORM),
        ("scripts/soak --nightly", LONG_FORM),
    ],
}
"""Of each page what its fences show, in order, and the test that runs it."""


def shown_by(text: str) -> Iterator[str]:
    """Each command of a page, and each block of another language by what is first in it."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if language == "console":
            yield from (line[2:] for line in block.splitlines() if line.startswith("$ "))
        else:
            defined = re.search(r"^async def .*:$", block, re.MULTILINE)
            yield f"{language}: {defined[0] if defined else block.splitlines()[0]}"


def pages() -> Iterator[str]:
    for pattern in PAGES:
        yield from (path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob(pattern)))


@pytest.mark.parametrize("page", sorted({*pages(), *RUN_BY}))
def test_what_a_page_shows_has_a_test_that_runs_it(page: str) -> None:
    found, told = list(shown_by((ROOT / page).read_text())), RUN_BY.get(page, [])
    unfit = [
        (shown, begins)
        for shown, (begins, _test) in zip(found, told, strict=False)
        if not shown.startswith(begins)
    ]
    assert not unfit, "what the page shows here has changed: which test runs it?"
    assert len(found) == len(told), "the page shows more, or less: name the tests that run it"


@pytest.mark.parametrize("test", sorted({test for told in RUN_BY.values() for _, test in told}))
def test_a_test_that_is_named_is_there(test: str) -> None:
    path, name = test.split("::")
    tree = ast.parse((ROOT / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {node.name for node in tree.body if isinstance(node, functions)}


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("```console\n$ one\nprinted\n$ two\n```\n", ["one", "two"]),
        (
            "```python\nimport x\n\nasync def y() -> None:\n```\n",
            ["python: async def y() -> None:"],
        ),
        ("```\nnothing said\n```\n", [": nothing said"]),
        ("`inline` and\n\n    indented\n", []),
    ],
)
def test_each_fence_is_found(page: str, shown: list[str]) -> None:
    assert list(shown_by(page)) == shown
