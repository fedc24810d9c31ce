"""`everlearn forget`: remove lessons and everything derived of them. No model is loaded."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.lesson_ids import short_ids
from everlearn.cli.opening import choice_of, open_derived, open_store, settings_of
from everlearn.cli.screen import document, err, is_terminal, one_line, show, show_json, text
from everlearn.errors import FileFormatError, InputError, NotFoundError
from everlearn.learning import forgetting
from everlearn.records import Backup, ForgetRequest, Forgotten
from everlearn.store.port import LessonStore

SAMPLE = 10


def forget(
    ctx: typer.Context,
    lesson_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID...]", help="Ids of lessons, or the beginnings of them.", show_default=False),
    ] = None,
    search: Annotated[
        str | None, typer.Option("--search", metavar="TEXT", help="Those with this text in question or answer.")
    ] = None,
    table: Annotated[str | None, typer.Option("--table", "-t", metavar="NAME", help="Those of this table.")] = None,
    domain: Annotated[str | None, typer.Option("--domain", metavar="TEXT", help="Those of this subject area.")] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="TEXT", help="Those from this file or folder, or of this name.")
    ] = None,
    author: Annotated[str | None, typer.Option("--author", metavar="TEXT", help="Those taught by this person.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="TEXT", help="Those of this tenant.")] = None,
    taught_after: Annotated[
        str | None,
        typer.Option("--taught-after", metavar="TIME", help="Those taught at this time or later: 2026-01-31."),
    ] = None,
    taught_before: Annotated[
        str | None, typer.Option("--taught-before", metavar="TIME", help="Those taught before this time.")
    ] = None,
    receipt: Annotated[
        Path | None, typer.Option("--receipt", metavar="FILE", help="Write the signed receipt to this file, too.")
    ] = None,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> None:
    """Forget lessons: rows, vectors, corrections, kept answers that rest on them, and their lines in backups.

    All that is given must hold. What would go is shown first. Afterwards the model answers as if it had never been
    taught them; what a forgotten lesson had replaced speaks again. A signed receipt says what went, by digest.
    """
    with open_store(choice_of(ctx)) as store, open_derived(choice_of(ctx)) as derived:
        wanted = ForgetRequest(
            ids=tuple(dict.fromkeys(store.resolve(each) for each in lesson_ids or ())),
            text=search or "",
            table=table or "",
            domain=domain or "",
            source=source or "",
            author=author or "",
            tenant=tenant or "",
            taught_after=options.moment(taught_after, "--taught-after"),
            taught_before=options.moment(taught_before, "--taught-before"),
        )
        request, ids = _meant(store, wanted)
        if not ids:
            raise NotFoundError("No lesson is meant by that.", hint="See what there is: everlearn lessons list")
        plan = forgetting.plan(store, ids)
        if dry_run:
            show_json(document(plan) | {"dry_run": True}) if json else _show_plan(store, plan)
            return
        if not yes:
            if not json:
                _show_plan(store, plan)
            ask_first(f"Forget {len(ids):,} lesson{'s' * (len(ids) > 1)} for good?")
        settings = settings_of(choice_of(ctx))
        policy, unlearn = settings.backups, partial(unlearned, settings.adapters_folder)
        try:
            forgotten = forgetting.forget(
                store, derived, ids, policy=policy, criteria=request.criteria, unlearn=unlearn
            )
        finally:  # the lessons may be removed, and what comes after it have failed
            store.scrub()
    if receipt is not None:
        _copy(Path(forgotten.receipt), receipt)
    if json:
        show_json(document(forgotten))
        return
    show(proof_line(forgotten))
    for backup in forgotten.backups:
        show(_backup_line(backup))
    show(Text(f"receipt: {forgotten.receipt}", "dim"))


def _meant(store: LessonStore, wanted: ForgetRequest) -> tuple[ForgetRequest, list[str]]:
    """What a request means. Documents are known by their full path, but people type the one they taught them by."""
    ids = forgetting.meant(store, wanted)
    if ids or not wanted.source:
        return wanted, ids
    request = replace(wanted, source=str(Path(wanted.source).resolve()))
    return request, forgetting.meant(store, request)


def unlearned(adapters: Path, ids: Sequence[str]) -> tuple[str, ...]:
    """Remove versions of adapters that were trained on lessons; what that takes is imported where there are any."""
    if not adapters.is_dir():
        return ()
    from everlearn.learning.unlearning import unlearn
    from everlearn.specialists.shelf import AdapterShelf

    return unlearn(AdapterShelf(adapters), ids)


def ask_first(question: str) -> None:
    """Ask once before something that cannot be undone.

    Raises:
        InputError: nobody is there to be asked.
        typer.Abort: the answer is no.
    """
    if not is_terminal(sys.stdin):
        raise InputError("This cannot be undone, and there is no terminal to ask you.", hint="Add --yes to do it.")
    if not typer.confirm(question, err=True):
        err().print("Nothing was changed.")
        raise typer.Exit(1)


def proof_line(forgotten: Forgotten) -> Text:
    """What went, on one line."""
    line = Text.assemble(("forgotten ", "green"), f"{len(forgotten.ids):,} lesson{'s' * (len(forgotten.ids) != 1)}")
    line.append(f"  {forgotten.derived:,} derived rows and {forgotten.turns:,} kept answers removed", "dim")
    if forgotten.adapters:
        line.append(f", adapters gone: {', '.join(forgotten.adapters)} (learned anew by: everlearn sleep)", "yellow")
    if forgotten.restored:
        line.append(f", {len(forgotten.restored):,} older lessons speak again", "yellow")
    return line


def _copy(kept: Path, wanted: Path) -> None:
    try:
        shutil.copyfile(kept, wanted)
    except OSError as cause:
        raise FileFormatError(
            f"The lessons are forgotten, but {wanted} cannot be written: {cause.strerror}.",
            hint=f"The receipt is kept as {kept}.",
        ) from cause


def _backup_line(backup: Backup) -> Text:
    if backup.action == "named":
        return Text.assemble(("may still hold them ", "red"), text(f"{backup.path} ({backup.kind})"))
    return Text.assemble((f"{backup.action} ", "green"), text(f"{backup.path} ({backup.kind})"))


def _show_plan(store: LessonStore, plan: Forgotten) -> None:
    lessons = store.lessons_by_id([*plan.ids[:SAMPLE], *plan.restored[:SAMPLE]])
    shown = short_ids(store, lessons)
    console = err()
    for verb, style, ids in (("goes ", "red", plan.ids), ("speaks again ", "yellow", plan.restored)):
        for each in ids[:SAMPLE]:
            lesson = lessons[each]
            console.print(Text.assemble((verb, style), (shown[each], "cyan"), "  ", one_line(lesson.prompt)), end="")
            console.print(text(f"  {one_line(lesson.answer)}", "dim"))
        if len(ids) > SAMPLE:
            console.print(Text(f"{verb}{len(ids) - SAMPLE:,} more, {len(ids):,} in all", style))
    for backup in plan.backups:
        console.print(Text(f"in a backup: {backup.path} ({backup.kind})", "dim"))
    console.print(Text(f"kept answers that rest on them: {plan.turns:,}", "dim"))
