"""What the operator decides, each setting defined once: by its field.

The structs are `Settings`, `Edge`, `Limits`, `Metrics`, `Rates`, `Retention` and `Tokens`. The
field's name, type, bounds, default and text make its flag (`--http-port`), its variable in the
environment (`MOBYNC_HTTP_PORT`), its key in the TOML file (`http_port`; those of all but the first
in tables, as in `[limits]`) and its line in the help; hub/loading.py reads what was given of them.
No secret is ever a setting: only the name of the file that has it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, get_args, get_origin

import msgspec
from msgspec import Meta

from hub.edge import Edge
from hub.errors import SettingsError
from hub.limits import Limits
from hub.metrics.settings import Metrics
from hub.origins import Pages, check_origin, pages_of
from hub.rates import Rates
from hub.retention import Retention
from hub.tokens import JwksPlace, Tokens, check_one, is_loopback

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
Checkpoints: TypeAlias = Literal["hub", "litestream"]
DiskWait: TypeAlias = Literal["auto", "loop", "thread"]
Refill: TypeAlias = Literal["on", "off"]
LogFormat: TypeAlias = Literal["auto", "text", "json"]

GROUPS: Final = (
    "Listening",
    "TLS and proxies",
    "Data",
    "Tokens",
    "Application rules",
    "Limits",
    "Rates",
    "Retention",
    "Logs",
    "Metrics",
    "Settings file",
)
_LISTENING, _EDGE, _DATA, _TOKENS, _RULES, _LIMITS, _RATES, _RETENTION, *_OTHERS = GROUPS
_LOGS, _METRICS, _FILE = _OTHERS

FILE_GROUPS: Final = (_DATA, _RULES, _LIMITS, _RETENTION)
"""Settings that bear on what is in the file, whoever opens it."""

OPEN_GROUPS: Final = (_LIMITS, _RATES, _RETENTION, _LOGS)
"""Settings whose values are numbers and words of the hub's own, and tell nobody's secrets."""

_ENV_PREFIX: Final = "MOBYNC_"
TABLES: Final[Mapping[str, tuple[type[msgspec.Struct], str]]] = {
    "edge": (Edge, _EDGE),
    "limits": (Limits, _LIMITS),
    "metrics": (Metrics, _METRICS),
    "rates": (Rates, _RATES),
    "retention": (Retention, _RETENTION),
    "tokens": (Tokens, _TOKENS),
}
"""Fields of `Settings` that are tables in the TOML file, and their heading in the help."""
CONFIG: Final = "config"
"""The setting that names the TOML file, which cannot be in it."""
_LONGEST_SHOWN: Final = 80


def _in(
    group: str,
    description: str,
    value: str = "",
    *,
    least: int | None = None,
    most: int | None = None,
) -> Meta:
    """Where a setting stands in the help, its text, how its value is called there, its bounds."""
    extra = {"group": group, "value": value}
    return Meta(description=description, extra=extra, ge=least, le=most)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that an operator decides.

    Raises:
        SettingsError: settings that contradict each other.

    """

    host: Annotated[str, _in(_LISTENING, "Address that devices connect to.", "HOST")] = "127.0.0.1"
    port: Annotated[
        int,
        _in(_LISTENING, "Port for devices (WebSocket); 0 takes a free one.", least=0, most=65535),
    ] = 8765
    http_host: Annotated[
        str | None, _in(_LISTENING, "Address for HTTP, if not that of --host.", "HOST")
    ] = None
    http_port: Annotated[
        int,
        _in(
            _LISTENING,
            "Port for HTTP (polling clients, health); 0 takes a free one.",
            least=0,
            most=65535,
        ),
    ] = 8766
    origins: Annotated[
        tuple[str, ...],
        _in(
            _LISTENING,
            "Web pages that may connect and poll, by origin (https://app.example.com); if none is "
            "given, any page may, for it is the token that counts; under --dev, those of this "
            "machine.",
            "ORIGIN,ORIGIN",
        ),
    ] = ()
    compression: Annotated[
        bool, _in(_LISTENING, "Compress frames: less traffic, four times the memory a device.")
    ] = False

    data: Annotated[Path, _in(_DATA, "The SQLite file with everybody's data.")] = Path("hub.db")

    checkpoints: Annotated[
        Checkpoints,
        _in(_DATA, "Who moves the WAL into the data file: the hub, or Litestream beside it."),
    ] = "hub"
    disk_wait: Annotated[
        DiskWait,
        _in(
            _DATA,
            "Where a commit waits for the disk: on the loop, on a thread, or, auto, on the loop "
            "while the disk is swift.",
        ),
    ] = "auto"
    refill: Annotated[
        Refill, _in(_DATA, "Whether a restored hub takes back from devices what its copy lacks.")
    ] = "on"

    dev: Annotated[
        bool, _in(_TOKENS, "For trying: a token is simply the user's name. Loopback only.")
    ] = False
    token_secret_file: Annotated[
        Path | None,
        _in(_TOKENS, "Tokens are JWTs signed with the secret in this file (HS256, 32 bytes up)."),
    ] = None
    token_key_file: Annotated[
        Path | None,
        _in(
            _TOKENS,
            "Tokens are JWTs that this PEM public key proves: RSA (RS256), EC P-256 (ES256) or "
            "Ed25519 (EdDSA).",
        ),
    ] = None
    token_audience: Annotated[
        str | None,
        _in(
            _TOKENS,
            "What a token's aud must name. Without it a token for any audience is refused "
            "(RFC 7519, section 4.1.3).",
        ),
    ] = None
    token_leeway_seconds: Annotated[
        float,
        _in(_TOKENS, "How much longer a token counts, for clocks that differ.", least=0, most=3600),
    ] = 0.0

    policy: Annotated[
        str | None,
        _in(
            _RULES,
            "The application's own rules, asked about each diff: a Python object, found from the "
            "working directory too.",
            "PACKAGE.MODULE:OBJECT",
        ),
    ] = None

    log_level: Annotated[LogLevel, _in(_LOGS, "The least that is logged.")] = "info"
    log_format: Annotated[
        LogFormat, _in(_LOGS, "auto: text for people on a terminal, JSON lines otherwise.")
    ] = "auto"

    config: Annotated[
        Path | None,
        _in(
            _FILE,
            "A TOML file with any of these settings, some of them in its tables [edge], [limits], "
            "[metrics], [rates], [retention] and [tokens].",
        ),
    ] = None

    edge: Edge = Edge()
    limits: Limits = Limits()
    metrics: Metrics = Metrics()
    rates: Rates = Rates()
    retention: Retention = Retention()
    tokens: Tokens = Tokens()

    def __post_init__(self) -> None:
        self._check_tokens()
        self._check_dev_hosts()
        for origin in self.origins:
            check_origin(origin)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port for devices."""
        return self.host, self.port

    @property
    def http_address(self) -> tuple[str, int]:
        """Host and port for HTTP."""
        return self.http_host or self.host, self.http_port

    @property
    def pages(self) -> Pages:
        """Which web pages may talk to the hub."""
        return pages_of(self.origins, dev=self.dev)

    def _check_tokens(self) -> None:
        ways = {
            name: getattr(self, name) for name in ("dev", "token_secret_file", "token_key_file")
        }
        check_one({**ways, "token_jwks": self.tokens.token_jwks})

    def _check_dev_hosts(self) -> None:
        for name in ("host", "http_host"):
            host = getattr(self, name)
            if self.dev and host and not is_loopback(host):
                raise SettingsError(
                    f"{name} is {host}, which other machines may reach, and with dev on anybody "
                    "there could be any user",
                    "listen on 127.0.0.1, or use tokens instead of dev",
                    name,
                    "dev",
                )


def shown(value: object) -> str:
    """A value as it was given, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


class Definition(NamedTuple):
    """One setting, as its field defines it; `table` is its table in the TOML file, or empty."""

    name: str
    type: Any
    default: Any
    meta: Meta
    table: str

    @property
    def flag(self) -> str:
        """The option on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def env(self) -> str:
        """The variable in the environment."""
        return _ENV_PREFIX + self.name.upper()

    @property
    def key(self) -> str | None:
        """The key in the TOML file, dotted; none for the file's own name."""
        if self.name == CONFIG:
            return None
        return f"{self.table}.{self.name}" if self.table else self.name

    @property
    def help(self) -> str:
        """What it is for, in a sentence."""
        return self.meta.description or ""

    @property
    def group(self) -> str:
        """Under which heading of `GROUPS` it stands."""
        group: str = (self.meta.extra or {}).get("group") or TABLES[self.table][1]
        return group

    @property
    def kind(self) -> Any:
        """The type, without its texts and without None."""
        kind = self.type.__origin__
        if isinstance(kind, UnionType):
            return next(part for part in get_args(kind) if part is not NoneType)
        return kind

    @property
    def is_switch(self) -> bool:
        """Whether it is on or off."""
        return self.kind is bool

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that count, where not any text does."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def metavar(self) -> str:
        """How the value is called in the help."""
        called = (self.meta.extra or {}).get("value")
        return called or "|".join(self.choices) or _METAVARS[self.kind]

    @property
    def wanted(self) -> str:
        """What counts as a value, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        return _WANTED[self.kind] + _bounds(self.meta)

    @property
    def shown_default(self) -> str:
        """The default as a person writes it; empty for none."""
        if self.default is None or self.default == ():
            return ""
        if self.is_switch:
            return str(self.default).lower()
        if isinstance(self.default, tuple):
            return ",".join(self.default)
        return f"{self.default:g}" if self.kind is float else str(self.default)


_METAVARS: Final[Mapping[Any, str]] = {
    int: "NUMBER",
    float: "SECONDS",
    bool: "",
    str: "TEXT",
    Path: "FILE",
    JwksPlace: "FILE|URL",
}
_WANTED: Final[Mapping[Any, str]] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text that is not empty",
    Path: "the name of a file",
    JwksPlace: "the name of a file or an https address",
    tuple[str, ...]: "a list of texts",
}


def _bounds(meta: Meta) -> str:
    if meta.gt is not None:
        return f" above {meta.gt:g} and at most {meta.le:.16g}"
    return "" if meta.ge is None else f" from {meta.ge} to {meta.le}"


def _definitions(struct: type[msgspec.Struct], table: str) -> Iterator[Definition]:
    for field in msgspec.structs.fields(struct):
        for meta in getattr(field.type, "__metadata__", ()):
            yield Definition(field.name, field.type, field.default, meta, table)


DEFINITIONS: Final = (
    *_definitions(Settings, ""),
    *(item for table, (struct, _) in TABLES.items() for item in _definitions(struct, table)),
)
BY_KEY: Final = {definition.key: definition for definition in DEFINITIONS if definition.key}
