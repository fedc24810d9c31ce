"""`everlearn lessons reflect`: what does not fit together, what is there twice, what is past, what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.lesson_ids import short_ids
from everlearn.cli.opening import choice_of, open_engine
from everlearn.cli.progress import steps_progress
from everlearn.cli.screen import document, note, one_line, show, show_json, show_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from everlearn.learning.reflection import Pair, Reflection


def reflect(
    ctx: typer.Context,
    table: Annotated[
        str | None, typer.Option("--table", metavar="NAME", help="Lessons of this table beside those of all.")
    ] = None,
    most: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Lines of each kind at most.")] = 20,
    json: options.Json = False,
) -> None:
    """Report contradictions, duplicates, lessons whose time is over, and what follows from lessons. Changes nothing.

    Two lessons are compared where they ask the same in the eyes of the gate, in whatever words and tables they are.
    What follows is a proposal: teach it where it is right.
    """
    from everlearn.learning.reflection import reflect as look

    with open_engine(choice_of(ctx)) as engine:
        with steps_progress("reflecting") as step:
            found = look(engine.memory, table=table, progress=step)
        pairs = [*found.contradictions, *found.duplicates]
        ids = [i for pair in pairs for i in (pair.one.id, pair.other.id)]
        ids += [lesson.id for lesson in found.stale] + [each.lesson_id for each in found.implied]
        shown = short_ids(engine.memory.store, list(dict.fromkeys(ids)))
    if json:
        show_json(document(found))
        return
    note(f"{found.looked_at:,} lessons were looked at.")
    _show_pairs("contradict each other", found.contradictions, shown, most)
    _show_pairs("say the same", found.duplicates, shown, most)
    _show_rest(found, shown, most)


def _show_pairs(what: str, pairs: Sequence[Pair], shown: dict[str, str], most: int) -> None:
    if not pairs:
        note(f"None {what}.")
        return
    show(Text(f"{len(pairs):,} {what}{'' if len(pairs) <= most else f', the first {most}'}:", "bold"))
    show_rows(
        ("=older", "question", "answer", "=newer", "question", "answer", ">alike"),
        (
            (
                Text(shown[p.one.id], "cyan"),
                one_line(p.one.prompt),
                one_line(p.one.answer),
                Text(shown[p.other.id], "cyan"),
                one_line(p.other.prompt),
                one_line(p.other.answer),
                "on purpose" if p.known else f"{p.probability:.2f}",
            )
            for p in pairs[:most]
        ),
    )


def _show_rest(found: Reflection, shown: dict[str, str], most: int) -> None:
    if found.stale:
        show(Text(f"{len(found.stale):,} are past:", "bold"))
        rows = [(Text(shown[le.id], "cyan"), one_line(le.prompt), one_line(le.answer)) for le in found.stale[:most]]
        show_rows(("=lesson", "question", "answer"), rows)
    if found.implied:
        show(Text(f"{len(found.implied):,} questions follow that nobody taught:", "bold"))
        implied = [
            (Text(shown[each.lesson_id], "cyan"), one_line(each.prompt), one_line(each.answer))
            for each in found.implied[:most]
        ]
        show_rows(("=follows from", "question", "answer"), implied)
