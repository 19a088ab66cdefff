"""The examples for Prometheus and Grafana ask only for what a hub shows, and tell of harm."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.hub.http.served import dev_settings, serve

EXAMPLES: Final = Path(__file__).resolve().parents[1] / "docs" / "examples"
ALERTS: Final = yaml.safe_load((EXAMPLES / "alerts.yml").read_text())
RULES: Final = ALERTS["groups"][0]["rules"]
PROMETHEUS: Final = yaml.safe_load((EXAMPLES / "prometheus.yml").read_text())
DASHBOARD: Final = json.loads((EXAMPLES / "grafana.json").read_text())
PANELS: Final = [each for each in DASHBOARD["panels"] if each["type"] != "row"]
OF_PROMETHEUS: Final = {"up": {"job", "instance"}}
"""What Prometheus adds to what it reads."""
OF_EACH_SCRAPE: Final = {"job", "instance"}
VARIABLES: Final = {"$__rate_interval": "5m", "$job": "mobync-hub", "$instance": ".*"}
Series = Mapping[str, Mapping[str, set[str]]]


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The metrics of a hub that has just started."""

    async def read() -> str:
        settings = dev_settings(tmp_path_factory.mktemp("hub"))
        async with serve(settings) as hub, hub.session.get(f"{hub.url}/metrics") as answer:
            return await answer.text()

    return asyncio.run(read())


@pytest.fixture(scope="module")
def series(exposed: str) -> Series:
    """Each name, with its labels and their values."""
    found: dict[str, dict[str, set[str]]] = {name: {} for name in OF_PROMETHEUS}
    for family in text_string_to_metric_families(exposed):
        for each in family.samples:
            labels = found.setdefault(each.name, {})
            for label, value in each.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


def selectors(query: str) -> Iterator[promql_parser.VectorSelector]:
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    visited: list[Any] = []
    promql_parser.walk(promql_parser.parse(query), visited.append)
    yield from (node for node in visited if isinstance(node, promql_parser.VectorSelector))


def faults(query: str, series: Series) -> list[str]:
    """What a query asks for that is not there."""
    found = []
    for each in selectors(query):
        labels = series.get(str(each.name))
        if labels is None:
            found.append(f"{query}: there is no {each.name}")
            continue
        for matcher in each.matchers.matchers:
            if matcher.name in OF_EACH_SCRAPE:
                continue
            if matcher.name not in labels:
                found.append(f"{query}: {each.name} has no label {matcher.name}")
            elif not set(matcher.value.split("|")) <= labels[matcher.name]:
                found.append(f"{query}: {matcher.name} of {each.name} is never {matcher.value}")
    return found


def grouped_by(query: str) -> set[str]:
    return {name for by in re.findall(r"by \(([^)]*)\)", query) for name in by.split(", ")}


def queries() -> Iterator[tuple[str, str]]:
    """Where each is, and what it says."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(
    ("where", "query"), [pytest.param(*each, id=each[0]) for each in queries()]
)
def test_a_query_asks_for_what_a_hub_shows(where: str, query: str, series: Series) -> None:
    asked_for = list(selectors(query))
    assert asked_for, where
    assert faults(query, series) == []
    known = {label for each in asked_for for label in series[str(each.name)]}
    assert grouped_by(query) <= known | OF_EACH_SCRAPE


@pytest.mark.parametrize(
    "query",
    [
        "rate(mobync_pushs_total[5m])",
        'sum(mobync_pushes_total{outcome="lost"}) > 1',
        'mobync_users / mobync_users{state="live"}',
        'histogram_quantile(0.9, sum by (le) (rate(mobync_ack_second_bucket{job="$job"}[5m])))',
    ],
)
def test_a_query_for_what_is_not_there_is_found(query: str, series: Series) -> None:
    assert len(faults(query, series)) == 1


def test_each_metric_of_the_hub_is_on_the_dashboard(series: Series) -> None:
    shown = {str(each.name) for _, query in queries() for each in selectors(query)}
    stems = {re.sub("_(bucket|sum|count)$", "", name) for name in shown}
    ours = {name for name in series if name.startswith("mobync_")}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in ours} <= stems


def test_an_alert_says_how_bad_it_is_and_what_to_do() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "action"}


def test_the_job_is_called_the_same_everywhere() -> None:
    (scraped,) = PROMETHEUS["scrape_configs"]
    jobs = {job for rule in RULES for job in re.findall(r'job="([^"]*)"', rule["expr"])}
    assert jobs == {scraped["job_name"]}
    assert (EXAMPLES / PROMETHEUS["rule_files"][0]).exists()


def test_panels_lie_beside_one_another_and_have_names_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for each in DASHBOARD["panels"]:
        at = each["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, each["title"]
        assert all(x < 24 for x, _ in cells)
        taken |= cells
    for key in ("id", "title"):
        assert len({each[key] for each in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_dashboard_takes_any_prometheus_and_any_hub() -> None:
    names = [each["name"] for each in DASHBOARD["templating"]["list"]]
    assert names == ["datasource", "job", "instance"]
    assert {each["datasource"]["uid"] for each in PANELS} == {"${datasource}"}
    assert not re.search(r"https?://", json.dumps(DASHBOARD))


# Prometheus' own tool


def promtool(*words: str | Path, said: str = "") -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian has it in the package prometheus)")
    done = subprocess.run(
        [program, *map(str, words)], input=said, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus_takes_the_metrics_and_finds_no_fault_with_their_names(exposed: str) -> None:
    ours = re.sub(r"^(# (HELP|TYPE) )?(process|python)_.*\n", "", exposed, flags=re.MULTILINE)
    assert promtool("check", "metrics", said=ours) == ""


def test_prometheus_takes_the_configuration_and_the_rules(tmp_path: Path) -> None:
    for name in ("alerts.yml", "prometheus.yml"):
        shutil.copy(EXAMPLES / name, tmp_path)
    (tmp_path / "metrics.token").write_text("x" * 64)
    said = promtool("check", "config", tmp_path / "prometheus.yml")
    assert f"{len(RULES)} rules found" in said


FIRING: Final = {
    "HubDown": {'up{job="mobync-hub", instance="h"}': "0x60"},
    "HubRestarts": {'process_start_time_seconds{job="mobync-hub", instance="h"}': "0+1x60"},
    "StoreDoesNotAnswer": {'mobync_store_up{instance="h"}': "0x60"},
    "PushesFail": {'mobync_pushes_total{instance="h", outcome="failed"}': "0+5x60"},
    "AcksAreSlow": {
        'mobync_ack_seconds_bucket{instance="h", le="1.0"}': "0+50x60",
        'mobync_ack_seconds_bucket{instance="h", le="2.5"}': "0+100x60",
        'mobync_ack_seconds_bucket{instance="h", le="+Inf"}': "0+100x60",
    },
    "CommitsAreSlow": {
        'mobync_commit_seconds_bucket{instance="h", le="0.512"}': "0+50x60",
        'mobync_commit_seconds_bucket{instance="h", le="1.0"}': "0+100x60",
        'mobync_commit_seconds_bucket{instance="h", le="+Inf"}': "0+100x60",
    },
    "LoopLags": {
        'mobync_loop_lag_seconds_bucket{instance="h", le="0.256"}': "0+50x60",
        'mobync_loop_lag_seconds_bucket{instance="h", le="0.512"}': "0+60x60",
        'mobync_loop_lag_seconds_bucket{instance="h", le="+Inf"}': "0+60x60",
    },
    "PushesWait": {'mobync_pushes_waiting{instance="h"}': "1001x60"},
    "FoldIsBehind": {'mobync_unfolded_rows{instance="h"}': "16001x60"},
    "WalGrows": {'mobync_wal_bytes{instance="h"}': f"{2**27}x60"},
    "ManyTokensDoNotCount": {
        'mobync_auth_failures_total{instance="h", reason="malformed"}': "0+600x60"
    },
    "IssuerIsAway": {'mobync_auth_failures_total{instance="h", reason="issuer_away"}': "0+1x60"},
    "DevicesBeginAnew": {'mobync_catchups_total{instance="h", way="reset"}': "0+20x60"},
    "ManySlowDevices": {'mobync_slow_sessions_total{instance="h", what="fell_behind"}': "0+120x60"},
    "ManyEditsAreRejected": {
        'mobync_rejected_diffs_total{instance="h", code="invalid_diff"}': "0+120x60"
    },
    "ManyAreTurnedAway": {'mobync_rate_limited_total{instance="h", effect="refused"}': "0+120x60"},
    "ManyHandshakesAreRefused": {
        'mobync_handshakes_refused_total{instance="h", reason="origin"}': "0+120x60"
    },
    "FilesRunOut": {
        'process_open_fds{job="mobync-hub", instance="h"}': "900x60",
        'process_max_fds{job="mobync-hub", instance="h"}': "1000x60",
    },
}
"""Of each alert an hour in which it fires in the end."""


def test_each_alert_fires_when_it_should_and_not_when_all_is_well(tmp_path: Path) -> None:
    assert set(FIRING) == {rule["alert"] for rule in RULES}
    tests = [case for rule in RULES for case in cases_of(rule, FIRING[rule["alert"]])]
    assert len(tests) > len(RULES)
    bare = [{key: rule[key] for key in rule if key != "annotations"} for rule in RULES]
    (tmp_path / "bare.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": bare}]}))
    file = {"rule_files": ["bare.yml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(file))
    assert "SUCCESS" in promtool("test", "rules", tmp_path / "test.yml")


def cases_of(rule: Mapping[str, Any], values: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The alert fires by these values, and does not where counters stand still."""
    name, severity = rule["alert"], rule["labels"]["severity"]
    labels = dict(re.findall(r'(\w+)="([^"]*)"', next(iter(values))))
    kept = grouped_by(rule["expr"]) or set(labels)
    expected = {label: value for label, value in labels.items() if label in kept - {"le"}}
    fires = [{"exp_labels": {**expected, "severity": severity}}]
    yield case(name, values, fires)
    still = {series: re.sub(r"\+\d+", "+0", each) for series, each in values.items()}
    if still != values:
        yield case(name, still, [])


def case(name: str, values: Mapping[str, str], alerts: Sequence[Any]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": key, "values": value} for key, value in values.items()],
        "alert_rule_test": [{"eval_time": "59m", "alertname": name, "exp_alerts": alerts}],
    }
