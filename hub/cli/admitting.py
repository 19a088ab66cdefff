"""The verbs that let in and turn away: `token` and `revoke`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import rich_click as click

from hub.cli.group import explained, with_data, with_help, with_json

if TYPE_CHECKING:
    from hub.auth import Secret, SigningKey

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_REVOKE_FOOTER: Final = """\
Examples
  mobync-hub revoke user alice --data hub.db
  mobync-hub revoke device alice phone
  mobync-hub revoke token 6f1c-77 --expires 1h
  mobync-hub revoke --undo user alice
  mobync-hub revoke --list"""

_MAKING_FOOTER: Final = """\
Examples
  mobync-hub token --secret-file secret.txt --user alice
  mobync-hub token --key-file private.pem --user alice --expires 30d"""


@click.command()
@with_help(_REVOKE_FOOTER)
@click.argument("names", metavar="[user USER | device USER DEVICE | token ID]", nargs=-1)
@with_data
@with_json
@click.option("--undo", is_flag=True, help="Let them in again.")
@click.option("--list", "as_list", is_flag=True, help="Show who is revoked.")
@click.option(
    "--expires", metavar="TIME", help="When the token runs out, as in 15m or 30d: kept until then."
)
def revoke(
    names: tuple[str, ...],
    data: str | None,
    config: str | None,
    undo: bool,  # noqa: FBT001 - click gives it by name
    as_list: bool,  # noqa: FBT001
    expires: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Turn away a user, a device of a user, or the token of an id (jti).

    At once and durably: their connections end, and they do not come in again. It works beside a
    hub that serves, and on the file of one that is stopped.
    """
    from hub import revoke as command  # noqa: PLC0415 - so that the help need not wait for it

    until = None if expires is None else time.time_ns() // 1_000_000 + _milliseconds(expires)
    with explained():
        path = command.file_of(data, config)
        if as_list:
            command.show(path, as_json=as_json)
        else:
            command.change(names, path, until, undo=undo, as_json=as_json)


@click.command()
@with_help(_MAKING_FOOTER)
@click.option("--secret-file", type=Path, metavar="FILE", help="The hub's token secret (HS256).")
@click.option(
    "--key-file", type=Path, metavar="FILE", help="The private key (PEM) to the hub's public one."
)
@click.option("--user", required=True, help="Whose token it is.")
@click.option("--device", help="The only device that may use it; without it, any.")
@click.option(
    "--expires", default="1h", show_default=True, metavar="TIME", help="As in 90s, 15m, 1h or 30d."
)
@click.option("--read-only", is_flag=True, help="A token that changes nothing.")
@click.option("--audience", help="The hub's --token-audience, if it has one.")
@click.option("--issuer", help="The hub's --token-issuer, if it has one.")
@click.option("--key-id", help="The name (kid) of the key in the hub's --token-jwks.")
@click.option("--id", "token_id", help="The token's own id (jti), by which it can be revoked.")
def token(
    secret_file: Path | None,
    key_file: Path | None,
    user: str,
    device: str | None,
    expires: str,
    read_only: bool,  # noqa: FBT001 - click gives it by name
    audience: str | None,
    issuer: str | None,
    key_id: str | None,
    token_id: str | None,
) -> None:
    """Print a token, to try a hub with; applications make their own."""
    from hub import auth  # noqa: PLC0415 - so that the help need not wait for it

    until = time.time_ns() // 1_000_000 + _milliseconds(expires)
    grant = auth.Grant(user, device, until, read_only, token_id)
    with explained():
        key = _key(secret_file, key_file)
        click.echo(auth.make_token(key, grant, audience, issuer, key_id))


def _key(secret_file: Path | None, key_file: Path | None) -> "Secret | SigningKey":
    from hub import auth  # noqa: PLC0415 - so that the help need not wait for it

    if secret_file is not None and key_file is None:
        return auth.read_secret(secret_file)
    if key_file is not None and secret_file is None:
        return auth.read_private_key(key_file)
    raise click.UsageError("give exactly one of --secret-file and --key-file")


def _milliseconds(time_text: str) -> int:
    number, unit = time_text[:-1], time_text[-1:]
    if not (number.isdecimal() and unit in _UNITS):
        raise click.BadParameter("a number and s, m, h or d, as in 15m", param_hint="--expires")
    return int(number) * _UNITS[unit] * 1_000
