"""`everlearn audit`: who did what over the server. No model is loaded."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.opening import choice_of, settings_of
from everlearn.cli.screen import show, show_json, show_rows, visible
from everlearn.errors import NotFoundError
from everlearn.records import DEFAULT_TENANT


def audit(
    ctx: typer.Context,
    tenant: Annotated[str, typer.Option("--tenant", metavar="NAME", help="Whose log.")] = DEFAULT_TENANT,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Entries, newest first.")] = 50,
    json: options.Json = False,
) -> None:
    """Show who changed what over the server, and verify the log's chain of hashes.

    Exits with 1 where an entry was changed, taken out or put in. It holds ids, never what was said.
    """
    from everlearn import wiring
    from everlearn.server.tenants import folder_of
    from everlearn.store.audit_log import AuditLog

    settings = settings_of(choice_of(ctx))
    folder = folder_of(settings.state_folder, tenant)
    if tenant != DEFAULT_TENANT and not folder.is_dir():
        raise NotFoundError(f"There is no tenant {tenant!r}.", hint="`everlearn keys list` names them.")
    with closing(wiring.open_store(settings.model_copy(update={"state": folder}))) as store:
        log = AuditLog(store.database)
        entries, flaws = log.entries(limit=limit), log.flaws()
    if json:
        show_json({"whole": not flaws, "flaws": flaws, "entries": [asdict(entry) for entry in entries]})
    else:
        show_rows(
            ("=when", "=key", "=status", "=what", "=to"),
            (
                (
                    f"{datetime.fromtimestamp(entry.at / 1e6, UTC):%Y-%m-%d %H:%M:%S}",
                    entry.key_id or "(none)",
                    str(entry.status),
                    visible(entry.action),
                    visible(entry.target),
                )
                for entry in entries
            ),
        )
        for flaw in flaws:
            show(Text(flaw, "red"))
        head = f"  head {entries[0].hash[:16]}" if entries else ""
        show(Text.assemble(("broken", "red") if flaws else ("whole", "green"), (head, "dim")))
    if flaws:
        raise typer.Exit(1)
