"""`everlearn keys`: who may use the server. A key is shown once, when it is made."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.opening import choice_of, settings_of
from everlearn.cli.screen import note, show, show_json, show_rows, visible
from everlearn.records import DEFAULT_TENANT

if TYPE_CHECKING:
    from everlearn.server.keys import Key, KeyRing

app = typer.Typer(help="Make, list, rotate and revoke API keys of the server.", no_args_is_help=True)
KeyId = Annotated[str, typer.Argument(metavar="KEY", help="Its id, as `keys list` shows it.", show_default=False)]


def _ring(ctx: typer.Context) -> KeyRing:
    from everlearn.server.keys import KeyRing

    return KeyRing(settings_of(choice_of(ctx)).state_folder)


@app.command("create")
def create(
    ctx: typer.Context,
    tenant: Annotated[
        str, typer.Option("--tenant", metavar="NAME", help="Whose lessons it reaches; made at its first request.")
    ] = DEFAULT_TENANT,
    scopes: Annotated[
        str, typer.Option("--scopes", metavar="ask,teach,admin", help="What it may do: some of ask, teach, admin.")
    ] = "ask,teach",
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="What it is for.")] = "",
    days: Annotated[
        float | None,
        typer.Option("--days", metavar="N", min=0.0, help="Days until it is refused.", show_default="never"),
    ] = None,
    json: options.Json = False,
) -> None:
    """Make a key and show it, once."""
    ends = None if days is None else datetime.now(UTC) + timedelta(days=days)
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    key, secret = _ring(ctx).create(tenant, wanted, name=name, expires_at=ends)
    _show_secret(key, secret, json=json)


@app.command("list")
def list_(ctx: typer.Context, json: options.Json = False) -> None:
    """List all keys, without their secrets."""
    keys = _ring(ctx).all()
    if json:
        show_json({"keys": [_document(key) for key in keys]})
        return
    show_rows(
        ("=key", "=begins with", "=tenant", "=may", "=name", "=made", "=ends"),
        (
            (
                key.id,
                f"{key.start}…",
                visible(key.tenant),
                ", ".join(key.scopes),
                visible(key.name),
                f"{key.created_at:%Y-%m-%d}" if key.created_at else "",
                f"{key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else "never",
            )
            for key in keys
        ),
    )


@app.command("rotate")
def rotate(ctx: typer.Context, key_id: KeyId, json: options.Json = False) -> None:
    """Give a key a new secret; the old one is refused at once."""
    _show_secret(*_ring(ctx).rotate(key_id), json=json)


@app.command("revoke")
def revoke(ctx: typer.Context, key_id: KeyId, json: options.Json = False) -> None:
    """Take a key away for good."""
    key = _ring(ctx).revoke(key_id)
    if json:
        show_json({"revoked": _document(key)})
    else:
        show(Text.assemble(("revoked ", "yellow"), (key.id, "cyan"), f"  {visible(key.name)}"))


def _show_secret(key: Key, secret: str, *, json: bool) -> None:
    if json:
        show_json({**_document(key), "secret": secret})
        return
    show(Text(secret, "bold"))
    note(f"{key.id} may {', '.join(key.scopes)} for the tenant {key.tenant}. It is not shown again.")


def _document(key: Key) -> dict[str, object]:
    return {name: value for name, value in asdict(key).items() if name != "hash"}
