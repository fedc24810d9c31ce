"""Options that several commands share, with one help text each."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, final

import typer

from everlearn.cli.screen import warn
from everlearn.errors import SettingsError
from everlearn.records import Context, OnConflict, Sampling
from everlearn.text.dates import moment_of


@final
class Conflict(StrEnum):
    """What a lesson does to another answer to the same question."""

    SUPERSEDE = "supersede"
    KEEP_BOTH = "keep_both"
    REJECT = "reject"

    def chosen(self) -> OnConflict:
        """As the learner takes it."""
        return self.value


@final
class ContextKind(StrEnum):
    """How long a conversation may get."""

    FULL = "full"
    UNLIMITED = "unlimited"

    def chosen(self) -> Context:
        """As the engine takes it."""
        return self.value


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
Tables = Annotated[
    list[str] | None,
    typer.Option("--table", "-t", metavar="NAME", help="Ask only this look-up table; may be repeated."),
]
User = Annotated[
    str, typer.Option("--user", metavar="NAME", help="Ask in this name: personal tables of this owner are asked, too.")
]
Teams = Annotated[
    list[str] | None,
    typer.Option("--team", metavar="NAME", help="Ask as one of this team: its tables are asked, too; may be repeated."),
]
NoMemory = Annotated[bool, typer.Option("--no-memory", help="Ask the bare base model.")]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="TIME",
        help="Answer from the lessons that held at this time: 2018, 2018-05-31 or 2018-05-31T12:00+02:00.",
    ),
]
LessonTable = Annotated[str | None, typer.Option("--table", "-t", metavar="NAME", help="Look-up table of the lesson.")]
OnConflictChoice = Annotated[
    Conflict,
    typer.Option(
        "--on-conflict",
        metavar="supersede|keep_both|reject",
        help="Where another answer to the same question is known: replace it and keep it as history, keep both (the "
        "one true from the newest time speaks), or refuse.",
    ),
]
ContextChoice = Annotated[
    ContextKind | None,
    typer.Option(
        "--context",
        metavar="full|unlimited",
        help="How long the conversation may get: until the model's context ends, or without an end. The newest tokens "
        "are held then; turns that were dropped are looked up again when a question asks for them.",
        show_default=False,
    ),
]
Window = Annotated[
    int | None,
    typer.Option(
        "--window",
        metavar="N",
        min=0,
        help="Tokens that an unlimited conversation holds; 0 = what the model reads, at most 4,096.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; change nothing.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Teach the good lines of a file that has bad ones too.")]
Again = Annotated[
    bool, typer.Option("--again", help="Teach a file from its first line although it was taught already.")
]

Temperature = Annotated[
    float,
    typer.Option(
        "--temperature", metavar="NUMBER", min=0.0, help="0 always takes the likeliest token; higher is more varied."
    ),
]
TopP = Annotated[
    float,
    typer.Option(
        "--top-p",
        metavar="NUMBER",
        min=0.0,
        max=1.0,
        help="Keep the likeliest tokens that reach this probability together.",
    ),
]
TopK = Annotated[
    int, typer.Option("--top-k", metavar="N", min=0, help="Keep this many of the likeliest tokens; 0 = all.")
]
MinP = Annotated[
    float,
    typer.Option(
        "--min-p",
        metavar="NUMBER",
        min=0.0,
        max=1.0,
        help="Drop tokens below this share of the likeliest one's probability.",
    ),
]
RepetitionPenalty = Annotated[
    float,
    typer.Option(
        "--repetition-penalty", metavar="NUMBER", min=0.01, help="Above 1: what was said already becomes less likely."
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Makes sampling repeatable.")]
MaxNewTokens = Annotated[
    int | None,
    typer.Option(
        "--max-new-tokens",
        metavar="N",
        min=1,
        help="Most tokens of an answer; 256, more where a taught answer is longer.",
        show_default=False,
    ),
]
Stop = Annotated[
    list[str] | None, typer.Option("--stop", metavar="TEXT", help="End the answer before this text; may be repeated.")
]


def moment(text: str | None, option: str) -> datetime | None:
    """The moment that an option names.

    Raises:
        SettingsError: it is none.
    """
    try:
        return None if text is None else moment_of(text)
    except ValueError as cause:
        raise SettingsError(f"{option} is {text!r}: {cause}.", hint="Write it as 2018 or 2018-05-31.") from cause


def asked_tables(tables: list[str] | None, *, no_memory: bool) -> tuple[str, ...] | None:
    """Look-up tables to ask; None = all, () = none.

    Raises:
        typer.BadParameter: both options are given.
    """
    if no_memory and tables:
        raise typer.BadParameter("--no-memory asks no table, so --table cannot be given with it.")
    return () if no_memory else tuple(tables) if tables else None


def sampling_of(
    temperature: float,
    top_p: float,
    top_k: int,
    min_p: float,
    repetition_penalty: float,
    seed: int | None,
    max_new_tokens: int | None,
    stop: list[str] | None,
) -> Sampling:
    """The sampling settings; says so where some of them have no effect."""
    sampling = Sampling(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
        stop=tuple(stop or ()),
    )
    if temperature == 0:
        plain = Sampling()
        idle = [n for n in ("top_p", "top_k", "min_p", "seed") if getattr(sampling, n) != getattr(plain, n)]
        if idle:
            warn(f"{', '.join('--' + n.replace('_', '-') for n in idle)} has no effect without --temperature.")
    return sampling
