"""`GET /metrics` as Prometheus reads it: who may, what is there, and what never is."""

import asyncio
import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from hub.http import health
from hub.http.control import short_name, socket_of
from hub.metrics import exposition
from hub.metrics.settings import Access, Metrics
from hub.settings import Settings
from hub.store.errors import StoreFailed
from hub.store.interface import Sizes
from hub.store.schema import sizes_of
from hub.tokens import Tokens
from tests.hub.http.served import ServedHub, dev_settings, serve
from tests.hub.http.test_app import a_site

ROOT: Final = Path(__file__).resolve().parents[3]
METRICS_TOKEN: Final = "a token that may read the metrics, and nothing else"
ADMIN_TOKEN: Final = "a token that may turn anybody away, and read these"
EDITS: Final = {"id": "e1", "utc_timestamp": 1, "type": "create", "model": "tasks"}


def secret(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


def settings_of(
    folder: Path, access: Access = "token", *, admin: bool = False, reader: bool = False
) -> Settings:
    admin_file = secret(folder, "admin.token", ADMIN_TOKEN) if admin else None
    reader_file = secret(folder, "metrics.token", METRICS_TOKEN) if reader else None
    return Settings(
        port=0,
        http_port=0,
        data=folder / "hub.db",
        token_secret_file=secret(folder, "secret", "x" * 32),
        tokens=Tokens(admin_token_file=admin_file),
        metrics=Metrics(metrics_access=access, metrics_token_file=reader_file),
    )


async def read(hub: ServedHub, token: str = "", **headers: str) -> tuple[int, str, str]:
    """Status, text and type of the answer."""
    if token:
        headers["Authorization"] = f"Bearer {token}"
    async with hub.session.get(f"{hub.url}/metrics", headers=headers) as response:
        return response.status, await response.text(), response.headers["Content-Type"]


async def samples(hub: ServedHub) -> list[Sample]:
    status, text, _ = await read(hub)
    assert status == 200
    return list(_samples(text))


async def value(hub: ServedHub, name: str, **labels: str) -> float:
    (found,) = [
        each.value for each in await samples(hub) if each.name == name and each.labels == labels
    ]
    return found


# Who may


@pytest.mark.parametrize(
    ("access", "tokens", "statuses"),
    [
        ("token", {}, [404, 404, 404]),
        ("token", {"reader": True}, [401, 200, 401]),
        ("token", {"admin": True}, [401, 401, 200]),
        ("token", {"admin": True, "reader": True}, [401, 200, 200]),
        ("open", {"admin": True}, [200, 200, 200]),
        ("off", {"admin": True, "reader": True}, [404, 404, 404]),
    ],
)
async def test_who_may_read_them_is_the_operators_choice(
    tmp_path: Path, access: Access, tokens: dict[str, bool], statuses: list[int]
) -> None:
    async with serve(settings_of(tmp_path, access, **tokens)) as hub:
        answers = [await read(hub, token) for token in ("", METRICS_TOKEN, ADMIN_TOKEN)]
    assert [status for status, _, _ in answers] == statuses
    for status, text, _ in answers:
        assert ("mobync_" in text) is (status == 200)


async def test_a_hub_for_trying_shows_them_to_whoever_is_on_this_machine(tmp_path: Path) -> None:
    async with serve(dev_settings(tmp_path)) as hub:
        assert (await read(hub))[0] == 200


async def test_the_token_that_reads_them_may_revoke_nobody(tmp_path: Path) -> None:
    async with serve(settings_of(tmp_path, admin=True, reader=True)) as hub:
        headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
        reply = await hub.ask("POST", "/admin/revoke", headers=headers, json={"user": "ada"})
        assert reply.status == 401


async def test_the_hubs_own_user_reads_them_by_the_socket_beside_the_file(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    async with serve(settings):
        with short_name(socket_of(settings.data)) as name:
            connector = aiohttp.UnixConnector(name)
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.get("http://hub/metrics") as response,
            ):
                assert "mobync_users 0.0" in await response.text()


# What is there


async def test_they_tell_of_what_devices_and_polling_clients_do(tmp_path: Path) -> None:
    async with serve(dev_settings(tmp_path)) as hub:
        async with hub.live_device("ada") as phone, hub.live_device("ada", "tab"):
            diff = {**EDITS, "logical_clock": 0, "json_data": {"id": "t1"}}
            await phone.say(type="push", push_id=1, diffs=[diff])
            assert (await phone.hear())["type"] == "ack"
            assert await value(hub, "mobync_connections", state="live") == 2
            assert await value(hub, "mobync_users") == 1
            assert await value(hub, "mobync_pushes_total", outcome="stored") == 1
            assert await value(hub, "mobync_diffs_total") == 1
            assert await value(hub, "mobync_ack_seconds_count") == 1
            assert await value(hub, "mobync_ack_seconds_bucket", le="+Inf") == 1
            assert 0 < await value(hub, "mobync_ack_seconds_sum") < 10
            assert await value(hub, "mobync_commit_pushes_bucket", le="1.0") == 1
            assert await value(hub, "mobync_catchups_total", way="level") == 2
            assert await value(hub, "mobync_wal_bytes") > 0
            assert await value(hub, "mobync_file_bytes") > 0
        for status in (200, 401):
            token = "ada" if status == 200 else "\0"
            poll = {"auth_token": token, "logical_clock": 0, "diffs": []}
            assert (await hub.ask("POST", "/sync", json=poll)).status == status
            assert await value(hub, "mobync_polls_total", status=str(status)) == 1
        assert await value(hub, "mobync_auth_failures_total", reason="malformed") == 1
        assert await value(hub, "mobync_connections_accepted_total") == 2
        assert await value(hub, "process_open_fds") > 0


async def test_who_tries_the_operators_tokens_is_counted(tmp_path: Path) -> None:
    async with serve(settings_of(tmp_path, "open", admin=True)) as hub:
        for said in ("", "Bearer guess"):
            reply = await hub.ask("GET", "/admin/revoke", headers={"Authorization": said})
            assert reply.status == 401
        assert await value(hub, "mobync_auth_failures_total", reason="operator") == 2


async def test_who_becomes_no_websocket_is_counted_by_why(tmp_path: Path) -> None:
    async with serve(dev_settings(tmp_path)) as hub:
        port = hub.websocket_url.replace("ws://", "http://")
        for url in (port, port.replace("/sync", "/elsewhere"), port):
            async with hub.session.get(url) as answer:
                assert answer.status in (404, 426)
        for reason, count in (("not_upgraded", 2), ("path", 1), ("origin", 0)):
            assert await value(hub, "mobync_handshakes_refused_total", reason=reason) == count


async def test_openmetrics_are_had_by_whoever_asks_for_them(tmp_path: Path) -> None:
    async with serve(dev_settings(tmp_path)) as hub:
        _, plain, plain_type = await read(hub)
        _, text, kind = await read(hub, Accept="application/openmetrics-text;version=1.0.0,*/*")
    assert plain_type.startswith("text/plain")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")
    named = {each.name for found in text_string_to_metric_families(plain) for each in found.samples}
    both = {each.name for found in openmetrics_families(text) for each in found.samples}  # type: ignore[no-untyped-call]
    assert both == named


async def test_names_keep_to_the_conventions(tmp_path: Path) -> None:
    async with serve(dev_settings(tmp_path)) as hub:
        _, text, _ = await read(hub)
    ours = [
        each for each in text_string_to_metric_families(text) if each.name.startswith("mobync_")
    ]
    assert len(ours) > 30
    for family in ours:
        assert re.fullmatch(r"[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        units = ("seconds", "bytes", "pushes")
        assert family.type != "histogram" or family.name.endswith(units)
        suffixed = all(each.name.endswith("_total") for each in family.samples)
        assert suffixed is (family.type == "counter"), family.name


async def test_the_table_in_the_docs_is_what_is_there(tmp_path: Path) -> None:
    async with serve(dev_settings(tmp_path)) as hub:
        _, text, _ = await read(hub)
    found = {
        (f"{family.name}_total" if family.type == "counter" else family.name): (
            family.type,
            {label for each in family.samples for label in each.labels} - {"le"},
        )
        for family in text_string_to_metric_families(text)
        if family.name.startswith("mobync_")
    }
    page = (ROOT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(mobync_\w+)` \| (\w+) \| ([^|]*)\|", page, re.MULTILINE)
    told = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert told == found
    values = {each.labels.get("reason") for each in _samples(text)} - {None}
    for value in values:
        assert f"`{value}`" in page
    beside = {family.name for family in text_string_to_metric_families(text)} - set(told)
    for name in beside - {each.removesuffix("_total") for each in told}:
        assert f"`{name}" in page


def _samples(text: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(text):
        yield from family.samples


def labels_of(found: list[Sample]) -> Iterator[tuple[str, str]]:
    for each in found:
        if each.name.startswith("mobync_"):
            yield from each.labels.items()


async def test_no_user_device_address_or_token_is_a_label_and_no_series_is_born_by_a_peer(
    tmp_path: Path,
) -> None:
    async with serve(dev_settings(tmp_path)) as hub:
        before = {(each.name, *each.labels.items()) for each in await samples(hub)}
        async with hub.live_device("ada-lovelace", "her-phone") as phone:
            diffs: list[Any] = [{"id": "\n"}, {**EDITS, "type": "rename"}, None]
            await phone.say(type="push", push_id=1, diffs=diffs)
            await phone.hear()
            await phone.say(type="auth", token="somebody")
            await phone.hear()
        found = await samples(hub)
    assert {(each.name, *each.labels.items()) for each in found} == before
    names = {name for name, _ in labels_of(found)}
    assert names == {
        *("state", "code", "status", "reason", "effect", "outcome", "le", "way", "what"),
        *("version", "python", "sqlite"),
    }
    for _, label in labels_of(found):
        assert not re.search("ada|phone|127|::1|somebody", label)


async def test_the_system_is_asked_on_other_threads_than_the_hubs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For it answers from the disk, or as if from one."""
    asked: list[str] = []

    class Collector:
        def collect(self) -> list[Metric]:
            asked.append(threading.current_thread().name)
            return []

    def sizes(path: Path, connection: sqlite3.Connection) -> Sizes:
        asked.append(threading.current_thread().name)
        return sizes_of(path, connection)

    monkeypatch.setattr(exposition, "_PROCESS", (Collector(),))
    monkeypatch.setattr("hub.store.sqlite.sizes_of", sizes)
    async with serve(dev_settings(tmp_path)) as hub:
        assert (await read(hub))[0] == 200
    assert len(asked) == 2
    assert threading.current_thread().name not in asked


# A store in trouble


async def test_they_are_told_of_a_store_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    async def fails() -> None:
        raise StoreFailed("disk on fire")

    monkeypatch.setattr(health, "READY_SECONDS", 0.1)
    async with a_site(tmp_path) as (site, hub):
        assert await value(hub, "mobync_store_up") == 1
        for trouble in (fails, hangs):
            with monkeypatch.context() as patch:
                patch.setattr(site.store, "sizes", trouble)
                named = {each.name for each in await samples(hub)}
                assert await value(hub, "mobync_store_up") == 0
            assert "mobync_wal_bytes" not in named
            assert "mobync_pushes_total" in named


async def test_a_file_that_is_gone_is_told_as_a_store_that_fails(tmp_path: Path) -> None:
    async with a_site(tmp_path) as (_, hub):
        for path in tmp_path.glob("hub.db"):
            path.rename(tmp_path / "elsewhere")
        assert await value(hub, "mobync_store_up") == 0
        (tmp_path / "elsewhere").rename(tmp_path / "hub.db")
        assert await value(hub, "mobync_store_up") == 1
