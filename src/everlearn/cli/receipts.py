"""What an answer rests on, as a person and as a script reads it. Texts come from the store: a receipt copies none."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import shorten

from rich.console import Group, RenderableType
from rich.text import Text

from everlearn.cli.screen import document, one_line, table_of, text, visible
from everlearn.records import DEFAULT_TABLE, Answer, Lesson, Recalled, Receipt
from everlearn.store.port import LessonStore

_STYLES = {
    "spoke": "green",
    "hop": "green",
    "context": "green",
    "no_room": "yellow",
    "outranked": "yellow",
    "kept_beside": "yellow",
    "below_threshold": "dim",
    "silent": "magenta",
}
FORGOTTEN = "(forgotten)"
LONGEST_IN_LIST = 160


def lessons_of(receipt: Receipt, store: LessonStore) -> dict[str, Lesson]:
    """The lessons that a receipt names, by id; those forgotten since are missing."""
    return store.lessons_by_id([recalled.lesson_id for recalled in receipt.recalled])


def receipt_view(answer: Answer, lessons: Mapping[str, Lesson], shown: Mapping[str, str]) -> RenderableType:
    """A receipt for a person.

    Args:
        answer: with its receipt.
        lessons: by id.
        shown: id -> the short form of it.
    """
    receipt = answer.receipt
    if not receipt.recalled:
        return Group(Text(_nothing(receipt), "dim"), cost_line(answer))
    columns = ("=lesson", "=table", "=layer", "question", "answer", ">cosine", ">proba-\nbility", "decision")
    rows = [_row(recalled, lessons.get(recalled.lesson_id), shown) for recalled in receipt.recalled]
    table = table_of(columns, rows, {"=table": DEFAULT_TABLE, "=layer": ""})
    hushed = sorted({recalled.table for recalled in receipt.recalled if recalled.decision == "silent"})
    return Group(table, *(Text(silence(name), "dim") for name in hushed), cost_line(answer))


def silence(table: str) -> str:
    """Why an entry of a table that may speak did not."""
    return f"silent: the residual of table {visible(table)} is 0"


def cost_line(answer: Answer) -> Text:
    """What an answer cost, on one line."""
    usage, receipt = answer.usage, answer.receipt
    parts = [
        f"{receipt.model}",
        *([f"as of {receipt.as_of.isoformat()}"] if receipt.as_of else []),
        f"recall {receipt.recall_ms:.1f} ms",
        f"{usage.prompt_tokens} tokens read in {usage.prefill_ms:.0f} ms"
        + (f" ({usage.cached_tokens} cached)" if usage.cached_tokens else ""),
        f"{usage.completion_tokens} written in {usage.decode_ms:.0f} ms ({tokens_per_second(answer):.1f}/s)",
        f"{receipt.steps_corrected} corrected",
    ]
    return Text(" · ".join(parts), "dim")


def tokens_per_second(answer: Answer) -> float:
    """How fast the answer was written."""
    return 1000 * answer.usage.completion_tokens / answer.usage.decode_ms if answer.usage.decode_ms else 0.0


def answer_document(answer: Answer, lessons: Mapping[str, Lesson]) -> dict[str, object]:
    """An answer with its receipt for a script; each recalled entry with its question and answer."""
    receipt = document(answer.receipt)
    receipt["recalled"] = [
        document(recalled)
        | {
            "prompt": lessons[recalled.lesson_id].prompt if recalled.lesson_id in lessons else None,
            "answer": lessons[recalled.lesson_id].answer if recalled.lesson_id in lessons else None,
            "position": lessons[recalled.lesson_id].position if recalled.lesson_id in lessons else None,
            "source": lessons[recalled.lesson_id].source if recalled.lesson_id in lessons else None,
        }
        for recalled in answer.receipt.recalled
    ]
    return document(answer) | {"receipt": receipt}


def cited(lesson: Lesson) -> str:
    """A lesson as it is named under an answer: a passage by its titles and where it stands, a pair by its question."""
    if lesson.kind != "passage":
        return one_line(lesson.question)
    return one_line(lesson.prompt) + (f", {lesson.position}" if lesson.position else "")


def shortened(lesson: Lesson) -> str:
    """A lesson's answer on one line; of a passage how it begins."""
    answer = one_line(lesson.answer)
    return shorten(answer, LONGEST_IN_LIST, placeholder=" …") if lesson.kind == "passage" else answer


def citations(receipt: Receipt, lessons: Mapping[str, Lesson]) -> list[str]:
    """What the model read with the question, one line each, best first."""
    return [f"↳ read: {cited(lessons[r.lesson_id])}" for r in receipt.context if r.lesson_id in lessons]


def _row(recalled: Recalled, lesson: Lesson | None, shown: Mapping[str, str]) -> list[Text]:
    return [
        Text(shown.get(recalled.lesson_id, recalled.lesson_id), "cyan"),
        text(recalled.table),
        text(recalled.layer),
        text(cited(lesson) if lesson else FORGOTTEN),
        text(shortened(lesson) if lesson else FORGOTTEN),
        Text(f"{recalled.score:.3f}"),
        Text(f"{recalled.probability:.3f}"),
        Text(recalled.decision.replace("_", " "), _STYLES[recalled.decision]),
    ]


def _nothing(receipt: Receipt) -> str:
    if not receipt.tables:
        return "The base model alone: no look-up table was asked."
    return f"The base model alone: no lesson in {', '.join(receipt.tables)} is near the question."
