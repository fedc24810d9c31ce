"""What OpenAI's clients send besides: penalties, bias, probabilities, grammars."""

from __future__ import annotations

import json
import math
import re

import pytest
import torch

from everlearn.engine.batcher import Batcher
from everlearn.engine.grammar import Constraint
from everlearn.engine.penalties import Bias, Repeats
from everlearn.engine.sampling import checked
from everlearn.errors import SettingsError
from everlearn.records import Grammar, Lesson, Message, Sampling
from toys import EOS, VOCABULARY

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "maximum": 99}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
)
FACT = Lesson("Who bakes at Zorblat?", "Mirela Quandt")


def test_repeats_are_penalised_by_count_and_presence():
    repeats = Repeats(0.5, 0.25)
    logits = torch.zeros(4)
    assert repeats.penalised(logits) is logits
    for token in (1, 1, 2):
        repeats.count(token)
    assert repeats.penalised(logits).tolist() == [0.0, -1.0, -0.75, 0.0]


def test_bias_is_added_and_minus_100_forbids():
    logits = torch.zeros(4)
    assert Bias(()).added(logits) is logits
    assert Bias(((1, 2.0), (3, -100.0))).added(logits).tolist() == [0.0, 2.0, 0.0, -math.inf]
    everything = Bias(tuple((n, -100.0) for n in range(4)))
    assert everything.added(logits) is logits


def test_bias_changes_answers_and_comes_after_what_was_taught(engine, learner):
    learner.teach(FACT)
    a = engine.text.plain_ids("a")[0]
    assert engine.answer("Hi", sampling=Sampling(max_new_tokens=5, logit_bias={a: 100})).text == "aaaaa"
    m = engine.text.plain_ids("M")[0]
    banned = engine.answer(FACT.prompt, sampling=Sampling(max_new_tokens=8, logit_bias={m: -100}))
    assert "M" not in banned.text
    assert checked(Sampling(logit_bias={a: 100})).logit_bias == ((a, 100.0),)
    with pytest.raises(SettingsError, match="token 9999"):
        engine.answer("Hi", sampling=Sampling(logit_bias={9999: 1}))


@pytest.mark.parametrize(
    "bad",
    [
        {"presence_penalty": 2.5},
        {"frequency_penalty": "much"},
        {"logprobs": 21},
        {"logprobs": True},
        {"logit_bias": {-1: 3}},
        {"logit_bias": {1: 101}},
        {"logit_bias": {"a": 1}},
        {"logit_bias": 7},
        {"logit_bias": (3,)},
        {"grammar": "regex"},
        {"grammar": Grammar("poem")},
    ],
)
def test_impossible_wishes_are_refused(bad):
    with pytest.raises(SettingsError, match=next(iter(bad))):
        checked(Sampling(**bad))


def test_probabilities_are_those_of_the_model(engine):
    answer = engine.answer("Hi", sampling=Sampling(max_new_tokens=6, logprobs=3))
    logits = engine.logits("Hi", steps=6)
    assert len(answer.logprobs) == answer.usage.completion_tokens
    for step, told in enumerate(answer.logprobs):
        scores = torch.log_softmax(logits[step], -1)
        best = scores.topk(3)
        assert told.token.id == int(best.indices[0])
        assert [each.id for each in told.top] == best.indices.tolist()
        assert [each.logprob for each in told.top] == pytest.approx(best.values.tolist(), abs=1e-5)
        assert told.token.logprob == pytest.approx(float(best.values[0]), abs=1e-5)
    assert engine.answer("Hi", sampling=Sampling(max_new_tokens=2, logprobs=0)).logprobs[0].top == ()
    assert engine.answer("Hi", sampling=Sampling(max_new_tokens=2)).logprobs == ()


def test_pieces_tell_the_probabilities_of_all_tokens(engine):
    batcher = Batcher(engine.model)
    ticket = batcher.submit(engine, "Hi", sampling=Sampling(max_new_tokens=9, logprobs=2))
    told = [token for piece in ticket.pieces() for token in piece.tokens]
    assert told == list(ticket.answer().logprobs)
    assert len(told) == 9
    batcher.close()


@pytest.mark.parametrize("seed", range(3))
def test_answers_have_the_form_of_their_grammar(engine, seed):
    hot = {"temperature": 1.0, "seed": seed, "max_new_tokens": 200}
    wanted = engine.answer("Hi", sampling=Sampling(**hot, grammar=Grammar("json_schema", SCHEMA)))
    made = json.loads(wanted.text)
    assert set(made) == {"name", "age"}
    assert made["age"] <= 99
    assert (wanted.finish_reason, wanted.receipt.grammar) == ("stop", "json_schema")
    number = engine.answer("Hi", sampling=Sampling(**hot, grammar=Grammar("regex", "[0-9]{3}-(ab|cd)")))
    assert re.fullmatch("[0-9]{3}-(ab|cd)", number.text)
    assert number.finish_reason == "stop"
    thing = Constraint(Grammar("json_object"), engine.text, VOCABULARY)
    allowed = [t for t in range(VOCABULARY) if thing.allows(t)]
    assert engine.text.plain_ids("{")[0] in allowed
    assert engine.text.plain_ids("a")[0] not in allowed
    assert EOS not in allowed


def test_a_taught_answer_does_not_break_the_grammar_and_the_receipt_says_so(engine, learner):
    learner.teach(FACT)
    number = engine.answer(FACT.prompt, sampling=Sampling(grammar=Grammar("regex", "[0-9]{20}")))
    assert re.fullmatch("[0-9]{20}", number.text)
    assert number.receipt.spoke is not None
    assert number.receipt.steps_refused > 0
    inside = engine.answer(FACT.prompt, sampling=Sampling(grammar=Grammar("regex", '"[A-Za-z ]+"')))
    assert inside.text.startswith('"Mirela Quandt')
    free = engine.answer(FACT.prompt)
    assert (free.receipt.grammar, free.receipt.steps_refused) == ("", 0)


@pytest.mark.parametrize(
    "grammar",
    [Grammar("regex", "(unclosed"), Grammar("json_schema", "no json"), Grammar("json_schema", '{"type": "thing"}')],
)
def test_a_grammar_that_cannot_be_used_says_why(engine, grammar):
    with pytest.raises(SettingsError, match=f"grammar .{grammar.kind}. cannot be used: "):
        engine.answer("Hi", sampling=Sampling(grammar=grammar))


def test_wishes_of_one_row_do_not_touch_another(engine):
    batcher = Batcher(engine.model, max_rows=8)
    wishes = [
        Sampling(max_new_tokens=12),
        Sampling(max_new_tokens=60, temperature=1.0, seed=3, grammar=Grammar("json_schema", SCHEMA)),
        Sampling(max_new_tokens=12, temperature=0.9, seed=4, frequency_penalty=1.0),
        Sampling(max_new_tokens=12, logit_bias=((5, 100.0),)),
        Sampling(max_new_tokens=12, temperature=0.9, seed=4, logprobs=1),
    ]
    alone = [engine.answer([Message("user", "Hi")], sampling=s) for s in wishes]
    tickets = [batcher.submit(engine, "Hi", sampling=s) for s in wishes * 2]
    assert [t.answer().text for t in tickets] == [a.text for a in alone] * 2
    batcher.close()
