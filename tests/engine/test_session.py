"""Sessions: the cache between turns equals reading everything anew, whatever was taught or forgotten meanwhile."""

import pytest
import torch

from everlearn.errors import ConversationError, StoreFullError
from everlearn.records import Lesson, Message, Sampling
from toys import FAMILIES, toy_engine, toy_learner

SHORT = Sampling(max_new_tokens=16)
FACT = Lesson("Who bakes at Zorblat?", "Mirela Quandt")
TURNS = ["Hi there", FACT.prompt, "And what is a very long question about the harbour?", FACT.prompt, "Bye"]


def anew(engine, session, text):
    """The same turn without any kept cache."""
    return engine.answer([*session.messages, {"role": "user", "content": text}], sampling=SHORT)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_turn_equals_reading_the_conversation_anew(family):
    engine = toy_engine(family)
    toy_learner(engine).teach(FACT)
    session = engine.session(system="Be brief.")
    for text in TURNS:
        wanted = anew(engine, session, text)
        got = session.say(text, sampling=SHORT)
        assert got.text == wanted.text
        assert got.finish_reason == wanted.finish_reason
    assert session.last is not None
    assert session.last.usage.cached_tokens > 50


def test_a_corrected_turn_leaves_nothing_in_the_cache(engine, learner):
    learner.teach(FACT)
    session = engine.session(sampling=SHORT)
    before = len(engine.text.prompt_ids([Message("user", FACT.prompt)]))
    session.say(FACT.prompt)
    assert session.cached_tokens == before - 1
    bare = engine.model.new_cache()
    engine.model.forward(torch.tensor([session._held[0].ids]), bare)
    kept = session._held[0].cache.keys_and_values.layers[-1].keys
    assert torch.equal(kept, bare.keys_and_values.layers[-1].keys[:, :, : kept.shape[2]])


def test_teaching_and_forgetting_take_effect_at_the_next_question(engine, learner):
    session = engine.session(sampling=SHORT)
    first = session.say(FACT.prompt).text
    lesson = learner.teach(FACT).lesson
    assert session.say(FACT.prompt).text == FACT.answer
    learner.forget(lesson.id)
    wanted = anew(engine, session, FACT.prompt).text
    assert session.say(FACT.prompt).text == wanted
    assert first != FACT.answer


def test_sessions_decoded_together_equal_sessions_alone(engine, learner):
    learner.teach(FACT)
    alone = [engine.session(sampling=SHORT) for _ in TURNS]
    together = [engine.session(sampling=SHORT) for _ in TURNS]
    for round_ in range(3):
        said = [TURNS[(n + round_) % len(TURNS)] for n in range(len(TURNS))]
        wanted = [s.say(text).text for s, text in zip(alone, said, strict=True)]
        got = engine.say_many(list(zip(together, said, strict=True)))
        assert [a.text for a in got] == wanted
        assert [s.cached_tokens for s in together] == [s.cached_tokens for s in alone]


def test_one_session_cannot_be_asked_twice_at_once(engine):
    session = engine.session(sampling=SHORT)
    with pytest.raises(ConversationError, match="twice"):
        engine.say_many([(session, "a"), (session, "b")])
    stream = session.stream("Hi")
    with pytest.raises(ConversationError, match="still running"):
        session.say("Hello?")
    stream.close()
    assert session.say("Hello?").text


def test_undo_takes_back_the_last_turn(engine):
    session = engine.session(sampling=SHORT)
    assert not session.undo()
    first = session.say("Hi").text
    session.say("More")
    assert session.undo()
    assert [m.content for m in session.messages] == ["Hi", first]
    assert session.say("More").text == session.messages[-1].content


def test_an_exception_in_the_middle_of_a_step_spoils_only_the_cache(engine, monkeypatch):
    session = engine.session(sampling=SHORT)
    session.say("Hi")
    stream = session.stream("More")
    next(stream)
    forward = type(engine.model).forward

    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(engine.model), "forward", broken)
    with pytest.raises(KeyboardInterrupt):
        list(stream)
    monkeypatch.setattr(type(engine.model), "forward", forward)
    stream.close()
    assert session.cached_tokens == 0
    wanted = anew(engine, session, "Again?")
    assert session.say("Again?").text == wanted.text


def test_turns_are_kept_with_their_receipts(engine, learner):
    lesson = learner.teach(FACT).lesson
    session = engine.session(sampling=SHORT)
    session.say("Hi")
    session.say(FACT.prompt)
    kept = engine.memory.store.turns(session.id)
    assert [t.prompt for t in kept] == ["Hi", FACT.prompt]
    assert kept[1].receipt.spoke.lesson_id == lesson.id
    assert kept[1].id == session.last_turn


def test_a_conversation_that_is_too_long_says_so_and_goes_on(engine):
    session = engine.session(sampling=SHORT)
    session.say("Hi")
    with pytest.raises(ConversationError, match="tokens"):
        session.say("x" * 10_000)
    assert len(session.messages) == 2
    assert session.say("Still there?").text


def test_an_interrupted_turn_did_not_happen(engine, monkeypatch):
    one, two = engine.session(sampling=SHORT), engine.session(sampling=SHORT)
    one.say("Hi")
    with pytest.raises(ConversationError, match="tokens"):
        engine.say_many([(one, "More"), (two, "x" * 10_000)])
    forward = type(engine.model).forward
    calls = []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return forward(*args)

    monkeypatch.setattr(type(engine.model), "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one.say("More")
    monkeypatch.setattr(type(engine.model), "forward", forward)
    assert len(one.messages) == 2
    wanted = anew(engine, one, "More")
    assert one.say("More").text == wanted.text


def test_a_running_answer_cannot_be_undone(engine):
    session = engine.session(sampling=SHORT)
    session.say("Hi")
    stream = session.stream("More")
    with pytest.raises(ConversationError, match="still running"):
        session.undo()
    stream.close()
    assert session.undo()


def test_a_turn_that_cannot_be_kept_is_answered_all_the_same(engine, monkeypatch, caplog):
    def full(_self, _turn):
        raise StoreFullError("There is no room.")

    monkeypatch.setattr(type(engine.memory.store), "add_turn", full)
    session = engine.session(sampling=SHORT)
    assert session.say("Hi").text
    assert session.last_turn == ""
    assert "not kept: There is no room." in caplog.text


def test_forgetting_takes_the_later_turns_of_the_conversation_along(engine, learner):
    lesson = learner.teach(FACT).lesson
    session, other = engine.session(sampling=SHORT), engine.session(sampling=SHORT)
    for text in ("Hi", FACT.prompt, "Say that again"):
        session.say(text)
    other.say("Hello")
    assert learner.forget(lesson.id).turns == 2
    assert [t.prompt for t in engine.memory.store.turns(session.id)] == ["Hi"]
    assert len(engine.memory.store.turns(other.id)) == 1
