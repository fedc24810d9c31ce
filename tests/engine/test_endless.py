"""Conversations without an end: constant bytes, and a cache that still follows from the tokens alone."""

import pytest
import torch

from everlearn.engine.decode import prefill
from everlearn.errors import ConversationError, SettingsError
from everlearn.records import Lesson, Message, Sampling
from toys import FAMILIES, toy_engine, toy_learner

SHORT = Sampling(max_new_tokens=12)
FACT = Lesson("Who bakes at Zorblat?", "Mirela Quandt")
WINDOW = 160


def talk(engine, turns=12, **options):
    """A session, and the most bytes that its cache took at the end of each turn."""
    session = engine.session(context="unlimited", window=WINDOW, sampling=SHORT, **options)
    sizes = []
    for n in range(turns):
        session.say(FACT.prompt if n % 4 == 2 else f"Tell me about harbour number {n} and its boats.")
        sizes.append(session.cached_bytes)
    return session, sizes


def as_read_anew(engine, session):
    """The cache that reading the conversation's tokens at once gives."""
    held = session._held[0]
    cache = engine.model.new_cache(session.window)
    prefill(engine.model, held.ids, cache, None)
    return cache


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in ("gpt2", "apertis")])
def test_the_cache_follows_from_the_tokens_though_lessons_spoke_and_tokens_left(family):
    engine = toy_engine(family)
    toy_learner(engine).teach(FACT)
    session, _ = talk(engine)
    held, anew = session._held[0], as_read_anew(engine, session)
    assert held.cache.dropped[0] > WINDOW
    assert (held.cache.dropped, held.cache.lengths) == (anew.dropped, anew.lengths)
    for layer in range(engine.model.num_blocks):
        for got, wanted in zip(held.cache._pair(layer), anew._pair(layer), strict=True):
            assert torch.allclose(got, wanted, atol=2e-4)


def test_it_goes_on_where_a_full_conversation_ends(engine):
    short = engine.session(sampling=SHORT, system="x" * 3900)
    with pytest.raises(ConversationError, match="reads at most"):
        for n in range(9):
            short.say(f"What is number {n}?")
    session, sizes = talk(engine, 20)
    token = session._held[0].cache.nbytes // session.cached_tokens
    assert max(sizes) <= WINDOW * token
    assert session.cached_tokens <= WINDOW < len(session._held[0].ids)


def test_until_the_window_is_full_the_answers_are_those_of_a_full_conversation(engine, learner):
    learner.teach(FACT)
    full = engine.session(sampling=SHORT)
    endless = engine.session(sampling=SHORT, context="unlimited", window=2048)
    for text in ("Hi", FACT.prompt, "And the harbour?", FACT.prompt, "Bye"):
        assert endless.say(text).text == full.say(text).text
    assert endless._held[0].cache.dropped == [0]


def test_a_lesson_speaks_in_an_endless_conversation_and_leaves_it_again(engine, learner):
    session, _ = talk(engine, 8)
    lesson = learner.teach(FACT).lesson
    assert session.say(FACT.prompt, sampling=Sampling()).text == FACT.answer
    learner.forget(lesson.id)
    assert session.say("Bye").text
    assert torch.allclose(session._held[0].cache._pair(3)[0], as_read_anew(engine, session)._pair(3)[0], atol=2e-4), (
        "the lesson left something in the cache"
    )


def test_sessions_with_and_without_an_end_are_decoded_together(engine, learner):
    learner.teach(FACT)
    kinds = [{"context": "unlimited", "window": WINDOW}, {"context": "unlimited", "window": 96}, {}]
    alone = [engine.session(sampling=SHORT, **kind) for kind in kinds]
    together = [engine.session(sampling=SHORT, **kind) for kind in kinds]
    for n in range(6):
        text = FACT.prompt if n == 3 else f"Tell me of boat {n}."
        wanted = [session.say(text).text for session in alone]
        assert [a.text for a in engine.say_many([(s, text) for s in together])] == wanted
        assert [s.cached_tokens for s in together] == [s.cached_tokens for s in alone]


def test_an_interrupted_answer_costs_no_rereading(engine, monkeypatch):
    session, _ = talk(engine, 8)
    kept = session._held[-1].cache.read
    with monkeypatch.context() as patched:
        patched.setattr(engine.model, "forward", broken_after(engine.model.forward, 5))
        with pytest.raises(KeyboardInterrupt):
            session.say("And now?")
    assert len(session.messages) == 16
    assert session.say("Go on.").usage.cached_tokens > kept - WINDOW // 8


def broken_after(forward, calls):
    left = iter(range(calls))

    def broken(*args):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return forward(*args)

    return broken


def test_undo_goes_back_to_the_cache_before_the_turn(engine):
    session, _ = talk(engine, 8)
    cached = session.say("And now?").usage.cached_tokens
    assert session.undo()
    assert session.say("And then?").usage.cached_tokens >= cached


def test_turns_that_left_are_named_once_and_in_order(engine):
    session, _ = talk(engine, 12)
    gone = session.departed()
    asked = [m for m in session.messages if m.role == "user"]
    assert [question for question, _ in gone] == asked[: len(gone)]
    assert 0 < len(gone) < 12
    assert session.departed() == []
    left = len(engine.text.prompt_ids(session.messages[: 2 * len(gone) - 2 or 1]))
    assert left < session._held[0].cache.dropped[0] + session.window.sinks + 40


def test_a_message_longer_than_the_window_is_read(engine):
    session = engine.session(context="unlimited", window=WINDOW, sampling=SHORT)
    answer = session.say("word " * 400)
    assert answer.usage.prompt_tokens > 2000
    assert session.cached_tokens <= WINDOW


def test_the_engine_says_what_sessions_are_by_default(parts):
    engine = toy_engine(parts=parts)
    assert engine.session().window is None
    engine.context, engine.window = "unlimited", 200
    assert engine.session().window.capacity == 200
    assert engine.session(context="full").window is None
    with pytest.raises(SettingsError, match="wanted full or unlimited"):
        engine.session(context="endless")


def test_a_single_answer_still_has_to_fit(engine):
    with pytest.raises(ConversationError):
        engine.answer([Message("user", "word " * 2000)])
