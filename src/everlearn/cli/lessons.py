"""`everlearn lessons`: what was taught, and what became of it. Only the store is asked; no model is loaded."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, cast

import typer
from rich.text import Text

from everlearn.cli import forget, lesson_audit, lesson_conflicts, lesson_exchange, options, quarantine, reflect
from everlearn.cli.lesson_ids import short_ids
from everlearn.cli.opening import choice_of, open_store
from everlearn.cli.receipts import cited, shortened
from everlearn.cli.screen import Rows, document, grid, note, show, show_json, show_rows, text
from everlearn.errors import SettingsError
from everlearn.records import DEFAULT_TABLE, Lesson, LessonStatus
from everlearn.store.port import LessonQuery, LessonStore

app = typer.Typer(help="List, search, show, undo, forget, audit, export and import lessons.", no_args_is_help=True)

STATUSES = ("active", "superseded", "quarantined", "all")
LessonId = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the lesson, or the beginning of it.", show_default=False)
]
Status = Annotated[str, typer.Option("--status", metavar="|".join(STATUSES), help="Which lessons.")]
InTable = Annotated[str | None, typer.Option("--table", "-t", metavar="NAME", help="Only of this look-up table.")]
InDomain = Annotated[str | None, typer.Option("--domain", metavar="TEXT", help="Only of this subject area.")]
Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="Most lessons to show.")]
Offset = Annotated[int, typer.Option("--offset", metavar="N", min=0, help="How many to pass over first.")]


@app.command("list")
def list_(
    ctx: typer.Context,
    table: InTable = None,
    status: Status = "active",
    domain: InDomain = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="TIME", help="Those that held at this time, superseded ones too: 2018-05-31."),
    ] = None,
    limit: Limit = 50,
    offset: Offset = 0,
    json: options.Json = False,
) -> None:
    """List lessons, oldest first."""
    at = options.moment(as_of, "--as-of")
    wanted = status_of("all" if at and status == "active" else status)
    with open_store(choice_of(ctx)) as store:
        _list(store, LessonQuery(table, wanted, None, domain, limit, offset, as_of=at), json=json)


@app.command("search")
def search(
    ctx: typer.Context,
    words: Annotated[
        str, typer.Argument(metavar="TEXT", help="Text to find in questions and answers.", show_default=False)
    ],
    table: InTable = None,
    status: Status = "active",
    domain: InDomain = None,
    limit: Limit = 50,
    offset: Offset = 0,
    json: options.Json = False,
) -> None:
    """Find lessons by their text, ignoring case."""
    with open_store(choice_of(ctx)) as store:
        _list(store, LessonQuery(table, status_of(status), words, domain, limit, offset), json=json)


@app.command("show")
def show_(ctx: typer.Context, lesson_id: LessonId, json: options.Json = False) -> None:
    """Show everything about one lesson."""
    with open_store(choice_of(ctx)) as store:
        lesson = store.lesson(store.resolve(lesson_id))
        turns = store.turns_resting_on(lesson.id)
    if json:
        show_json(document(lesson) | {"turns": turns})
        return
    card = grid("", "")
    card.show_header = False
    for name, value in document(lesson).items():
        if value not in (None, ""):
            card.add_row(Text(name.replace("_", " "), "dim"), text(_value(value)))
    card.add_row(Text("turns", "dim"), f"{turns:,} kept answers rest on it")
    show(card)


@app.command("history")
def history(ctx: typer.Context, lesson_id: LessonId, json: options.Json = False) -> None:
    """Show what a lesson replaced and what replaced it, oldest first."""
    with open_store(choice_of(ctx)) as store:
        chain = store.history(store.resolve(lesson_id))
        shown = short_ids(store, (lesson.id for lesson in chain))
    if json:
        show_json(chain)
        return
    columns = ("=lesson", "=taught", "question", "answer", "=status", "=from", "=until")
    rows: Rows = ([_id(le, shown), _time(le.taught_at), *_pair(le), _status(le), *_validity(le)] for le in chain)
    show_rows(columns, rows, {"=from": "", "=until": ""})


app.command("reflect")(reflect.reflect)
app.command("conflicts")(lesson_conflicts.conflicts)
app.command("undo")(lesson_conflicts.undo)
app.command("audit")(lesson_audit.audit)
app.command("forget")(forget.forget)
app.add_typer(quarantine.app, name="quarantine")
app.command("export")(lesson_exchange.export)
app.command("import")(lesson_exchange.import_)


def status_of(choice: str) -> LessonStatus | None:
    """The status to look for; None = any.

    Raises:
        SettingsError: there is no such status.
    """
    if choice not in STATUSES:
        raise SettingsError(f"--status is {choice!r}, wanted {', '.join(STATUSES)}.")
    return None if choice == "all" else cast(LessonStatus, choice)


def _list(store: LessonStore, query: LessonQuery, *, json: bool) -> None:
    if query.table is not None:
        store.table(query.table)  # a wrong name is an error, not an empty list
    lessons, count = store.lessons(query), store.count(query)
    if json:
        show_json({"lessons": lessons, "count": count, "offset": query.offset})
        return
    shown = short_ids(store, (lesson.id for lesson in lessons))
    columns = ("=lesson", "=table", "question", "answer", "=taught", "=status", "=kind", "=from", "=until")
    rows: Rows = (
        [_id(le, shown), le.table, *_pair(le), _day(le.taught_at), _status(le), _kind(le), *_validity(le)]
        for le in lessons
    )
    usual = {"=kind": "pair", "=table": DEFAULT_TABLE, "=status": "active", "=from": "", "=until": ""}
    if lessons:
        show_rows(columns, rows, usual)
    if len(lessons) < count:
        last = query.offset + len(lessons)
        note(
            f"{query.offset + 1 if lessons else last:,} to {last:,} of {count:,}; more with --offset {last} or --limit."
        )
    elif not count:
        note("No lessons." if query.text is None else f"No lesson has {query.text!r} in it.")


def _id(lesson: Lesson, shown: dict[str, str]) -> Text:
    return Text(shown[lesson.id], "cyan", no_wrap=True)


def _pair(lesson: Lesson) -> tuple[str, str]:
    """What stands for a lesson in a list; of a passage its titles and place, and how its text begins."""
    if lesson.kind == "sealed":
        return "(key and value only)", ""
    return cited(lesson), shortened(lesson)


def _kind(lesson: Lesson) -> str:
    return lesson.kind.replace("_", " ")


def _status(lesson: Lesson) -> Text:
    return Text(lesson.status, "green" if lesson.status == "active" else "dim")


def _validity(lesson: Lesson) -> tuple[str, str]:
    return tuple(f"{at:%Y-%m-%d}" if at else "" for at in (lesson.valid_from, lesson.valid_to))  # type: ignore[return-value]


def _time(moment: datetime | None) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}" if moment else ""


def _day(moment: datetime | None) -> str:
    return f"{moment.astimezone():%Y-%m-%d}" if moment else ""


def _value(value: object) -> str:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else str(value)
