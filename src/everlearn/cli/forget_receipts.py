"""`everlearn receipts`: signed receipts of what was forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.opening import choice_of, settings_of
from everlearn.cli.screen import document, note, show, show_json, show_rows
from everlearn.errors import SettingsError
from everlearn.learning import signing
from everlearn.learning.forgetting import RECEIPTS

app = typer.Typer(help="Verify and list signed receipts of what was forgotten.", no_args_is_help=True)
KEY_DIGITS = 64


@app.command("verify")
def verify(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A receipt.", show_default=False)],
    key: Annotated[
        str | None,
        typer.Option(
            "--key", metavar="HEX", help="Public key of who has to have signed it; that of this home if not given."
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Verify that a receipt is what was signed, and by whom. Exits with 1 where it is not.

    Anyone with the public key (everlearn receipts key) can do this; no lessons are needed.
    """
    if key is not None and (len(key) != KEY_DIGITS or set(key.lower()) - set("0123456789abcdef")):
        raise SettingsError(f"--key is {key!r}, wanted {KEY_DIGITS} hex digits.", hint="See: everlearn receipts key")
    wanted = key or signing.public_key(settings_of(choice_of(ctx)).state_folder)
    result = signing.verify(signing.read(file), wanted)
    if json:
        show_json(document(result))
    elif result.valid:
        count = len(result.body.get("lessons", ()))
        show(Text.assemble(("valid ", "green"), f"{count:,} lessons forgotten at {result.body.get('forgotten_at')}"))
        show(Text(f"signed by {result.public_key}", "dim"))
    else:
        show(Text.assemble(("not valid ", "red"), result.reason))
        show(Text(f"it names the key {result.public_key}", "dim"))
    if not result.valid:
        raise typer.Exit(1)


@app.command("key")
def key_(ctx: typer.Context, json: options.Json = False) -> None:
    """Print the public key of this home, for those who verify its receipts."""
    public = signing.public_key(settings_of(choice_of(ctx)).state_folder)
    show_json({"public_key": public}) if json else show(Text(public))


@app.command("list")
def list_(ctx: typer.Context, json: options.Json = False) -> None:
    """List the receipts of this home, oldest first."""
    files = sorted((settings_of(choice_of(ctx)).state_folder / RECEIPTS).glob("*.json"))
    bodies = [(file, signing.read(file)["body"]) for file in files]
    if json:
        show_json([{"file": file, **body} for file, body in bodies])
    elif bodies:
        rows = ([str(b["forgotten_at"])[:19], f"{len(b['lessons']):,}", str(file)] for file, b in bodies)
        show_rows(("=forgotten", ">lessons", "file"), rows)
    else:
        note("Nothing was forgotten yet.")
