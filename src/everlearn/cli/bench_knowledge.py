"""`everlearn bench knowledge`: what is known of texts without them, read in context, from the table, from weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from everlearn.cli import bench, bench_view
from everlearn.cli.opening import choice_of, open_parts, passing_learner, settings_of
from everlearn.cli.progress import named_steps_progress
from everlearn.cli.screen import grid, show

if TYPE_CHECKING:
    from everlearn.learning.knowledge_bench import KnowledgeReport


def knowledge(
    ctx: typer.Context,
    data: Annotated[
        Path,
        typer.Option(
            "--data", metavar="FILE", help="JSON Lines: title, context, questions with answers.", show_default=False
        ),
    ],
    passages: Annotated[
        int, typer.Option("--passages", metavar="N", min=0, help="From the file's beginning; 0 = all.")
    ] = 0,
    method: Annotated[
        str, typer.Option("--method", metavar="NAME[,NAME...]|all", help="Methods to compare, or all.")
    ] = "all",
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="Passes of the adapters.")] = 4,
    rate: Annotated[float, typer.Option("--rate", metavar="NUMBER", help="Learning rate of the adapters.")] = 1e-3,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Draws first weights and order.")] = 0,
    json: bench.JsonFile = None,
) -> None:
    """Ask about texts without them, with them in view, after learning them as documents, and after training on them.

    An answer counts when it holds the wanted words; f1 is their overlap. Adapters are trained on the text itself
    (raw_text), or on questions that the base model asks itself about it (self_study); what that changes elsewhere is
    measured on unrelated prompts. Nothing of yours is touched.
    """
    from everlearn.learning.knowledge_bench import METHODS, KnowledgeOptions, read_passages, run_knowledge
    from everlearn.learning.training_settings import TrainingSettings

    texts = read_passages(data, passages)
    methods = METHODS if method == "all" else tuple(part.strip() for part in method.split(","))
    options = KnowledgeOptions(methods, TrainingSettings(epochs=epochs, rate=rate, seed=seed).checked())
    settings = settings_of(choice_of(ctx))
    with passing_learner(open_parts(settings), settings) as learner, named_steps_progress() as progress:
        report = run_knowledge(learner, texts, options, progress)
    bench_view.publish(report.to_dict(), json)
    if json != bench_view.STDOUT:
        show(knowledge_view(report))


def knowledge_view(report: KnowledgeReport) -> RenderableType:
    """One line a method."""
    table = grid("", ">holds the answer", ">F1", ">base kept", ">KL a step", ">seconds")
    for name, found in report.methods.items():
        low, high = found["interval"]
        table.add_row(
            name,
            f"{found['contains']:.3f} ({low:.2f} to {high:.2f})",
            f"{found['f1']:.3f}",
            f"{found['agreement']:.3f}",
            f"{found['drift']:.3f}",
            f"{found['seconds']:,.0f}",
        )
    questions = next(iter(report.methods.values()))["questions"]
    line = f"{report.passages:,} texts · {questions:,} questions · {report.self_study:,} of its own"
    return Group(table, Text(line, "dim"))
