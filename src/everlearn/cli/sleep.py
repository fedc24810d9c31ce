"""`everlearn sleep`: move what was taught into adapters, each behind its test."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.opening import choice_of, open_learner
from everlearn.cli.progress import named_steps_progress
from everlearn.cli.screen import document, grid, show, show_json, visible
from everlearn.records import Verdict

REFUSED = 1
_FIGURES = ("reliability", "generality", "locality", "drift", "lost")


def sleep(
    ctx: typer.Context,
    domain: Annotated[
        str | None,
        typer.Option("--domain", metavar="NAME", help="Only lessons of this domain; all that hold something new."),
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="Passes over the lessons.")] = 6,
    rate: Annotated[float, typer.Option("--rate", metavar="NUMBER", help="Learning rate.")] = 1e-3,
    rank: Annotated[int, typer.Option("--rank", metavar="N", min=1, help="Rank of a new adapter.")] = 16,
    wordings: Annotated[int, typer.Option("--wordings", metavar="N", min=1, help="Wordings of each lesson.")] = 8,
    strength: Annotated[
        float, typer.Option("--strength", metavar="NUMBER", help="Pull to the version before (EWC); 0 = off.")
    ] = 1.0,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Train from nothing on all lessons, also where a version is in use.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Makes training repeatable.")] = 0,
    json: options.Json = False,
) -> None:
    """Consolidate lessons of look-up tables into adapter weights.

    Each lesson is put in other words and asked in both directions; the model that reads the lesson teaches the one
    that does not. The candidate is used only if it answers what was taught, also in unseen words, leaves unrelated
    answers as they are and loses nothing older; else nothing is changed. Rows that the weights answer by themselves
    are silent then, and speak again after a rollback. Exits with 1 where a candidate was refused.
    """
    from everlearn.learning.sleep_settings import SleepSettings
    from everlearn.learning.training_settings import TrainingSettings
    from everlearn.specialists.settings import AdapterSettings

    training = TrainingSettings(epochs=epochs, rate=rate, strength=strength, seed=seed)
    settings = SleepSettings(training, AdapterSettings(rank=rank), wordings=wordings, fresh=fresh).checked()
    with open_learner(choice_of(ctx)) as learner, named_steps_progress() as progress:
        verdicts = learner.sleep(domain, settings=settings, progress=progress)
    if json:
        show_json({"verdicts": [document(verdict) for verdict in verdicts]})
    else:
        show(verdicts_view(verdicts))
    if not all(verdict.accepted for verdict in verdicts):
        raise typer.Exit(REFUSED)


def verdicts_view(verdicts: list[Verdict]) -> RenderableType:
    """What became of each candidate."""
    if not verdicts:
        return Text("nothing new to learn: every lesson is in the weights already, or none was taught", "dim")
    table = grid("=adapter", "verdict", ">lessons", ">retired", *(f">{name}" for name in _FIGURES), ">seconds")
    reasons: list[Text] = []
    for verdict in verdicts:
        word = Text("accepted", "green") if verdict.accepted else Text("refused", "red")
        figures = (f"{verdict.figures[n]:.3f}" if n in verdict.figures else "–" for n in _FIGURES)
        counts = (f"{len(verdict.lessons):,}", f"{len(verdict.retired):,}")
        table.add_row(visible(verdict.adapter), word, *counts, *figures, f"{verdict.seconds:,.0f}")
        reasons += [Text(f"{verdict.adapter}: {reason}", "yellow") for reason in verdict.reasons]
    if any(not verdict.accepted for verdict in verdicts):
        reasons.append(Text("nothing was changed for a refused candidate; its lessons stay in their tables", "dim"))
    return Group(table, *reasons)
