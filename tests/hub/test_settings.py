import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.edge import Edge
from hub.errors import SettingsError
from hub.limits import Limits
from hub.loading import load
from hub.metrics.settings import Metrics
from hub.rates import Rates
from hub.retention import Retention
from hub.settings import DEFINITIONS, GROUPS, Definition, Settings
from hub.tokens import JwksPlace, Tokens

BY_NAME = {item.name: item for item in DEFINITIONS}
DEV = {"dev": True}

FREE = [
    BY_NAME[name]
    for name in (
        "port",
        "http_port",
        "http_host",
        "origins",
        "compression",
        "forwarded_header",
        "data",
        "token_audience",
        "token_leeway_seconds",
        "token_issuer",
        "admin_token_file",
        "policy",
        "log_level",
        "log_format",
        "max_diffs",
        "max_depth",
        "max_connections",
        "send_buffer_bytes",
        "hello_seconds",
        "stop_seconds",
    )
]
"""Settings that no rule ties to another, of every type there is."""

VALUES: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(1, 200),
    float: st.floats(0.001, 3600),
    bool: st.booleans(),
    str: st.sampled_from(["127.0.0.1", "::1", "localhost"]),
    Path: st.sampled_from([Path("/srv/a.db"), Path("/srv/b.db")]),
    tuple[str, ...]: st.sampled_from([("https://a.example",), ("https://a.example", "http://b:1")]),
}
SOURCES = ("flag", "environment", "file")


def values_of(item: Definition) -> st.SearchStrategy[Any]:
    return st.sampled_from(item.choices) if item.choices else VALUES[item.kind]


def as_text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(as_toml, value))}]"
    return f'"{value}"' if isinstance(value, str | Path) else as_text(value)


def value_in(settings: Settings, item: Definition) -> object:
    return getattr(getattr(settings, item.table) if item.table else settings, item.name)


def error_of(action: Callable[[], object]) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        action()
    return caught.value


def written(folder: Path, text: str) -> dict[str, object]:
    (folder / "hub.toml").write_text(text)
    return {"dev": True, "config": str(folder / "hub.toml")}


# What a setting is called


def test_every_setting_has_names_of_its_own_a_group_and_a_help() -> None:
    assert len({item.flag for item in DEFINITIONS}) == len(DEFINITIONS)
    assert len({item.env for item in DEFINITIONS}) == len(DEFINITIONS)
    for item in DEFINITIONS:
        assert item.group in GROUPS
        assert item.help.endswith(".")


def test_every_field_of_settings_and_of_its_tables_is_a_setting() -> None:
    tables = {
        "edge": Edge,
        "limits": Limits,
        "metrics": Metrics,
        "rates": Rates,
        "retention": Retention,
        "tokens": Tokens,
    }
    inner = {name for table in tables.values() for name in table.__struct_fields__}
    fields = {*Settings.__struct_fields__, *inner} - tables.keys()
    assert {item.name for item in DEFINITIONS} == fields


def test_flag_variable_and_key_come_from_the_one_name() -> None:
    port, most = BY_NAME["http_port"], BY_NAME["max_diffs"]
    assert (port.flag, port.env, port.key) == ("--http-port", "MOBYNC_HTTP_PORT", "http_port")
    assert (most.flag, most.env, most.key) == (
        "--max-diffs",
        "MOBYNC_MAX_DIFFS",
        "limits.max_diffs",
    )
    assert BY_NAME["config"].key is None


def test_the_default_that_is_shown_is_the_default_that_counts() -> None:
    defaults = load(DEV, {}).settings
    for item in DEFINITIONS:
        if item.shown_default and item.name != "dev":
            again = load({**DEV, item.name: item.shown_default}, {}).settings
            assert value_in(again, item) == value_in(defaults, item)


# Which of several counts


@given(st.data())
def test_the_flag_counts_before_the_variable_and_the_variable_before_the_file(
    data: st.DataObject,
) -> None:
    item = data.draw(st.sampled_from(FREE))
    said = {
        source: data.draw(values_of(item), source)
        for source in data.draw(st.sets(st.sampled_from(SOURCES)), "sources")
    }
    with tempfile.TemporaryDirectory() as folder:
        flags = written(
            Path(folder), f"{item.key} = {as_toml(said['file'])}" if "file" in said else ""
        )
        if "flag" in said:
            flags[item.name] = as_text(said["flag"])
        env = {item.env: as_text(said["environment"])} if "environment" in said else {}
        loaded = load(flags, env)

    first = next((source for source in SOURCES if source in said), None)
    expected = item.default if first is None else said[first]
    assert value_in(loaded.settings, item) == expected
    place = {
        None: None,
        "flag": item.flag,
        "environment": item.env,
        "file": f"{folder}/hub.toml: {item.key}",
    }[first]
    assert loaded.places.get(item.name) == place


def test_a_value_that_is_overruled_need_not_be_a_good_one() -> None:
    settings = load({**DEV, "port": "1"}, {"MOBYNC_PORT": "tcp://10.0.0.1:8765"}).settings
    assert settings.port == 1


def test_an_empty_variable_counts_as_none() -> None:
    assert load(DEV, {"MOBYNC_POLICY": "", "MOBYNC_PORT": ""}).settings.port == 8765


def test_the_file_may_be_named_in_the_environment(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text("dev = true\nport = 7\n\n[limits]\nmax_diffs = 8\n")
    settings = load({}, {"MOBYNC_CONFIG": str(tmp_path / "hub.toml")}).settings
    assert (settings.port, settings.limits.max_diffs) == (7, 8)


def test_a_path_in_the_file_counts_from_the_files_folder(tmp_path: Path) -> None:
    settings = load(written(tmp_path, 'data = "here/hub.db"'), {}).settings
    assert settings.data == tmp_path / "here/hub.db"
    assert load({**DEV, "data": "here/hub.db"}, {}).settings.data == Path("here/hub.db")


def test_the_edge_is_a_table_of_the_file_and_its_paths_count_from_there(tmp_path: Path) -> None:
    lines = ["[edge]", 'tls_cert_file = "c.pem"', 'tls_key_file = "k.pem"']
    lines.append('trusted_proxies = ["127.0.0.1", "10.0.0.0/8"]')
    edge = load(written(tmp_path, "\n".join(lines)), {}).settings.edge
    assert (edge.tls_cert_file, edge.tls_key_file) == (tmp_path / "c.pem", tmp_path / "k.pem")
    assert edge.trusted_proxies == ("127.0.0.1", "10.0.0.0/8")
    flags = {**DEV, "trusted_proxies": "127.0.0.1, ::1"}
    assert load(flags, {}).settings.edge.trusted_proxies == ("127.0.0.1", "::1")


def test_a_switch_that_the_file_turns_on_the_flag_turns_off(tmp_path: Path) -> None:
    flags = written(tmp_path, "compression = true")
    assert load(flags, {}).settings.compression
    assert not load({**flags, "compression": False}, {}).settings.compression


def test_http_listens_where_devices_do_unless_told_otherwise() -> None:
    assert Settings(dev=True, host="::1").http_address == ("::1", 8766)
    assert Settings(dev=True, http_host="localhost", http_port=1).http_address == ("localhost", 1)
    assert Settings(dev=True, port=0).address == ("127.0.0.1", 0)


# What cannot be


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("port", "http", "a whole number from 0 to 65535"),
        ("port", "65536", "a whole number from 0 to 65535"),
        ("port", "-1", "a whole number from 0 to 65535"),
        ("port", "1.5", "a whole number from 0 to 65535"),
        ("host", "", "a text that is not empty"),
        ("data", "", "the name of a file"),
        ("compression", "perhaps", "true or false"),
        ("log_level", "loud", "one of debug, info, warning, error"),
        ("max_diffs", "0", "a whole number from 1 to 9007199254740991"),
        ("max_depth", "201", "a whole number from 1 to 200"),
        ("hello_seconds", "0", "a number above 0 and at most 86400"),
        ("hello_seconds", "nan", "a number above 0 and at most 86400"),
        ("hello_seconds", "inf", "a number above 0 and at most 86400"),
    ],
)
def test_a_flag_that_cannot_be_read_is_named_with_what_would_do(
    name: str, value: str, wanted: str
) -> None:
    error = error_of(lambda: load({**DEV, name: value}, {}))
    assert error.problem == f"{name} is {value!r}, which is not {wanted}"
    assert error.remedy == f"give {wanted}"
    assert error.places == {name: BY_NAME[name].flag}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('port = "8765"', "port"),
        ("port = 8765.5", "port"),
        ("port = true", "port"),
        ("compression = 1", "compression"),
        ("data = 5", "data"),
        ('data = "a\\u0000b"', "data"),
        ('host = ""', "host"),
        ('origins = "https://a.example"', "origins"),
        ("limits.max_diffs = 1e3", "max_diffs"),
        ("limits.hello_seconds = inf", "hello_seconds"),
        ("port = {}", "port"),
    ],
)
def test_a_key_of_another_type_is_named_with_its_place(
    tmp_path: Path, line: str, name: str
) -> None:
    error = error_of(lambda: load(written(tmp_path, line), {}))
    assert error.problem.startswith(f"{name} is ")
    assert error.places == {name: f"{tmp_path}/hub.toml: {BY_NAME[name].key}"}


@pytest.mark.parametrize(
    ("line", "key", "remedy"),
    [
        ("http-port = 1", "http-port", "write http_port"),
        ("prot = 1", "prot", "write port"),
        ("max_diffs = 1", "max_diffs", "write limits.max_diffs"),
        (
            "[limits]\nport = 1",
            "limits.port",
            "write port, at the top of the file, above its tables",
        ),
        (
            '[tokens]\ntoken_secret_file = "a"',
            "tokens.token_secret_file",
            "write token_secret_file, at the top of the file, above its tables",
        ),
        ("[limits]\nmax_difs = 1", "limits.max_difs", "write limits.max_diffs"),
        ("[limit]\nmax_diffs = 1", "limit.max_diffs", "write limits.max_diffs"),
        ('config = "b.toml"', "config", "see mobync-hub settings for all there are"),
        ("limit = {}", "limit", "see mobync-hub settings for all there are"),
        ("limits = 1", "limits", "see mobync-hub settings for all there are"),
        ("[limits]", "", ""),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(
    tmp_path: Path, line: str, key: str, remedy: str
) -> None:
    flags = written(tmp_path, line)
    if not key:
        assert load(flags, {}).settings.limits == Limits()
        return
    error = error_of(lambda: load(flags, {}))
    assert error.problem == f"the settings file {tmp_path}/hub.toml has {key}, which is no setting"
    assert error.remedy == remedy
    assert error.places == {"config": "--config"}


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    missing = error_of(lambda: load(DEV, {"MOBYNC_CONFIG": str(tmp_path / "no.toml")}))
    assert "no.toml cannot be read: No such file" in str(missing)
    assert missing.places == {"config": "MOBYNC_CONFIG"}
    assert "is not TOML" in str(error_of(lambda: load(written(tmp_path, "port 8765"), {})))
    (tmp_path / "hub.toml").write_bytes(b'host = "\xff"')
    assert "is not TOML" in str(error_of(lambda: load({"config": str(tmp_path / "hub.toml")}, {})))


@given(
    st.dictionaries(st.sampled_from(sorted(BY_NAME.keys() - {"config"})), st.text(st.characters()))
)
def test_whatever_text_the_settings_have_they_load_or_say_what_is_wrong(
    texts: dict[str, str],
) -> None:
    for flags, env in (
        (texts, {}),
        ({}, {BY_NAME[name].env: text for name, text in texts.items()}),
    ):
        try:
            settings = load(flags, env).settings
        except SettingsError as error:
            assert str(error)  # noqa: PT017 - either outcome is right, another exception is not
        else:
            ways = settings.token_key_file, settings.token_secret_file, settings.tokens.token_jwks
            assert settings.dev or any(ways)


# What contradicts itself


def test_a_hub_that_nobody_could_connect_to_is_refused() -> None:
    assert "nothing says whose tokens count" in str(error_of(Settings))


@pytest.mark.parametrize(
    "ways",
    [
        {"dev": True, "token_secret_file": "s"},
        {"dev": True, "token_key_file": "k"},
        {"token_secret_file": "s", "token_key_file": "k"},
        {"token_secret_file": "s", "token_jwks": "j"},
        {"dev": True, "token_secret_file": "s", "token_key_file": "k"},
    ],
)
def test_two_ways_to_prove_a_token_are_one_too_many(ways: dict[str, object]) -> None:
    error = error_of(lambda: load(ways, {}))
    assert set(error.settings) == set(ways)
    assert error.remedy == "keep one of them"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_a_dev_hub_listens_on_loopback(host: str) -> None:
    assert Settings(dev=True, host=host, http_host=host).host == host


@pytest.mark.parametrize("name", ["host", "http_host"])
@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "192.168.1.2", "example.com", "localhost.example.com", "127.0.0.1.a"],  # noqa: S104 - refused
)
def test_a_dev_hub_listens_nowhere_else(name: str, host: str) -> None:
    error = error_of(lambda: load({**DEV, name: host}, {}))
    assert error.settings == (name, "dev")
    assert error.places == {name: f"--{name.replace('_', '-')}", "dev": "--dev"}


def test_a_hub_with_tokens_listens_anywhere() -> None:
    assert Settings(token_secret_file=Path("s"), host="0.0.0.0").host == "0.0.0.0"  # noqa: S104 - the point


def test_dev_may_be_turned_off_for_tokens(tmp_path: Path) -> None:
    flags = {**written(tmp_path, "dev = true"), "dev": False, "token_secret_file": "s"}
    assert load(flags, {}).settings.token_secret_file == Path("s")


@pytest.mark.parametrize(
    "origin", ["https://a.example/", "https://a.example/app", "a.example", "*", "null"]
)
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    outcome = error_of(lambda: load({**DEV, "origins": f"https://ok.example, {origin}"}, {}))
    assert outcome.settings == ("origins",)


# Limits


@pytest.mark.parametrize("name", Limits.__struct_fields__)
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_is_above_zero(name: str, value: float) -> None:
    assert error_of(lambda: Limits(**{name: value})).settings == (name,)  # type: ignore[arg-type]


@pytest.mark.parametrize("carrier", ["max_frame_bytes", "max_body_bytes"])
def test_an_object_must_fit_into_what_carries_it(carrier: str) -> None:
    error = error_of(lambda: load(DEV, {BY_NAME[carrier].env: "1000"}))
    assert "could never arrive" in error.problem
    assert error.places == {"max_object_bytes": "the default", carrier: BY_NAME[carrier].env}
    assert load(DEV, {BY_NAME[carrier].env: "1000", "MOBYNC_MAX_OBJECT_BYTES": "1000"})


def test_a_device_is_not_given_up_before_it_was_asked() -> None:
    error = error_of(lambda: Limits(ping_seconds=30.0, ping_timeout_seconds=29.0))
    assert error.settings == ("ping_timeout_seconds", "ping_seconds")


def test_the_defaults_are_those_of_the_protocol() -> None:
    limits = Limits()
    assert (limits.max_diffs, limits.max_frame_bytes) == (1_000, 2**20)
    assert (limits.max_object_bytes, limits.max_depth) == (256 * 1024, 64)
    assert (limits.max_connections, limits.max_ungreeted) == (10_000, 2_000)
    assert (limits.max_devices_per_user, limits.max_clock_ahead_seconds) == (100, 60)
    assert (limits.hello_seconds, limits.stall_seconds) == (10, 60)
    assert (limits.ping_seconds, limits.ping_timeout_seconds) == (20, 60)


def test_an_error_says_what_where_and_how() -> None:
    error = error_of(lambda: load(DEV, {"MOBYNC_PORT": "x"}))
    assert str(error) == (
        "port is 'x', which is not a whole number from 0 to 65535 (port: MOBYNC_PORT). "
        "To mend it, give a whole number from 0 to 65535."
    )


def test_a_long_value_is_not_repeated_in_full() -> None:
    assert len(str(error_of(lambda: load({**DEV, "port": "9" * 100_000}, {})))) < 400


def test_keys_in_the_listing_are_keys_of_toml() -> None:
    text = "\n".join(f"{item.key} = 1" for item in DEFINITIONS if item.key)
    assert len(tomllib.loads(text)["limits"]) == len(Limits.__struct_fields__)


# Where the keys of an issuer are


def test_a_set_of_keys_is_a_file_or_an_address_that_only_its_owner_answers_for(
    tmp_path: Path,
) -> None:
    def place(value: str) -> JwksPlace | None:
        return load({"token_jwks": value}, {}).settings.tokens.token_jwks

    assert place("keys.json") == JwksPlace("keys.json", Path("keys.json"))
    assert place("https://id.example/jwks") == JwksPlace("https://id.example/jwks")
    assert place("http://127.0.0.1:8080/jwks") == JwksPlace("http://127.0.0.1:8080/jwks")
    for value in ("http://id.example/jwks", "ftp://id.example/jwks", "https://", "https://a:b@c/"):
        error = error_of(lambda value=value: place(value))  # type: ignore[misc]
        assert "not the name of a file or an https address" in error.problem
    flags = written(tmp_path, '[tokens]\ntoken_jwks = "keys.json"')
    loaded = load({**flags, "dev": False}, {}).settings
    assert loaded.tokens.token_jwks == JwksPlace("keys.json", tmp_path / "keys.json")
