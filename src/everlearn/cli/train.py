"""`everlearn train`: a tokenizer, a model from nothing, and a model of others that is trained further."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, final

import typer

from everlearn.cli.bench_view import STDOUT, publish
from everlearn.cli.opening import choice_of, settings_of
from everlearn.cli.progress import waiting, weights_progress
from everlearn.cli.screen import note, show, text
from everlearn.errors import InputError, SettingsError

if TYPE_CHECKING:
    from everlearn.learning.pretraining_settings import PretrainingSettings

app = typer.Typer(help="Train a tokenizer, a model from nothing, or a model of others further.", no_args_is_help=True)

BOOKS = "books"

Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        "-d",
        metavar="PATH",
        help="Text: a .txt, .md, .jsonl or .parquet file, or a folder of them; may be repeated. "
        '"books" = books of the public domain, from a package of the registry.',
        show_default=False,
    ),
]
Field = Annotated[
    str, typer.Option("--field", metavar="NAME", help="Of JSONL and Parquet: the field that holds the text.")
]


@final
class Method(StrEnum):
    """How a model is trained further."""

    LORA = "lora"
    QLORA = "qlora"
    FULL = "full"


Json = Annotated[
    Path | None, typer.Option("--json", metavar="OUT", help='Write the report to this file; "-" prints it instead.')
]


@app.command("tokenizer")
def tokenizer(
    ctx: typer.Context,
    data: Data = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Gets the tokenizer.")] = Path("tokenizer"),
    vocabulary: Annotated[
        int, typer.Option("--vocabulary", "-v", metavar="N", help="Tokens at most, 259 or more.")
    ] = 16_384,
    megabytes: Annotated[
        int, typer.Option("--megabytes", metavar="N", min=1, help="Text that is read at most; bounds the memory.")
    ] = 100,
    field: Field = "text",
) -> None:
    """Learn a byte-level BPE tokenizer from text. Whatever text it is given later comes back to the byte."""
    from everlearn.corpus.training_text import blocks_of, training_files
    from everlearn.learning.pretraining import texts_of
    from everlearn.text.tokenizer_training import save_tokenizer, train_tokenizer

    blocks = blocks_of(training_files([Path(path) for path in _paths(ctx, data)]))
    with waiting("learning a tokenizer"):
        learned = train_tokenizer(texts_of(blocks, field), vocabulary, most_bytes=megabytes * 1_000_000)
        save_tokenizer(learned, out)
    show(text(f"{len(learned):,} tokens in {out}"))


@app.command("pretrain")
def pretrain(
    ctx: typer.Context,
    data: Data = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder of the training.", show_default="runs/SIZE"),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            "-s",
            metavar="SIZE",
            help="1m, 15m, small, base or large: all else follows from it.",
            show_default="15m",
        ),
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option("--variant", metavar="KIND", help="dense, hybrid or full-feature.", show_default="dense"),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option(
            "--tokens", metavar="N", help="Tokens to learn from, such as 3M.", show_default="20 for each parameter"
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="X", help="Highest learning rate.", show_default="from the width")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="YAML", help="Settings, one a line.", show_default=False)
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated.", show_default=False),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in the folder.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done; train nothing.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard events, too.")] = False,
    json: Json = None,
) -> None:
    """Train a model of the Apertis family from nothing.

    Settings come from the size, over them those of the YAML file, over them the options. What was derived is printed
    and kept in config.yaml. Under torchrun several processes train together.
    """
    from everlearn.cli.train_run import run_pretraining

    given = {
        "size": size and size.lower(),
        "variant": variant and variant.lower(),
        "tokens": tokens,
        "rate": rate,
        "data": data,
    }
    settings, folder = _settings(ctx, config, changes, {n: v for n, v in given.items() if v is not None}, out, resume)
    report = run_pretraining(
        settings, folder, resume=resume, dry_run=dry_run, tensorboard=tensorboard, quiet=json == STDOUT
    )
    publish(report, json)


@app.command("finetune")
def finetune(
    ctx: typer.Context,
    data: Annotated[
        Path,
        typer.Option(
            "--data", "-d", metavar="FILE", help="Questions and answers: JSONL, JSON, CSV or TSV.", show_default=False
        ),
    ],
    name: Annotated[
        str, typer.Option("--name", "-n", metavar="NAME", help="Of the adapter: everlearn ask --adapter NAME.")
    ] = "finetuned",
    method: Annotated[
        Method,
        typer.Option(
            "--method",
            metavar="lora|qlora|full",
            help="An adapter, an adapter over the base in 4 bits (less memory), or all weights.",
        ),
    ] = Method.LORA,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Of --method full: gets the model.")] = Path(
        "runs/finetuned"
    ),
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="Passes over the examples.")] = 3,
    rate: Annotated[
        float | None,
        typer.Option("--rate", metavar="X", help="Learning rate.", show_default="3e-4; 2e-5 for all weights"),
    ] = None,
    rank: Annotated[int, typer.Option("--rank", metavar="N", min=1, help="Inner width of the adapter.")] = 16,
    modules: Annotated[
        str, typer.Option("--modules", metavar="WHICH", help="Layers with an adapter: mlp, attention or all.")
    ] = "all",
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Examples of an update.")] = 16,
    json: Json = None,
) -> None:
    """Train the base model further, on questions and answers.

    One example in ten is held out. An adapter is kept, and answers from now on where the router takes it, if its loss
    on those is below that of the base model; else nothing is changed, and the exit code is 1.
    """
    from everlearn.cli.finetune_run import run_finetuning
    from everlearn.learning.training_settings import TrainingSettings
    from everlearn.specialists.settings import AdapterSettings

    full = method is Method.FULL
    training = TrainingSettings(
        epochs=epochs,
        rate=rate or (2e-5 if full else 3e-4),
        batch=batch,
        micro_batch=min(batch, 8),
        precision="bf16" if full else "model",
    )
    shape = AdapterSettings(rank=rank, alpha=2.0 * rank, modules=modules)
    settings = settings_of(choice_of(ctx))
    report, accepted = run_finetuning(settings, method, data, name, out, training, shape, quiet=json == STDOUT)
    publish(report, json)
    if not accepted:
        raise typer.Exit(1)


def _settings(
    ctx: typer.Context,
    config: Path | None,
    changes: list[str] | None,
    given: dict[str, object],
    out: Path | None,
    resume: bool,
) -> tuple[PretrainingSettings, Path]:
    """All settings, and the folder of the training."""
    from everlearn.learning.pretraining import CONFIG
    from everlearn.learning.pretraining_settings import PretrainingSettings, read_settings, settings_from

    values = read_settings(config) if config is not None else {}
    values |= dict(map(_pair, changes or ())) | given
    folder = out or Path("runs") / str(values.get("size", PretrainingSettings().size))
    if resume and (kept := folder / CONFIG).is_file():
        values = read_settings(kept) | values  # what was chosen when it began
    settings = settings_from(values)
    paths = [path for path in settings.data if path != BOOKS]
    if len(paths) < len(settings.data) or not settings.data:
        paths += _paths(ctx, [BOOKS] if settings.data else None)
    return settings_from({"data": paths}, settings), folder


def _pair(change: str) -> tuple[str, str]:
    name, equals, value = change.partition("=")
    if not equals:
        raise SettingsError(f"--set {change} cannot be understood.", hint="Write it as --set name=value.")
    return name.strip(), value.strip()


def _paths(ctx: typer.Context, data: list[str] | None) -> list[str]:
    """Files and folders; "books" is fetched.

    Raises:
        InputError: none is named.
    """
    if not data:
        raise InputError("There is nothing to train on.", hint='Name text with --data, or "--data books".')
    if BOOKS not in data:
        return data
    from everlearn.models.texts import books

    with weights_progress() as progress:
        # Two novels: prose, without tables, plates and lists of diseases.
        found = [str(b) for b in books(settings_of(choice_of(ctx)).home, progress) if "surgery" not in b.stem]
    note("books: " + ", ".join(Path(path).stem for path in found))
    return [path for path in data if path != BOOKS] + found
