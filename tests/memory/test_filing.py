"""Large tables in files: the same recalls as in memory, whatever is taught, forgotten, killed or done by others."""

import dataclasses
import multiprocessing
import os
import random
import signal
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch

from everlearn.errors import StoreError
from everlearn.memory import filing, upkeep
from everlearn.memory.saved import SavedEntries
from everlearn.records import Lesson
from everlearn.store.port import LessonQuery
from toys import engine_on_disk, toy_engine, toy_learner, toy_parts

LARGE, MOST_NEW = 120, 30
SURE, NEAR = 5, 0.4
PLACES = ("Tarn", "Umbral", "Zorblat", "Quill", "Vesper", "Ondine", "Kestrel", "Marrow", "Lumen", "Harrow")
THINGS = ("bakery", "harbour", "library", "mill", "school", "tower", "market", "bridge", "garden", "forge")


def lessons(count, first=0):
    return [
        Lesson(f"Who runs the {THINGS[n % 10]} number {n // 100} of {PLACES[n // 10 % 10]}?", f"answer {n}")
        for n in range(first, first + count)
    ]


def questions(count):
    drawn = random.Random(7)
    asked = [lesson.prompt for lesson in lessons(count)]
    looser = [f"In {p}, who is it that runs {t}?" for p in PLACES[:4] for t in THINGS[:4]]
    return [*drawn.sample(asked, 25), *looser, "What is two and two?"]


@pytest.fixture
def parts():
    return toy_parts()


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(filing, "LARGE", LARGE)
    monkeypatch.setattr(filing, "MOST_NEW", MOST_NEW)


@pytest.fixture
def learner(tmp_path, parts, small_limits):
    made = toy_learner(engine_on_disk(tmp_path, parts))
    yield made
    made.engine.close()


def told(engine, asked, **how):
    """What is recalled: without ids, which differ between engines, and what is far, which the index may miss."""
    prompts = {}
    found = []
    for question in asked:
        receipt = engine.recall(question, **how)
        recalled = [r for r in receipt.recalled[:SURE] if r.score >= NEAR]
        ids = [r.lesson_id for r in recalled]
        prompts.update(engine.memory.store.lessons_by_id(ids))
        said = [(prompts[r.lesson_id].prompt, prompts[r.lesson_id].answer) for r in recalled]
        found.append([(*of, round(r.score, 5), r.decision) for of, r in zip(said, recalled, strict=True)])
    return found


def in_memory(parts, taught):
    engine = toy_engine(parts=parts)
    learner = toy_learner(engine)
    learner.teach_many(taught, batch_size=1000)
    return engine


def spoken(engine, question):
    """The answer of the lesson that speaks."""
    return engine.memory.store.lesson(engine.recall(question).spoke.lesson_id).answer


def table_of(engine):
    return engine.memory.table("default")


def test_a_table_just_over_the_threshold_recalls_what_brute_force_recalls(learner, parts):
    taught = lessons(LARGE + 40)
    learner.teach_many(taught[:LARGE], batch_size=50)
    learner.engine.memory.filed()
    learner.teach_many(taught[LARGE : LARGE + 5], batch_size=5)
    table = table_of(learner.engine)
    assert (table.new, len(table)) == (5, LARGE + 5)
    learner.teach_many(taught[LARGE + 5 :], batch_size=5)
    asked = questions(LARGE + 40)
    assert told(learner.engine, asked) == told(in_memory(parts, taught), asked)


def test_a_small_table_has_no_files(learner, tmp_path):
    learner.teach_many(lessons(LARGE - 1), batch_size=50)
    learner.engine.memory.filed()
    assert table_of(learner.engine).filed is None
    assert not (tmp_path / "entries").exists()


def test_an_opened_table_reads_its_files_and_what_changed_since(learner, parts, tmp_path):
    taught = lessons(LARGE + 20)
    ids = [t.lesson.id for t in learner.teach_many(taught, batch_size=50)]
    learner.engine.memory.filed()
    learner.teach(dataclasses.replace(taught[3], answer="somebody else"))
    learner.forget(ids[5])
    learner.teach(Lesson("Who sings in Tarn?", "the mayor"))
    learner.engine.close()
    opened = engine_on_disk(tmp_path, parts)
    assert table_of(opened).new == 2
    asked = [*questions(LARGE + 20), taught[3].prompt, taught[5].prompt, "Who sings in Tarn?"]
    others = [lesson for n, lesson in enumerate(taught) if n not in (3, 5)]
    wanted = in_memory(
        parts,
        [*others, dataclasses.replace(taught[3], answer="somebody else"), Lesson("Who sings in Tarn?", "the mayor")],
    )
    assert told(opened, asked) == told(wanted, asked)
    assert spoken(opened, taught[3].prompt) == "somebody else"
    opened.close()


def test_a_table_without_files_is_filed_when_it_is_opened(tmp_path, parts, monkeypatch):
    taught = [*lessons(150), Lesson("When is the fair?", "in May", context="the fair of Ondine")]
    engine = engine_on_disk(tmp_path, parts)
    toy_learner(engine).teach_many(taught, batch_size=200)
    engine.close()
    monkeypatch.setattr(filing, "LARGE", LARGE)
    opened = engine_on_disk(tmp_path, parts)
    asked = [*questions(150), "When is the fair?", "When is the fair of Ondine?"]
    assert told(opened, asked) == told(in_memory(parts, taught), asked)
    assert table_of(opened).new == 0
    assert opened.recall("When is the fair?").spoke is None
    opened.close()


def test_files_that_cannot_be_read_are_made_anew(learner, parts, tmp_path):
    taught = lessons(LARGE)
    learner.teach_many(taught, batch_size=50)
    learner.engine.close()
    (words,) = (tmp_path / "entries").rglob("*.words")
    words.write_bytes(b"\xff" * words.stat().st_size)
    opened = engine_on_disk(tmp_path, parts)
    assert told(opened, questions(LARGE)) == told(in_memory(parts, taught), questions(LARGE))
    opened.close()


def test_a_damaged_vector_is_read_again_from_the_lesson(learner, parts):
    taught = lessons(LARGE)
    ids = [t.lesson.id for t in learner.teach_many(taught, batch_size=50)]
    memory = learner.engine.memory
    memory.filed()
    saved = table_of(learner.engine).filed.saved
    saved._rows.columns["vectors"][3] = -saved._rows.columns["vectors"][3]
    learner.engine.recall(taught[3].prompt)
    assert saved.damaged == {ids[3]}
    learner.teach(Lesson("Who sings in Tarn?", "the mayor"))
    memory.filed()
    assert learner.engine.recall(taught[3].prompt).spoke.lesson_id == ids[3]


def test_forgetting_equals_never_taught_and_wipes_the_bytes(learner, parts, tmp_path):
    taught = lessons(LARGE + 10)
    unwanted = Lesson("Who keeps the secret of Vesper?", "the gardener")
    ids = [t.lesson.id for t in learner.teach_many([*taught[:60], unwanted, *taught[60:]], batch_size=50)]
    memory = learner.engine.memory
    memory.filed()
    vector = memory.keys.vectors([unwanted.prompt])[0]
    halves = vector.astype("<f2").tobytes()
    files = tmp_path / "entries"

    def held():
        return any(
            halves in f.read_bytes() or ids[60].encode() in f.read_bytes() for f in files.rglob("*") if f.is_file()
        )

    assert held()
    outcome = learner.forget(ids[60])
    assert outcome.derived >= 1
    assert not held()
    never = in_memory(parts, taught)
    asked = [*questions(LARGE + 10), unwanted.prompt]
    assert told(learner.engine, asked) == told(never, asked)
    for question in asked[::10]:
        assert torch.equal(learner.engine.logits(question, steps=1), never.logits(question, steps=1))


def test_what_is_forgotten_while_files_are_written_is_not_in_them(learner, monkeypatch, tmp_path):
    taught = lessons(LARGE + 60)
    ids = [t.lesson.id for t in learner.teach_many(taught[: LARGE - 1], batch_size=50)]
    memory, forgotten = learner.engine.memory, []
    before = filing.Filing._forgotten

    def just_before(self, since):
        found = before(self, since)
        if not forgotten:
            forgotten.append(ids[7])
            memory.store.forget([ids[7]])
        return found

    monkeypatch.setattr(filing.Filing, "_forgotten", just_before)
    learner.teach_many(taught[LARGE - 1 :], batch_size=1)
    memory.filed()
    assert forgotten
    (names,) = (tmp_path / "entries").rglob("*.id")
    assert ids[7].encode() not in names.read_bytes()
    assert ids[7] not in [r.lesson_id for r in learner.engine.recall(taught[7].prompt).recalled]


def test_what_is_superseded_or_forgotten_while_rows_are_added_speaks_no_more(learner, parts, monkeypatch):
    taught = lessons(LARGE + MOST_NEW + 3)
    ids = [t.lesson.id for t in learner.teach_many(taught[:LARGE], batch_size=50)]
    learner.engine.memory.filed()
    replaced, gone = taught[LARGE + 1], taught[LARGE + 2]
    before, done = filing.Filing.written, []

    def meanwhile(self, saved, columns, seq):
        rows = before(self, saved, columns, seq)
        if not done:
            done.append(seq)
            learner.teach(dataclasses.replace(replaced, answer="somebody else"))
            learner.forget(learner.engine.recall(gone.prompt).spoke.lesson_id)
            learner.forget(ids[4])
        return rows

    monkeypatch.setattr(filing.Filing, "written", meanwhile)
    learner.teach_many(taught[LARGE:], batch_size=50)
    learner.engine.memory.filed()
    assert done
    assert spoken(learner.engine, replaced.prompt) == "somebody else"
    left = [le for n, le in enumerate(taught) if n != 4 and le not in (replaced, gone)]
    never = in_memory(parts, [*left, dataclasses.replace(replaced, answer="somebody else")])
    asked = [*questions(LARGE), taught[4].prompt, replaced.prompt, gone.prompt]
    assert told(learner.engine, asked) == told(never, asked)
    assert len(table_of(learner.engine)) == len(never.memory.table("default"))


def test_a_lesson_forgotten_just_before_rows_are_added_is_not_among_them(learner, monkeypatch, tmp_path):
    """The rows are made anew without it: what was forgotten is asked once more under the folder's lock."""
    taught = lessons(LARGE + MOST_NEW + 3)
    learner.teach_many(taught[:LARGE], batch_size=50)
    memory = learner.engine.memory
    memory.filed()
    before, forgotten = SavedEntries.write, []

    def just_before(self, columns, seq, still):
        if not forgotten:
            forgotten.append(learner.engine.recall(taught[LARGE + 1].prompt).spoke.lesson_id)
            memory.store.forget(forgotten)
        return before(self, columns, seq, still)

    monkeypatch.setattr(SavedEntries, "write", just_before)
    learner.teach_many(taught[LARGE:], batch_size=50)
    memory.filed()
    (names,) = (tmp_path / "entries").rglob("*.id")
    assert forgotten[0].encode() not in names.read_bytes()
    assert table_of(learner.engine).new < MOST_NEW, "the others were added"
    assert forgotten[0] not in [r.lesson_id for r in learner.engine.recall(taught[LARGE + 1].prompt).recalled]


@pytest.mark.parametrize("failure", [StoreError("the disk is full"), RuntimeError("faiss has its day")])
def test_what_cannot_be_filed_rests_is_tried_again_later_and_answers_meanwhile(learner, monkeypatch, failure):
    taught = lessons(LARGE + 30)
    tried = []

    def fails(*_):
        tried.append(1)
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(filing.Filing, "anew", fails)
        for lesson in taught[: LARGE + 20]:
            learner.teach(lesson)
        learner.engine.memory.filed()
        assert len(tried) == 1, "not at each change"
        assert spoken(learner.engine, taught[3].prompt) == taught[3].answer
        patch.setattr(upkeep, "REST_SECONDS", 0.0)
    later = time.monotonic() + 2 * upkeep.REST_SECONDS
    monkeypatch.setattr(upkeep.time, "monotonic", lambda: later)
    learner.teach(taught[-1])
    learner.engine.memory.filed()
    assert table_of(learner.engine).new == 0
    assert spoken(learner.engine, taught[3].prompt) == taught[3].answer


def test_where_nothing_can_be_written_no_clusters_are_made(tmp_path, parts, monkeypatch):
    engine = engine_on_disk(tmp_path, parts)
    toy_learner(engine).teach_many(lessons(LARGE), batch_size=50)
    engine.close()
    monkeypatch.setattr(filing, "LARGE", LARGE)
    monkeypatch.setattr(filing, "train", lambda *_: pytest.fail("clusters for nothing"))
    monkeypatch.setattr("everlearn.store.row_files.os.access", lambda *_: False)
    opened = engine_on_disk(tmp_path, parts)
    opened.memory.filed()
    assert (table_of(opened).filed, len(table_of(opened))) == (None, LARGE)
    assert spoken(opened, lessons(4)[3].prompt) == lessons(4)[3].answer
    opened.close()


def test_closing_closes_the_stores_whatever_fails(tmp_path, parts, monkeypatch):
    memory = engine_on_disk(tmp_path, parts).memory

    def fails(*_):
        raise StoreError("the disk is gone")

    closed = []
    monkeypatch.setattr(memory, "refresh", fails)
    monkeypatch.setattr(memory.derived, "close", lambda close=memory.derived.close: (closed.append("derived"), close()))
    monkeypatch.setattr(memory.store, "close", lambda close=memory.store.close: (closed.append("store"), close()))
    with monkeypatch.context() as patch:
        patch.setattr(memory._contents.upkeep, "close", fails)
        with pytest.raises(StoreError, match="disk is gone"):
            memory.close()
    assert closed == ["store", "derived"]


def test_hops_of_filed_lessons_are_those_of_lessons_in_memory(learner, parts, tmp_path):
    """Also of a superseded one that still speaks, since its successor begins later."""
    now = datetime.now(UTC)
    learner.teach_many(lessons(LARGE), batch_size=50)
    learner.teach(Lesson("Who is mayor of Tarn?", "Al"))
    learner.teach(Lesson("Who is mayor of Tarn?", "Bo", valid_from=now + timedelta(days=30)))
    learner.teach_many(lessons(MOST_NEW, first=LARGE), batch_size=50)
    learner.engine.memory.filed()
    waiting = learner.engine.recall("Who is mayor of Tarn?").spoke.lesson_id
    learner.engine.close()
    opened = engine_on_disk(tmp_path, parts)
    assert waiting in table_of(opened).filed
    assert waiting in opened.memory.hops._index
    opened.close()


def test_a_superseded_lesson_and_its_time_are_told_from_files_as_from_memory(learner, parts):
    now = datetime.now(UTC)
    later = Lesson("Who is mayor of Tarn?", "Bo", valid_from=now + timedelta(days=30))
    taught = [
        *lessons(LARGE),
        Lesson("Who is mayor of Tarn?", "Al"),
        later,
        Lesson("Who is mayor of Quill?", "Cy", valid_to=now - timedelta(days=1)),
        Lesson("Who is mayor of Lumen?", "Di", valid_from=now - timedelta(days=9), valid_to=now + timedelta(days=9)),
    ]
    for lesson in taught:
        learner.teach(lesson)
    learner.engine.memory.filed()
    for lesson in lessons(MOST_NEW + 5, first=LARGE):
        learner.teach(lesson)
    learner.engine.memory.filed()
    assert table_of(learner.engine).new < MOST_NEW
    never = in_memory(parts, [*taught, *lessons(MOST_NEW + 5, first=LARGE)])
    asked = [f"Who is mayor of {place}?" for place in PLACES]
    assert told(learner.engine, asked) == told(never, asked)
    then = now + timedelta(days=60)
    assert told(learner.engine, asked, as_of=then) == told(never, asked, as_of=then)


def test_two_processes_write_one_table(learner, parts, tmp_path):
    taught = lessons(LARGE + 2 * MOST_NEW + 20)
    ids = [t.lesson.id for t in learner.teach_many(taught[:LARGE], batch_size=50)]
    learner.engine.memory.filed()
    other = toy_learner(engine_on_disk(tmp_path, parts))
    other.teach_many(taught[LARGE : LARGE + MOST_NEW + 5], batch_size=10)
    other.engine.memory.filed()
    learner.forget(ids[4])
    learner.teach_many(taught[LARGE + MOST_NEW + 5 :], batch_size=10)
    learner.engine.memory.filed()
    left = [lesson for n, lesson in enumerate(taught) if n != 4]
    wanted = told(in_memory(parts, left), questions(LARGE))
    assert told(learner.engine, questions(LARGE)) == wanted
    assert told(other.engine, questions(LARGE)) == wanted
    other.engine.memory.filed()
    for engine in (learner.engine, other.engine):
        table = table_of(engine)
        assert (len(table), table.filed.saved.current) == (len(left), True)
    other.engine.close()


def test_a_table_that_is_deleted_leaves_no_files(learner, tmp_path):
    learner.put_table("docs")
    learner.teach_many([dataclasses.replace(lesson, table="docs") for lesson in lessons(LARGE)], batch_size=50)
    learner.engine.memory.filed()
    learner.delete_table("docs")
    assert sum(f.stat().st_size for f in (tmp_path / "entries").rglob("*") if f.is_file()) == 0


def test_files_of_a_table_that_became_small_are_removed_at_the_next_start(learner, parts, tmp_path):
    ids = [t.lesson.id for t in learner.teach_many(lessons(LARGE), batch_size=50)]
    learner.engine.memory.filed()
    learner.forget(ids[LARGE // 2 - 10 :])
    learner.engine.close()
    opened = engine_on_disk(tmp_path, parts)
    assert table_of(opened).filed is None
    assert told(opened, questions(50)) == told(in_memory(parts, lessons(LARGE // 2 - 10)), questions(50))
    opened.close()


def test_without_hops_for_too_many_lessons(learner, monkeypatch):
    from everlearn.memory import contents, hops

    monkeypatch.setattr(hops, "MOST_LESSONS", LARGE + 2)
    monkeypatch.setattr(contents, "MOST_LESSONS", LARGE + 2)
    learner.teach_many(lessons(LARGE), batch_size=50)
    assert learner.engine.memory.hops.most == 4
    learner.teach_many(lessons(5, first=LARGE), batch_size=50)
    assert learner.engine.memory.hops.most == 0


def _work(folder, ready):
    filing.LARGE, filing.MOST_NEW = LARGE, 5
    torch.set_num_threads(1)
    engine = engine_on_disk(folder)
    learner = toy_learner(engine)
    number = 1_000_000
    ids = [lesson.id for lesson in engine.memory.store.lessons(LessonQuery(limit=10**6))][:20]
    while True:  # until it is killed
        for lesson in lessons(8, first=number):
            learner.teach(lesson)
        number += 8
        if ids:
            learner.forget(ids.pop())
        ready.set()


@pytest.mark.slow
def test_a_process_killed_while_it_files_loses_nothing(learner, parts, tmp_path):
    learner.teach_many(lessons(LARGE + 60), batch_size=50)
    learner.engine.close()
    context, drawn = multiprocessing.get_context("fork"), random.Random(3)
    for _ in range(6):
        ready = context.Event()
        process = context.Process(target=_work, args=(tmp_path, ready))
        process.start()
        assert ready.wait(60)
        process.join(drawn.random() * 0.4)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        opened = engine_on_disk(tmp_path, parts)
        stored = opened.memory.store.lessons(LessonQuery(status="active", limit=10**6))
        table = table_of(opened)
        assert sorted(table.ids()) == sorted(lesson.id for lesson in stored)
        assert all(opened.recall(lesson.prompt).spoke.lesson_id == lesson.id for lesson in drawn.sample(stored, 10))
        saved = SavedEntries.read(table.filed.saved.files)
        gone = set(saved.ids()) - {lesson.id for lesson in opened.memory.store.lessons(LessonQuery(limit=10**6))}
        assert not gone, "a forgotten lesson's row is in the files"
        assert opened.memory.store.audit().flaws == ()
        opened.close()


def test_rows_of_files_are_what_lessons_are(learner):
    taught = lessons(LARGE)
    learner.teach_many(taught, batch_size=50)
    memory = learner.engine.memory
    memory.filed()
    filed = table_of(learner.engine).filed
    stored = memory.store.lessons(LessonQuery(limit=10**6))
    assert filed.saved.among([lesson.id for lesson in stored] + ["nobody"]) == {lesson.id for lesson in stored}
    exact = filed.vectors([stored[0].id])[stored[0].id]
    np.testing.assert_array_equal(exact, memory.vector_of(stored[0]))
    assert filed.asking("who runs the bakery number 0 of tarn") == [stored[0].id]
