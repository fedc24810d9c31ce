from datetime import UTC, datetime

import pytest

from everlearn.corpus.lesson_fields import check_names, lesson_of, row_of
from everlearn.errors import FileFormatError, LessonError
from everlearn.records import Lesson


@pytest.mark.parametrize(
    ("row", "prompt", "answer"),
    [
        ({"prompt": "q", "answer": "a"}, "q", "a"),
        ({"question": "q", "answer": "a"}, "q", "a"),
        ({"prompt": "q", "target": "a"}, "q", "a"),
        ({"input": "q", "output": "a"}, "q", "a"),
        ({"instruction": "q", "output": "a"}, "q", "a"),
        ({"instruction": "q", "input": "", "output": "a"}, "q", "a"),
        ({"input": "text", "instruction": "Translate:", "output": "a"}, "Translate:\n\ntext", "a"),
    ],
)
def test_the_usual_names_of_question_and_answer_are_read(row, prompt, answer):
    lesson = lesson_of(row, table=None)
    assert (lesson.prompt, lesson.answer) == (prompt, answer)


def test_all_optional_fields_are_read():
    row = {
        "prompt": "q",
        "answer": "a",
        "table": "t",
        "domain": "d",
        "importance": 0.25,
        "source": "s",
        "author": "me",
        "valid_from": "2026-01-31",
        "valid_to": "2026-02-01T01:00:00+01:00",
    }
    lesson = lesson_of(row, table=None)
    assert lesson == Lesson(
        prompt="q",
        answer="a",
        table="t",
        domain="d",
        importance=0.25,
        source="s",
        author="me",
        valid_from=datetime(2026, 1, 31, tzinfo=UTC),
        valid_to=datetime(2026, 2, 1, tzinfo=UTC),
    )


def test_what_is_not_set_is_as_in_a_new_lesson():
    row = {"prompt": "q", "answer": "a", "table": "", "importance": None, "valid_from": ""}
    assert lesson_of(row, table=None) == Lesson(prompt="q", answer="a")


def test_a_given_table_goes_before_the_rows_own():
    assert lesson_of({"prompt": "q", "answer": "a", "table": "own"}, table="given").table == "given"


def test_fields_of_the_store_are_read_over():
    lesson = lesson_of({"prompt": "q", "answer": "a", "id": "x", "status": "superseded"}, table=None)
    assert (lesson.id, lesson.status) == ("", "new")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["prompt", "anser"], "Unknown field 'anser'. Did you mean 'answer'?"),
        (["prompt", "answer", "xyzzy"], "Unknown field 'xyzzy'. Known are: answer, author"),
        (["prompt", "answer", "answer"], "'answer' stands there twice"),
        (["answer"], "No field holds the question. Name it 'prompt'"),
        (["prompt"], "No field holds the answer. Name it 'answer'"),
        (["prompt", "question", "answer"], "Both 'prompt' and 'question' hold the question"),
        (["prompt", "answer", "output"], "Both 'answer' and 'output' hold the answer"),
    ],
)
def test_wrong_names_are_explained(names, message):
    with pytest.raises(FileFormatError) as caught:
        check_names(names)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("answer", 42, "answer is 42, wanted text"),
        ("prompt", None, "prompt is None, wanted text"),
        ("table", 1, "table is 1, wanted text"),
        ("importance", 2, "importance is 2, wanted a number from 0 to 1"),
        ("importance", "high", "importance is 'high', wanted a number"),
        ("importance", True, "wanted a number"),
        ("importance", float("nan"), "wanted a number"),
        ("valid_from", "yesterday", "valid_from is 'yesterday', wanted a date"),
    ],
)
def test_wrong_values_are_explained(name, value, message):
    with pytest.raises(FileFormatError) as caught:
        lesson_of({"prompt": "q", "answer": "a", name: value}, table=None)
    assert message in str(caught.value)


def test_a_time_span_goes_forwards():
    with pytest.raises(FileFormatError, match="not before"):
        lesson_of({"prompt": "q", "answer": "a", "valid_from": "2026-02-01", "valid_to": "2026-01-01"}, table=None)


@pytest.mark.parametrize("answer", ["", "  \n", "a\x00b", "\ud800", "x" * 100_000])
def test_an_answer_that_cannot_be_learned_is_refused(answer):
    with pytest.raises(LessonError, match="the answer"):
        lesson_of({"prompt": "q", "answer": answer}, table=None)


def test_a_row_holds_every_field():
    lesson = Lesson(prompt="q", answer="a", importance=0.1, taught_at=datetime(2026, 1, 1, tzinfo=UTC), id="i")
    row = row_of(lesson)
    assert (row["importance"], row["taught_at"], row["valid_from"]) == (0.1, "2026-01-01T00:00:00+00:00", "")
    assert lesson_of(row, table=None) == Lesson(prompt="q", answer="a", importance=0.1)


@pytest.mark.parametrize(
    "lesson",
    [
        Lesson("How many seats?", "Ten", context="I am on the Pro plan.", kind="context_pair"),
        Lesson("Handbook > Refunds", "Refunds take ten days.", kind="passage", position="page 3"),
    ],
)
def test_kinds_are_written_and_read(lesson):
    assert lesson_of(row_of(lesson), table=None) == lesson


def test_a_context_makes_a_context_pair():
    assert lesson_of({"prompt": "a", "answer": "b", "context": "c"}, table=None).kind == "context_pair"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"kind": "song"}, "kind is 'song'"),
        ({"kind": "context_pair"}, "has no context"),
        ({"kind": "passage", "context": "c"}, "has a context"),
    ],
)
def test_a_kind_has_to_fit(row, says):
    with pytest.raises(FileFormatError, match=says):
        lesson_of({"prompt": "a", "answer": "b"} | row, table=None)
