"""`everlearn tables`: named look-up tables and their settings. No model is loaded."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Any, get_args

import typer
from rich.text import Text

from everlearn.cli import options, table_exchange
from everlearn.cli.forget import ask_first, unlearned
from everlearn.cli.opening import choice_of, open_derived, open_store, settings_of
from everlearn.cli.screen import document, show, show_json, show_rows, visible
from everlearn.errors import ConflictError, SettingsError
from everlearn.records import TableInfo, TableSettings, Values
from everlearn.store.port import LessonQuery

app = typer.Typer(help="Create, list, change, share, merge and delete look-up tables.", no_args_is_help=True)

_NAME = re.compile(r"[^\W_][\w.-]{0,63}")
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the look-up table.", show_default=False)]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold", metavar="NUMBER", help="Probability, 0 to 1, from which an entry may speak.", show_default=False
    ),
]
Residual = Annotated[
    float | None,
    typer.Option(
        "--residual",
        metavar="NUMBER",
        help="Strength of the corrections, 0 (off) to 1 (as learned).",
        show_default=False,
    ),
]
Blocks = Annotated[
    str | None,
    typer.Option(
        "--blocks",
        metavar="N,N|auto",
        help="Transformer blocks that are corrected, -1 is the last; auto = chosen by the model's depth.",
        show_default=False,
    ),
]
Sparsity = Annotated[
    float | None,
    typer.Option(
        "--sparsity",
        metavar="NUMBER",
        help="Share of a block's correction that is stored, 0 (only the output is corrected) to 1 (all).",
        show_default=False,
    ),
]
Output = Annotated[
    bool | None,
    typer.Option(
        "--output/--no-output", help="Whether an answer's tokens are raised at the output.", show_default=False
    ),
]
ValuesOption = Annotated[
    str | None,
    typer.Option(
        "--values",
        metavar="|".join(get_args(Values)),
        help="How block corrections are made: difference = what reading the lesson changes (fast); learned = fitted to "
        "the answer by gradient, at each of its tokens or at the prompt's last one only (seconds for each lesson).",
        show_default=False,
    ),
]


ContextThreshold = Annotated[
    float | None,
    typer.Option(
        "--context-threshold",
        metavar="NUMBER",
        help="Probability, 0 to 1, from which a lesson is read as context: a passage from here on, "
        "a pair between here and --threshold.",
        show_default=False,
    ),
]
ContextTokens = Annotated[
    int | None,
    typer.Option(
        "--context-tokens",
        metavar="N",
        min=0,
        help="Most tokens that lessons may add to a question as context; 0 = none.",
        show_default=False,
    ),
]


LayerOption = Annotated[
    str | None,
    typer.Option(
        "--layer",
        metavar="personal|team|organisation",
        help="Whose memory it is: on a conflict personal beats team beats organisation; '' = no layer.",
        show_default=False,
    ),
]
Owner = Annotated[
    str | None,
    typer.Option(
        "--owner",
        metavar="NAME",
        help="Person or team of a personal or team table; only who asks in that name finds it.",
        show_default=False,
    ),
]


@app.command("create")
def create(
    ctx: typer.Context,
    name: Name,
    threshold: Threshold = None,
    residual: Residual = None,
    blocks: Blocks = None,
    sparsity: Sparsity = None,
    output: Output = None,
    values: ValuesOption = None,
    context_threshold: ContextThreshold = None,
    context_tokens: ContextTokens = None,
    layer: LayerOption = None,
    owner: Owner = None,
    json: options.Json = False,
) -> None:
    """Create an empty look-up table."""
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"{name!r} cannot name a table.",
            hint="Use letters, digits, '.', '-' and '_', at most 64, a letter or digit first.",
        )
    given = _given(
        threshold=threshold,
        residual=residual,
        blocks=blocks,
        sparsity=sparsity,
        output=output,
        values=values,
        context_threshold=context_threshold,
        context_tokens=context_tokens,
        layer=layer,
        owner=owner,
    )
    settings = replace(TableSettings(), **given)
    with open_store(choice_of(ctx)) as store:
        if any(info.name == name for info in store.tables()):
            raise ConflictError(
                f"There is a table {name!r} already.", hint=f"Change it with: everlearn tables set {name}"
            )
        store.put_table(name, settings)
    _say("created", name, settings, json=json)


@app.command("list")
def list_(ctx: typer.Context, json: options.Json = False) -> None:
    """List all look-up tables with their settings and how many lessons they hold."""
    with open_store(choice_of(ctx)) as store:
        infos = store.tables()
    if json:
        show_json({"tables": [document(info) for info in infos]})
        return
    shares = (
        ">threshold",
        ">residual",
        "=blocks",
        ">sparsity",
        "=output",
        "=values",
        ">context\nfrom",
        ">context\ntokens",
    )
    columns = ("=table", ">active", ">superseded", *shares, "=layer", "=owner")
    usual = {"=output": "on", "=values": "difference", "=layer": "", "=owner": ""}
    show_rows(columns, (_row(info) for info in infos), usual)


@app.command("set")
def set_(
    ctx: typer.Context,
    name: Name,
    threshold: Threshold = None,
    residual: Residual = None,
    blocks: Blocks = None,
    sparsity: Sparsity = None,
    output: Output = None,
    values: ValuesOption = None,
    context_threshold: ContextThreshold = None,
    context_tokens: ContextTokens = None,
    layer: LayerOption = None,
    owner: Owner = None,
    json: options.Json = False,
) -> None:
    """Change settings of a look-up table; what is not named stays."""
    given = _given(
        threshold=threshold,
        residual=residual,
        blocks=blocks,
        sparsity=sparsity,
        output=output,
        values=values,
        context_threshold=context_threshold,
        context_tokens=context_tokens,
        layer=layer,
        owner=owner,
    )
    if not given:
        raise typer.BadParameter(
            "Wanted: --threshold, --residual, --blocks, --sparsity, --output, --values, "
            "--context-threshold, --context-tokens, --layer or --owner."
        )
    with open_store(choice_of(ctx)) as store:
        settings = replace(store.table(name), **given)
        store.put_table(name, settings)
    _say("changed", name, settings, json=json)


@app.command("delete")
def delete(ctx: typer.Context, name: Name, yes: options.Yes = False, json: options.Json = False) -> None:
    """Delete a look-up table and forget all its lessons."""
    with open_store(choice_of(ctx)) as store, open_derived(choice_of(ctx)) as derived:
        store.table(name)
        if not yes:
            count = store.count(LessonQuery(table=name))
            ask_first(f"Delete the table {visible(name)} and forget its {count:,} lessons for good?")
        ids = store.delete_table(name)
        rows = derived.delete(ids)
        versions = unlearned(settings_of(choice_of(ctx)).adapters_folder, ids)
    if json:
        show_json({"table": name, "forgotten": ids, "derived": rows, "adapters": versions})
    else:
        lost = f"  {len(ids):,} lessons and {rows:,} derived rows removed"
        show(Text.assemble(("deleted ", "green"), visible(name), (lost, "dim")))


app.command("export")(table_exchange.export)
app.command("import")(table_exchange.import_)
app.command("copy")(table_exchange.copy)
app.command("merge")(table_exchange.merge)


def _given(*, blocks: str | None, **others: Any) -> dict[str, Any]:  # noqa: ANN401 -- each option has its own type
    """Settings that were named on the command line; the store checks them."""
    given = {name: value for name, value in others.items() if value is not None}
    return given if blocks is None else {**given, "blocks": _blocks(blocks)}


def _blocks(value: str) -> tuple[int, ...]:
    if value == "auto":
        return ()
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError as cause:
        raise SettingsError(
            f"blocks is {value!r}, wanted whole numbers.", hint="For example: --blocks 26,28,-1"
        ) from cause


def _block_names(settings: TableSettings) -> str:
    return ",".join(map(str, settings.blocks)) or "auto"


def _output(settings: TableSettings) -> str:
    return "on" if settings.output else "off"


def _row(info: TableInfo) -> tuple[str, ...]:
    settings = info.settings
    shares = (f"{settings.threshold:g}", f"{settings.residual:g}", _block_names(settings), f"{settings.sparsity:g}")
    context = (f"{settings.context_threshold:g}", f"{settings.context_tokens:,}")
    return (
        info.name,
        f"{info.active:,}",
        f"{info.superseded:,}",
        *shares,
        _output(settings),
        settings.values,
        *context,
        settings.layer,
        settings.owner,
    )


def _say(verb: str, name: str, settings: TableSettings, *, json: bool) -> None:
    if json:
        show_json({"name": name, "settings": document(settings)})
        return
    values = (
        f"  threshold {settings.threshold:g}, residual {settings.residual:g}, "
        f"blocks {_block_names(settings)}, sparsity {settings.sparsity:g}, output {_output(settings)}, "
        f"values {settings.values}, context from {settings.context_threshold:g}, {settings.context_tokens:,} tokens"
    )
    show(Text.assemble((f"{verb} ", "green"), visible(name), (values, "dim")))
