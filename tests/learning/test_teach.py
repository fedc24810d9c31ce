"""Teaching: what is refused, what supersedes what, what is one transaction."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from everlearn.errors import (
    ConflictError,
    InputError,
    LessonError,
    LessonNotFoundError,
    NotFoundError,
    SettingsError,
    StoreBusyError,
    TableNotFoundError,
)
from everlearn.records import Feedback, Lesson, Sampling, TableSettings
from everlearn.store.port import ImportProgress, LessonQuery
from toys import toy_engine, toy_learner, toy_parts

QUESTION = "Who bakes at Zorblat?"


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (Lesson("", "x"), "The prompt is empty"),
        (Lesson("x", " \n"), "The answer is empty"),
        (Lesson("a\x00", "x"), "NUL"),
        (Lesson("x", "\ud800"), "surrogate"),
        (Lesson("x" * 100_000, "y"), "100,000 characters, at most 4,000"),
        (Lesson("x", "y" * 100_000), "100,000 characters, at most 4,000"),
        (Lesson("x", "y", importance=1.5), "importance is 1.5"),
        (Lesson("x", "y", importance=float("nan")), "importance is nan"),
        (Lesson("x", "y", source="a\x00"), "The source holds a NUL"),
        (Lesson("x", "y", importance="high"), "importance is 'high'"),
        (Lesson("x", "y", tenant="acme"), "The tenant is 'acme'"),
        (Lesson("x", "y", valid_to=datetime(2025, 1, 1)), "valid_to is .* with its zone"),
        (
            Lesson("x", "y", valid_from=datetime(2025, 1, 1, tzinfo=UTC), valid_to=datetime(2024, 1, 1, tzinfo=UTC)),
            "is not after valid_from",
        ),
    ],
)
def test_bad_lessons_are_refused_and_nothing_is_written(engine, learner, bad, says):
    with pytest.raises(LessonError, match=says):
        learner.teach(bad)
    assert engine.memory.store.count(LessonQuery()) == 0


def test_an_unknown_table_is_refused(learner):
    with pytest.raises(TableNotFoundError, match="There is no table 'shop'"):
        learner.teach(Lesson("x", "y", table="shop"))


@pytest.mark.parametrize(
    "answer", ["🥐👩🏽‍🍳", "من يدير المخبز", "谁在烤面包", "ᚠᛇᚻ", "two\nlines", '"quoted", and, commas']
)
def test_any_script_is_learned_and_answered(engine, learner, answer):
    learner.teach(Lesson(QUESTION, answer))
    assert engine.answer(QUESTION).text == answer


def test_an_equal_lesson_is_known_already(engine, learner):
    first = learner.teach(Lesson(QUESTION, "Mirela"))
    again = learner.teach(Lesson(" who bakes at ZORBLAT ", "Mirela"))
    assert again.known
    assert again.lesson.id == first.lesson.id
    assert engine.memory.store.count(LessonQuery()) == 1


def test_another_answer_supersedes_and_keeps_history(engine, learner):
    old = learner.teach(Lesson(QUESTION, "Mirela")).lesson
    new = learner.teach(Lesson("who bakes at zorblat", "Tobias"))
    assert new.superseded == (old.id,)
    assert engine.answer(QUESTION).text == "Tobias"
    assert [le.answer for le in engine.memory.store.history(new.lesson.id)] == ["Mirela", "Tobias"]
    back = learner.forget(new.lesson.id)
    assert back.restored == (old.id,)
    assert engine.answer(QUESTION).text == "Mirela"


def test_the_same_question_in_another_table_is_no_conflict(engine, learner):
    engine.memory.store.put_table("shop", TableSettings())
    learner.teach(Lesson(QUESTION, "Mirela"))
    assert learner.teach(Lesson(QUESTION, "Tobias", table="shop")).superseded == ()
    assert engine.answer(QUESTION, tables=["shop"]).text == "Tobias"
    assert engine.answer(QUESTION, tables=["default"]).text == "Mirela"


def test_a_similar_question_is_not_superseded(engine, learner):
    learner.teach(Lesson("What is track 8 on the Zorblat album?", "Menace Ball"))
    other = learner.teach(Lesson("What is track 9 on the Zorblat album?", "Two Birds"))
    assert other.superseded == ()
    assert engine.answer("What is track 8 on the Zorblat album?").text == "Menace Ball"
    assert engine.answer("What is track 9 on the Zorblat album?").text == "Two Birds"


def test_other_words_for_a_choice_are_refused(learner):
    with pytest.raises(SettingsError, match="on_conflict is 'banana'"):
        learner.teach(Lesson("x", "y"), on_conflict="banana")
    with pytest.raises(SettingsError, match="batch_size is 0"):
        learner.teach_many([], batch_size=0)


def test_reject_writes_nothing(engine, learner):
    learner.teach(Lesson(QUESTION, "Mirela"))
    with pytest.raises(ConflictError, match="with 'Mirela' already"):
        learner.teach_many([Lesson("New?", "Yes"), Lesson(QUESTION, "Tobias")], on_conflict="reject")
    assert engine.memory.store.count(LessonQuery()) == 1


def test_one_batch_equals_one_by_one():
    lessons = [
        Lesson(QUESTION, "Mirela"),
        Lesson("Where is the harbour?", "North"),
        Lesson(QUESTION, "Tobias"),
        Lesson("Where is the harbour", "North"),
        Lesson(QUESTION, "Mirela"),
    ]
    states = []
    for size in (1, 2, 256):
        engine = toy_engine()
        outcomes = toy_learner(engine).teach_many(lessons, batch_size=size)
        kept = {le.id: le for le in engine.memory.store.lessons(LessonQuery())}
        chain = [kept[le.superseded_by].answer if le.superseded_by else "" for le in kept.values()]
        states.append(
            (
                [(le.prompt, le.answer, le.status) for le in kept.values()],
                chain,
                [(o.known, len(o.superseded)) for o in outcomes],
                engine.answer(QUESTION).text,
            )
        )
    assert states[0] == states[1] == states[2]
    assert states[0][0][0] == (QUESTION, "Mirela", "superseded")
    assert states[0][3] == "Mirela"


def test_progress_and_import_marks_come_batch_by_batch(engine, learner):
    seen = []
    lessons = [Lesson(f"Question number {n} about thing{n}?", str(n)) for n in range(10)]
    mark = ImportProgress("digest", "default", 5)
    learner.teach_many(lessons, batch_size=4, progress=lambda *n: seen.append(n), imported=mark)
    assert seen == [(4, 10), (8, 10), (10, 10)]
    assert engine.memory.store.import_progress("digest", "default") == 15


def test_a_batch_with_a_bad_lesson_leaves_earlier_batches_learned(engine, learner):
    lessons = [Lesson("a thing?", "1"), Lesson("b thing?", "2"), Lesson("", "3")]
    with pytest.raises(LessonError):
        learner.teach_many(iter(lessons), batch_size=2)
    assert engine.memory.store.count(LessonQuery()) == 2


def test_another_process_in_between_makes_the_conflict_check_run_again(engine, learner, parts, monkeypatch):
    """Between this learner's look and its commit, another one teaches the same question."""
    store = engine.memory.store
    rival = toy_learner(toy_engine(parts=parts, store=store, derived=engine.memory.derived))
    teach = type(store).teach
    raced = []

    def slow_commit(self, *args, **kwargs):
        if not raced:
            raced.append(True)
            rival.teach(Lesson(QUESTION, "Tobias"))
        return teach(self, *args, **kwargs)

    monkeypatch.setattr(type(store), "teach", slow_commit)
    outcome = learner.teach(Lesson(QUESTION, "Mirela"))
    assert len(outcome.superseded) == 1
    assert store.count(LessonQuery(status="active")) == 1


def test_endless_races_end_in_a_clear_error(engine, learner, monkeypatch):
    from everlearn.store.port import StaleError

    def stale(*_args, **_kwargs):
        raise StaleError

    monkeypatch.setattr(type(engine.memory.store), "teach", stale)
    with pytest.raises(StoreBusyError, match="Nothing was written"):
        learner.teach(Lesson(QUESTION, "Mirela"))


def test_forgetting_an_unknown_lesson_removes_nothing(engine, learner):
    lesson = learner.teach(Lesson(QUESTION, "Mirela")).lesson
    with pytest.raises(LessonNotFoundError):
        learner.forget([lesson.id, "nope"])
    assert engine.answer(QUESTION).text == "Mirela"


def test_forgetting_removes_vectors_corrections_and_turns(engine, learner):
    lesson = learner.teach(Lesson(QUESTION, "Mirela")).lesson
    session = engine.session()
    session.say(QUESTION)
    gone = learner.forget(lesson.id)
    assert gone.ids == (lesson.id,)
    assert gone.turns == 1
    assert gone.derived == 3  # vector, word states, correction
    assert engine.memory.store.turns(session.id) == []
    assert engine.memory.key_bytes == 0


def test_wrong_feedback_becomes_a_lesson(engine, learner):
    session = engine.session(sampling=Sampling(max_new_tokens=8))
    session.say(QUESTION)
    turn = session.last_turn
    taught = learner.learn_from_feedback(Feedback(QUESTION, "wrong", "Mirela", author="ada", turn=turn))
    assert taught is not None
    assert (taught.lesson.source, taught.lesson.author) == (f"feedback on turn {turn}", "ada")
    assert engine.answer(QUESTION).text == "Mirela"
    with pytest.raises(NotFoundError, match="No kept turn"):
        learner.learn_from_feedback(Feedback(QUESTION, "wrong", "Mirela", turn="nope"))
    with pytest.raises(LessonError, match="The verdict is 'banana'"):
        learner.learn_from_feedback(Feedback(QUESTION, "banana"))
    assert learner.learn_from_feedback(Feedback(QUESTION, "right")) is None
    with pytest.raises(InputError, match="not what is right"):
        learner.learn_from_feedback(Feedback(QUESTION, "wrong"))


def test_feedback_corrects_the_lesson_that_spoke_where_it_is(engine, learner):
    learner.put_table("shop")
    old = learner.teach(Lesson(QUESTION, "Mirela", table="shop")).lesson
    session = engine.session()
    asked = "Who at Zorblat bakes?"
    assert session.say(asked).text == "Mirela"
    taught = learner.learn_from_feedback(Feedback(asked, "wrong", "Tobias", turn=session.last_turn))
    assert taught.superseded == (old.id,)
    assert (taught.lesson.table, taught.lesson.prompt) == ("shop", QUESTION)
    for wording in (QUESTION, asked):
        assert engine.answer(wording).text == "Tobias"


def test_feedback_on_a_follow_up_is_about_its_subject(engine, learner):
    session = engine.session(sampling=Sampling(max_new_tokens=8))
    session.say("Who founded the Zorblat bakery?")
    session.say("And when was it founded?")
    asked = Feedback("And when was it founded?", "wrong", "in 1987", turn=session.last_turn)
    assert "Zorblat" in learner.learn_from_feedback(asked).lesson.prompt
    assert session.say("And when was it founded?", sampling=Sampling()).text == "in 1987"


def test_a_lesson_speaks_only_while_it_is_true(engine, learner):
    day = timedelta(days=1)
    now = datetime.now(UTC)
    learner.teach(Lesson("Who led Tarn before?", "Ulf", valid_to=now - day))
    learner.teach(Lesson("Who will lead Tarn later?", "Ida", valid_from=now + day))
    learner.teach(Lesson("Who leads Tarn now?", "Eva", valid_from=now - day, valid_to=now + day))
    spoken = [engine.recall(q).spoke for q in ("Who led Tarn before?", "Who will lead Tarn later?")]
    assert spoken == [None, None]
    assert engine.answer("Who leads Tarn now?").text == "Eva"


def test_a_long_answer_is_given_whole_unless_a_limit_is_asked_for(engine, learner):
    long = "word " * 200 + "end"
    learner.teach(Lesson(QUESTION, long))
    assert engine.answer(QUESTION).text == long
    assert engine.answer(QUESTION, sampling=Sampling(max_new_tokens=10)).finish_reason == "length"


def test_forgetting_while_a_correction_is_computed_leaves_nothing(engine, learner, monkeypatch):
    lesson = learner.teach(Lesson(QUESTION, "Mirela")).lesson
    compute = type(engine.memory.corrections).compute

    def forgotten_meanwhile(self, *args):
        made = compute(self, *args)
        learner.forget(lesson.id)
        return made

    monkeypatch.setattr(type(engine.memory.corrections), "compute", forgotten_meanwhile)
    engine.answer(QUESTION)
    assert engine.memory.derived.ids() == set()
    assert engine.memory.corrections.find(lesson, TableSettings()) is None


def test_derived_data_of_an_interrupted_forgetting_goes_at_the_next_start(engine, learner, parts):
    lesson = learner.teach(Lesson(QUESTION, "Mirela")).lesson
    learner.teach(Lesson("Another thing?", "Yes"))
    learner.warm()
    engine.memory.store.forget([lesson.id])  # and the process ends here
    other = toy_engine(parts=parts, store=engine.memory.store, derived=engine.memory.derived)
    assert lesson.id in engine.memory.derived.ids()
    other.recall("Another thing?")
    assert lesson.id not in engine.memory.derived.ids()
    assert len(engine.memory.derived.ids()) == 1


def test_a_table_with_a_block_that_the_model_has_not_says_so(engine, learner):
    with pytest.raises(SettingsError, match="block 99; this model has the blocks 0 to 3"):
        learner.put_table("shop", TableSettings(blocks=(99,)))
    engine.memory.store.put_table("shop", TableSettings(blocks=(99,)))
    learner.teach(Lesson(QUESTION, "Mirela", table="shop"))
    learner.teach(Lesson("Another thing?", "Yes"))
    with pytest.raises(SettingsError, match="blocks 0 to 3"):
        engine.answer(QUESTION)
    assert learner.warm() == 1
    assert learner.delete_table("shop").ids
    assert engine.recall(QUESTION).spoke is None


def test_generate_is_the_answer_as_text(learner):
    learner.teach(Lesson(QUESTION, "Mirela"))
    assert learner.generate(QUESTION, max_new_tokens=50, temperature=0.5) == "Mirela"


def test_warm_computes_what_is_missing_once(engine, learner):
    learner.teach_many([Lesson(f"thing{n} of Zorblat{n}?", str(n)) for n in range(3)])
    assert learner.warm() == 3
    assert learner.warm() == 0
    engine.memory.store.put_table("default", TableSettings(blocks=(0, 1), sparsity=0.5))
    assert learner.warm() == 3


def test_lessons_keep_all_their_fields(engine, learner):
    since = datetime(2024, 5, 1, 12, tzinfo=UTC)
    given = Lesson(QUESTION, "Mirela", domain="food", importance=0.9, source="s", author="a", valid_from=since)
    kept = engine.memory.store.lesson(learner.teach(given).lesson.id)
    assert dataclasses.replace(kept, id="", taught_at=None, status="new") == given


def test_two_models_keep_corrections_apart(engine, learner):
    lesson = learner.teach(Lesson(QUESTION, "Mirela")).lesson
    engine.answer(QUESTION)
    memory = engine.memory
    other = toy_engine(parts=toy_parts("gpt2"), store=memory.store, derived=memory.derived)
    assert other.answer(QUESTION).text == "Mirela"
    settings = TableSettings()
    assert memory.corrections.missing([lesson.id], settings) == []
    first = memory.corrections.find(lesson, settings).blocks[3]
    assert not first.equal(other.memory.corrections.find(lesson, settings).blocks[3])


def test_a_context_pair_answers_with_its_context_only(engine, learner):
    pro = Lesson("How many seats do I get?", "Ten", context="I am on the Zorblat plan.")
    taught = learner.teach(pro).lesson
    assert (taught.kind, taught.context) == ("context_pair", pro.context)
    learner.teach(Lesson("How many seats do I get?", "Two", context="I am on the Umbral plan."))
    assert engine.memory.store.count(LessonQuery(kind="context_pair", status="active")) == 2
    assert engine.recall("How many seats do I get?").spoke is None
    assert engine.answer(f"{pro.prompt}\n{pro.context}").text == "Ten"
    talk = [{"role": "user", "content": pro.context}, {"role": "assistant", "content": "I see."}]
    assert engine.answer([*talk, {"role": "user", "content": pro.prompt}]).text == "Ten"


def test_the_message_before_brings_up_no_plain_pair(engine, learner):
    learner.teach(Lesson(QUESTION, "Mirela"))
    learner.teach(Lesson("How many seats do I get?", "Ten", context="I am on the Zorblat plan."))
    talk = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "Mirela"}]
    assert engine.recall([*talk, {"role": "user", "content": "Thanks"}]).spoke is None


def test_kind_and_context_have_to_fit(learner):
    with pytest.raises(LessonError, match="The context is empty"):
        learner.teach(Lesson("x", "y", kind="context_pair"))
    with pytest.raises(LessonError, match="The kind is 'song'"):
        learner.teach(Lesson("x", "y", kind="song"))
