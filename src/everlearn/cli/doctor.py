"""`everlearn doctor`: is this machine ready, and how to mend what is not."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.doctor_home import home_checks
from everlearn.cli.doctor_machine import machine_checks
from everlearn.cli.findings import Finding, Level
from everlearn.cli.opening import choice_of, settings_of
from everlearn.cli.progress import waiting
from everlearn.cli.screen import document, grid, show, show_json, text
from everlearn.errors import SettingsError

_STYLES: dict[Level, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    ctx: typer.Context,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all bytes of the weights and compare their hashes.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Check Python, torch, device, memory, disk, state folder, weights and lessons.

    Says how to mend what is not right. Exits with 1 where something fails.
    """
    with waiting("looking"):
        findings = _findings(ctx, verify=verify)
    failed = any(finding.level == "fail" for finding in findings)
    if json:
        show_json({"ok": not failed, "checks": [document(finding) for finding in findings]})
    else:
        _show(findings)
    if failed:
        raise typer.Exit(1)


def _findings(ctx: typer.Context, *, verify: bool) -> list[Finding]:
    try:
        settings = settings_of(choice_of(ctx))
    except SettingsError as error:
        return [Finding("settings", "fail", error.message, error.hint)]
    return [*machine_checks(settings), *home_checks(settings, verify=verify)]


def _show(findings: list[Finding]) -> None:
    table = grid("=", "=check", "found")
    for finding in findings:
        found = text(finding.found)
        if finding.mend:
            found.append(f"\n→ {finding.mend}", "cyan")
        table.add_row(Text(finding.level, _STYLES[finding.level]), Text(finding.name, no_wrap=True), found)
    show(table)
