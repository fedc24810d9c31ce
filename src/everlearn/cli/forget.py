"""`everlearn lessons forget`: remove lessons and everything derived of them. No model is loaded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.lesson_ids import short_ids
from everlearn.cli.opening import choice_of, open_derived, open_store, settings_of
from everlearn.cli.screen import document, err, is_terminal, one_line, show, show_json, text
from everlearn.errors import InputError
from everlearn.records import Forgotten, Lesson
from everlearn.store.port import DerivedStore, LessonStore


def forget(
    ctx: typer.Context,
    lesson_ids: Annotated[
        list[str],
        typer.Argument(metavar="ID...", help="Ids of lessons, or the beginnings of them.", show_default=False),
    ],
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> None:
    """Forget lessons: their rows, vectors, corrections and the kept answers that rest on them.

    Afterwards the model answers as if it had never been taught them. What a forgotten lesson had replaced speaks again.
    """
    choice = choice_of(ctx)
    with open_store(choice) as store, open_derived(choice) as derived:
        ids = list(dict.fromkeys(store.resolve(each) for each in lesson_ids))
        plan = what_would_go(store, ids)
        if dry_run:
            show_json(document(plan) | {"dry_run": True}) if json else _show_plan(store, plan)
            return
        if not yes:
            if not json:
                _show_plan(store, plan)
            ask_first(f"Forget {len(ids):,} lesson{'s' * (len(ids) > 1)} for good?")
        forgotten = forget_lessons(store, derived, ids, settings_of(choice).adapters_folder)
    show_json(document(forgotten)) if json else show(proof_line(forgotten))


def what_would_go(store: LessonStore, ids: Sequence[str]) -> Forgotten:
    """What forgetting would do, without doing it; derived rows are not counted."""
    gone, back = set(ids), dict[str, None]()
    for lesson_id in ids:
        back.update(dict.fromkeys(_speak_again(store.history(lesson_id), gone)))
    return Forgotten(tuple(ids), tuple(back), sum(store.turns_resting_on(each) for each in ids))


def forget_lessons(store: LessonStore, derived: DerivedStore, ids: Sequence[str], adapters: Path) -> Forgotten:
    """Forget, and say what went; versions of adapters that were trained on them go, too."""
    turns = sum(store.turns_resting_on(each) for each in ids)
    restored = store.forget(ids)
    return Forgotten(tuple(ids), tuple(restored), turns, derived.delete(ids), unlearned(adapters, ids))


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


def _speak_again(chain: Sequence[Lesson], gone: set[str]) -> list[str]:
    """Ids of a chain that nothing replaces any more once `gone` are gone."""
    successor = {lesson.id: lesson.superseded_by for lesson in chain}

    def last(lesson_id: str) -> str:
        while lesson_id in gone:
            lesson_id = successor.get(lesson_id, "")
        return lesson_id

    return [le.id for le in chain if le.status == "superseded" and le.id not in gone and not last(le.superseded_by)]


def _show_plan(store: LessonStore, plan: Forgotten) -> None:
    lessons = store.lessons_by_id([*plan.ids, *plan.restored])
    shown = short_ids(store, lessons)
    console = err()
    for verb, style, ids in (("goes ", "red", plan.ids), ("speaks again ", "yellow", plan.restored)):
        for each in ids:
            lesson = lessons[each]
            console.print(Text.assemble((verb, style), (shown[each], "cyan"), "  ", one_line(lesson.prompt)), end="")
            console.print(text(f"  {one_line(lesson.answer)}", "dim"))
    console.print(Text(f"kept answers that rest on them: {plan.turns:,}", "dim"))
