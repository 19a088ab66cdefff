"""Who may read the metrics: the table `[metrics]`.

The names, types and texts here are also those of the flags, of the environment and of that table of
the TOML file: see hub/settings.py.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

Access: TypeAlias = Literal["token", "open", "off"]


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Who may read `GET /metrics` on the HTTP port."""

    metrics_access: Annotated[
        Access,
        Meta(
            description="Who may read GET /metrics. token: whoever shows the token of "
            "--metrics-token-file or --admin-token-file; with neither it is off, but for --dev, "
            "where it is open. open: whoever reaches the HTTP port.",
        ),
    ] = "token"
    metrics_token_file: Annotated[
        Path | None,
        Meta(
            description="Whoever shows the token in this file (32 bytes up) may read the metrics, "
            "and do nothing else.",
        ),
    ] = None
