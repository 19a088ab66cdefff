"""How the hub meets the internet: its certificate, and the proxies whose word about a peer counts.

The names, types and texts here are also those of the flags, of the environment and of the `[edge]`
table of the TOML file: see hub/settings.py.
"""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from hub.errors import SettingsError

ForwardedHeader: TypeAlias = Literal["x-forwarded-for", "forwarded"]
_LONGEST_SHOWN: Final = 80


def _named(description: str, value: str) -> Meta:
    return Meta(description=description, extra={"value": value})


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """TLS by file, and trusted proxies.

    Raises:
        SettingsError: half of a pair is missing, or a proxy is named by what is no address.

    """

    tls_cert_file: Annotated[
        Path | None,
        _named(
            "The certificate, and behind it those that vouch for it (PEM): both ports then speak "
            "TLS. Read again when the file changes.",
            "FILE",
        ),
    ] = None
    tls_key_file: Annotated[
        Path | None,
        _named("The private key of that certificate (PEM, without a password).", "FILE"),
    ] = None
    trusted_proxies: Annotated[
        tuple[str, ...],
        _named(
            "Proxies that say truly where a peer is, by address or network (127.0.0.1, "
            "10.0.0.0/8); nobody else is believed.",
            "ADDRESS,ADDRESS",
        ),
    ] = ()
    forwarded_header: Annotated[
        ForwardedHeader,
        _named(
            "The header in which they say it. The other one is never read: a peer could have "
            "written it.",
            "",
        ),
    ] = "x-forwarded-for"

    def __post_init__(self) -> None:
        self._check_pair()
        for proxy in self.trusted_proxies:
            _check_proxy(proxy)

    def _check_pair(self) -> None:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            there, missing = ("tls_cert_file", "tls_key_file")[:: 1 if self.tls_cert_file else -1]
            raise SettingsError(
                f"{there} is given, and {missing} is not: TLS needs both",
                f"give {missing}, too; it may name the same file, if that holds both",
                there,
                missing,
            )


def _check_proxy(proxy: str) -> None:
    try:
        ip_network(proxy)
    except ValueError as error:
        is_inside = "host bits" in str(error)
        why = "is an address within a network" if is_inside else "is neither address nor network"
        raise SettingsError(
            f"trusted_proxies has {proxy[:_LONGEST_SHOWN]!r}, which {why}",
            "give addresses or networks, as in 127.0.0.1,10.0.0.0/8; a name is not looked up",
            "trusted_proxies",
        ) from None
