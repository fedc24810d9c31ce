"""`everlearn sleep`: move what was taught into adapters, each behind its test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.opening import choice_of, open_learner
from everlearn.cli.progress import named_steps_progress
from everlearn.cli.screen import document, grid, show, show_json, visible
from everlearn.errors import SettingsError
from everlearn.records import Verdict

if TYPE_CHECKING:
    from everlearn.learning.learner import Learner
    from everlearn.learning.rewording import Rewording
    from everlearn.learning.teachers import Endpoint

REFUSED = 1
_FIGURES = ("reliability", "generality", "locality", "drift", "lost")


def sleep(
    ctx: typer.Context,
    domain: Annotated[
        str | None,
        typer.Option("--domain", metavar="NAME", help="Only lessons of this domain; all that hold something new."),
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="Passes over the lessons.")] = 6,
    rate: Annotated[float, typer.Option("--rate", metavar="NUMBER", help="Learning rate.")] = 4e-3,
    rank: Annotated[int, typer.Option("--rank", metavar="N", min=1, help="Rank of a new adapter.")] = 8,
    wordings: Annotated[int, typer.Option("--wordings", metavar="N", min=1, help="Wordings of each lesson.")] = 4,
    restate: Annotated[
        str,
        typer.Option(
            "--restate",
            metavar="templates|base|URL",
            help="Who puts lessons in other words: templates, also the base model, or also a model at an address.",
        ),
    ] = "templates",
    teacher_model: Annotated[
        str, typer.Option("--teacher-model", metavar="NAME", help="Name of the model at the address.")
    ] = "",
    key_env: Annotated[
        str, typer.Option("--key-env", metavar="VARIABLE", help="Environment variable that holds the address's key.")
    ] = "OPENAI_API_KEY",
    null_space: Annotated[
        float,
        typer.Option(
            "--null-space",
            metavar="SHARE",
            help="Share of each layer's directions, those unrelated text uses least, that are learned in; 1 = all.",
        ),
    ] = 0.5,
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

    given = {"epochs": epochs, "rate": rate, "strength": strength, "seed": seed, "fresh": fresh}
    settings = SleepSettings().changed(rank=rank, wordings=wordings, null_space=null_space, **given)
    place = _place(restate, teacher_model, key_env)
    with open_learner(choice_of(ctx)) as learner, ExitStack() as stack:
        rewording = stack.enter_context(_rewording(learner, restate, place))
        progress = stack.enter_context(named_steps_progress())
        verdicts = learner.sleep(domain, settings=settings, rewording=rewording, progress=progress)
    if json:
        show_json({"verdicts": [document(verdict) for verdict in verdicts]})
    else:
        show(verdicts_view(verdicts))
    if not all(verdict.accepted for verdict in verdicts):
        raise typer.Exit(REFUSED)


def _place(restate: str, model: str, key_env: str) -> Endpoint | None:
    """The address that rewords, if one does; told before anything is loaded where that cannot be."""
    if restate in ("templates", "base"):
        return None
    from everlearn.learning.teachers import Endpoint

    if not restate.startswith(("http://", "https://")):
        raise SettingsError(f"--restate is {restate!r}.", hint="Wanted: templates, base, or an address up to /v1.")
    if not model:
        raise SettingsError("The address needs a model's name.", hint="Give it with --teacher-model.")
    return Endpoint(restate, model, os.environ.get(key_env, ""))


@contextmanager
def _rewording(learner: Learner, restate: str, place: Endpoint | None) -> Iterator[Rewording | None]:
    """What puts lessons in other words besides the templates."""
    specialists = learner.engine.specialists
    if restate == "templates" or specialists is None:
        yield None
        return
    from everlearn.learning.rewording import Rewording, by_the_base
    from everlearn.learning.teachers import EndpointTeacher

    if place is None:
        yield Rewording(by_the_base(learner.engine), specialists.features)
        return
    with closing(EndpointTeacher(place)) as remote:
        yield Rewording(remote, specialists.features)


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
