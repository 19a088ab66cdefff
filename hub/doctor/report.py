"""The command `mobync-hub doctor`: a table for people, lines for a pipe, JSON for programs."""

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hub import logs
from hub.doctor.examination import examination
from hub.doctor.findings import Finding, Verdict, exit_code
from hub.names import printable

NICENESS: Final = 10
"""How far it stands back behind the hub that serves meanwhile."""
_STYLES: Final[Mapping[Verdict, str]] = {"well": "green", "note": "yellow", "wrong": "bold red"}


def show(flags: Mapping[str, object], *, as_json: bool, thoroughly: bool) -> int:
    """Look at everything, say what was found, and give the exit code."""
    logs.configure("error", "auto")  # what a hub would log is found here
    os.nice(NICENESS)
    is_table = sys.stdout.isatty() and not as_json
    with _busy() if is_table else nullcontext():
        findings = list(examination(flags, os.environ, thoroughly=thoroughly))
    if is_table:
        Console().print(table_of(findings))
    for line in () if is_table else map(_as_json if as_json else _as_text, findings):
        click.echo(line)
    return exit_code(findings)


def _busy() -> AbstractContextManager[object]:
    return Console(stderr=True).status("looking at the file; a large one takes a while")


def table_of(findings: Iterable[Finding]) -> Table:
    """One row for each, and what to do below what was found."""
    table = Table("", "Check", "Found, and what to do")
    for each in findings:
        told = Text(printable(each.found))
        if each.remedy:
            told.append(f"\n{printable(each.remedy)}", style=_STYLES[each.verdict])
        table.add_row(Text(each.verdict, style=_STYLES[each.verdict]), each.check, told)
    return table


def _as_json(finding: Finding) -> str:
    return msgspec.json.encode(finding).decode()


def _as_text(finding: Finding) -> str:
    remedy = f" To do: {finding.remedy}" if finding.remedy else ""
    return printable(f"{finding.verdict:<5} {finding.check}: {finding.found}.{remedy}")
