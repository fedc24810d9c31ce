"""The batcher against answers asked alone, and what may go wrong in it."""

from __future__ import annotations

import threading
import time

import pytest

from everlearn.engine.batcher import Batcher
from everlearn.engine.ticket import Piece
from everlearn.errors import (
    AdapterNotFoundError,
    ConversationError,
    DeadlineError,
    FaultError,
    OverloadedError,
    SettingsError,
)
from everlearn.models.base import BaseModel
from everlearn.records import Answer, Lesson, Sampling
from toys import FAMILIES, toy_engine, toy_learner, toy_parts

FACT = Lesson("Who bakes at Zorblat?", "Mirela Quandt")
PROMPTS = ["Hi", FACT.prompt, "Why is the sky blue over the old harbour? " * 4, "1+1", "Name a bird.", "And why?"]
SHORT = Sampling(max_new_tokens=16)
LONG = Sampling(max_new_tokens=3000)


@pytest.fixture
def batcher(engine):
    made = Batcher(engine.model, max_rows=4, prefill_tokens=32)
    yield made
    made.close()


def held(monkeypatch):
    """The model stops before its next forward until the returned event is set."""
    gate, inside = threading.Event(), threading.Event()
    forward = BaseModel.forward

    def waiting(*args):
        inside.set()
        assert gate.wait(60)
        return forward(*args)

    monkeypatch.setattr(BaseModel, "forward", waiting)
    return gate, inside


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_together_are_answers_alone(family):
    engine = toy_engine(family)
    toy_learner(engine).teach(FACT)
    sampled = Sampling(max_new_tokens=16, temperature=0.8, seed=5, presence_penalty=0.5, frequency_penalty=0.3)
    batcher = Batcher(engine.model, max_rows=3, prefill_tokens=20)
    try:
        for sampling in (SHORT, sampled):
            alone = [engine.answer(p, sampling=sampling) for p in PROMPTS]
            for _ in range(2):  # the second time with kept caches
                tickets = [batcher.submit(engine, p, sampling=sampling) for p in PROMPTS]
                answers = [t.answer() for t in tickets]
                assert [a.text for a in answers] == [a.text for a in alone]
                assert [a.finish_reason for a in answers] == [a.finish_reason for a in alone]
                assert [a.usage.completion_tokens for a in answers] == [a.usage.completion_tokens for a in alone]
                for ticket, answer in zip(tickets, answers, strict=True):
                    assert "".join(p.text for p in ticket.pieces()) == answer.text
            assert answers[1].text == FACT.answer
            assert answers[1].receipt.spoke is not None
            assert answers[2].usage.cached_tokens > 100
    finally:
        batcher.close()


def test_a_row_that_joins_midway_and_one_that_stays_are_as_alone(engine, batcher):
    alone = engine.answer("Tell me", sampling=Sampling(max_new_tokens=300))
    long = batcher.submit(engine, "Tell me", sampling=Sampling(max_new_tokens=300))
    next(long.pieces())
    for prompt in PROMPTS:  # joins while the long one runs, a longer prompt than it too, and leaves before it
        assert (
            batcher.submit(engine, prompt, sampling=SHORT).answer().text == engine.answer(prompt, sampling=SHORT).text
        )
    assert long.answer().text == alone.text


def test_several_engines_share_one_batch_and_nothing_else(parts):
    one, two = toy_engine(parts=parts), toy_engine(parts=parts)
    toy_learner(one).teach(FACT)
    toy_learner(two).teach(Lesson(FACT.prompt, "Nobody at all"))
    batcher = Batcher(parts.model)
    tickets = [batcher.submit(e, FACT.prompt, tenant=str(n)) for n, e in enumerate((one, two) * 3)]
    assert [t.answer().text for t in tickets] == [FACT.answer, "Nobody at all"] * 3
    batcher.close()


def test_a_listener_hears_every_piece_and_then_the_answer(engine, batcher, monkeypatch):
    heard, done = [], threading.Event()

    def hear(said):
        heard.append(said)
        if isinstance(said, Answer):
            done.set()

    def broken(_said):
        raise RuntimeError("not my day")

    gate, _ = held(monkeypatch)
    ticket = batcher.submit(engine, "Hi", sampling=SHORT)
    ticket.listen(broken)
    ticket.listen(hear)
    gate.set()
    assert done.wait(60)
    assert all(isinstance(s, Piece) for s in heard[:-1])
    assert heard[-1] is ticket.answer()
    again = []
    ticket.listen(again.append)
    assert again == heard


def test_cancelling_frees_the_place_while_waiting_reading_and_running(engine, batcher, monkeypatch):
    running = [batcher.submit(engine, f"Tell me {n}", sampling=LONG) for n in range(4)]
    begun = [next(t.pieces()).text for t in running]
    waiting = batcher.submit(engine, "Hi", sampling=SHORT)
    waiting.cancel()
    assert waiting.answer().text == ""
    assert waiting.answer().finish_reason == "cancelled"
    behind = batcher.submit(engine, "Hi", sampling=SHORT)
    assert not behind.done
    running[0].cancel()
    assert behind.answer().text == engine.answer("Hi", sampling=SHORT).text
    for ticket, piece in zip(running, begun, strict=True):
        ticket.cancel()
        answer = ticket.answer()
        assert answer.finish_reason == "cancelled"
        assert answer.text.startswith(piece)
        assert "".join(p.text for p in ticket.pieces()) == answer.text
    gate, inside = held(monkeypatch)
    reading = batcher.submit(engine, "Long ago " * 20, sampling=SHORT)
    assert inside.wait(60)
    reading.cancel()
    gate.set()
    assert reading.answer().text == ""
    assert batcher.load().running == 0


def test_a_deadline_ends_an_answer_wherever_it_is(engine, batcher):
    tickets = [batcher.submit(engine, f"Tell me {n}", sampling=LONG, deadline=0.4) for n in range(6)]
    for ticket in tickets:
        with pytest.raises(DeadlineError, match="not there after"):
            ticket.answer()
    assert batcher.submit(engine, "Hi", sampling=SHORT, deadline=600).answer().text
    assert batcher.load().counts["deadline"] == 6


def test_who_comes_to_a_full_queue_is_told_when_to_come_back(engine):
    batcher = Batcher(engine.model, max_rows=1, max_waiting=2)
    first = batcher.submit(engine, "Tell me", sampling=LONG)
    next(first.pieces())
    waiting = [batcher.submit(engine, "Hi", sampling=SHORT) for _ in range(2)]
    with pytest.raises(OverloadedError) as raised:
        batcher.submit(engine, "Hi")
    assert 1 <= raised.value.retry_after <= 60
    other = batcher.submit(engine, "Hi", sampling=SHORT, tenant="other")  # has a queue of its own
    first.cancel()
    assert len({t.answer().text for t in [*waiting, other]}) == 1
    batcher.close()
    with pytest.raises(OverloadedError, match="shutting down"):
        batcher.submit(engine, "Hi")


def test_a_tenant_with_many_requests_does_not_hold_up_another(engine):
    batcher = Batcher(engine.model, max_rows=1)
    order = []
    first = batcher.submit(engine, "Tell me", sampling=LONG, tenant="many")
    next(first.pieces())
    many = [batcher.submit(engine, f"Hi {n}", sampling=SHORT, tenant="many") for n in range(20)]
    few = [batcher.submit(engine, f"Hi {n}", sampling=SHORT, tenant="few") for n in range(2)]
    for ticket in (*many, *few):
        ticket.listen(lambda said, t=ticket: order.append(t.tenant) if isinstance(said, Answer) else None)
    first.cancel()
    for ticket in (*many, *few):
        ticket.answer()
    assert order[:4].count("few") == 2
    batcher.close()


def test_a_request_that_cannot_be_answered_hurts_nobody_else(engine, batcher):
    good = [batcher.submit(engine, p, sampling=SHORT) for p in PROMPTS]
    long = batcher.submit(engine, "x" * 10_000, sampling=SHORT)
    nobody = batcher.submit(engine, "Hi", adapter="nobody")
    with pytest.raises(ConversationError, match="tokens"):
        long.answer()
    with pytest.raises(AdapterNotFoundError):
        nobody.answer()
    with pytest.raises(ConversationError):
        batcher.submit(engine, [])
    with pytest.raises(SettingsError, match="temperature"):
        batcher.submit(engine, "Hi", sampling=Sampling(temperature=-1))
    with pytest.raises(SettingsError, match="deadline"):
        batcher.submit(engine, "Hi", deadline=-1)
    with pytest.raises(SettingsError, match="another base model"):
        batcher.submit(toy_engine(parts=toy_parts("gpt2")), "Hi")
    assert [t.answer().text for t in good] == [engine.answer(p, sampling=SHORT).text for p in PROMPTS]


def test_a_fault_of_a_step_ends_the_answers_in_it_and_nothing_more(engine, batcher, monkeypatch):
    running = [batcher.submit(engine, f"Tell me {n}", sampling=LONG) for n in range(2)]
    for ticket in running:
        next(ticket.pieces())
    forward, failed = BaseModel.forward, []

    def broken(self, ids, cache):
        if ids.shape[0] == 2 and not failed:
            failed.append(True)
            raise RuntimeError("the machine is on fire")
        return forward(self, ids, cache)

    monkeypatch.setattr(BaseModel, "forward", broken)
    for ticket in running:
        with pytest.raises(FaultError, match="on fire"):
            ticket.answer()
    tickets = [batcher.submit(engine, p, sampling=SHORT) for p in PROMPTS]
    assert [t.answer().text for t in tickets] == [engine.answer(p, sampling=SHORT).text for p in PROMPTS]


def test_closing_ends_everything_as_cancelled(engine):
    batcher = Batcher(engine.model, max_rows=2)
    tickets = [batcher.submit(engine, f"Tell me {n}", sampling=LONG) for n in range(6)]
    next(tickets[0].pieces())
    batcher.close()
    assert {t.answer().finish_reason for t in tickets} == {"cancelled"}
    batcher.close()


def test_load_counts(engine, batcher):
    for prompt in PROMPTS:
        batcher.submit(engine, prompt, sampling=SHORT).answer()
    batcher.submit(engine, PROMPTS[2], sampling=SHORT).answer()
    limit = time.monotonic() + 60
    while (load := batcher.load()).running and time.monotonic() < limit:
        time.sleep(0.001)
    assert (load.running, load.reading, load.waiting, load.cache_tokens) == (0, 0, 0, 0)
    assert load.counts["cached_tokens"] > 100
    assert load.counts.get("length", 0) + load.counts.get("stop", 0) == len(PROMPTS) + 1
    assert load.kept_tokens > 0
    assert load.kept_bytes > 0
    batcher.drop_kept("local")
    assert batcher.load().kept_bytes == 0


def test_impossible_settings_are_refused(engine):
    for bad in ({"max_rows": 0}, {"max_waiting": 0}, {"prefill_tokens": True}, {"kept_bytes": -1}):
        with pytest.raises(SettingsError, match=next(iter(bad))):
            Batcher(engine.model, **bad)
