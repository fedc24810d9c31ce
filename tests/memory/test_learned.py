"""Values by gradient: better than where they start, in the coordinates they may use, and the weights stay frozen."""

import pytest
import torch

from everlearn.engine.decode import forward, prefill
from everlearn.memory.cursor import Cursor
from everlearn.memory.difference import difference
from everlearn.memory.learned import learned
from everlearn.records import Lesson, Message, TableSettings
from toys import FAMILIES, toy_engine, toy_learner, toy_parts

EACH, ONCE = TableSettings(values="learned"), TableSettings(values="learned-at-prompt")
QUESTION, ANSWER = "Who bakes at Zorblat?", "Mirela"


def surprise(parts, made) -> float:
    """Mean cross-entropy of the answer's tokens, decoded step by step as an answer is, output correction off."""
    cursor, cache = Cursor("x", made, 1.0, output=False), parts.model.new_cache()
    logits = prefill(parts.model, parts.text.prompt_ids([Message("user", QUESTION)]), cache, cursor)
    spent = []
    for token in made.tokens:
        spent.append(-logits.log_softmax(0)[token].item())
        cursor.advance(token)
        logits = forward(parts.model, torch.tensor([[token]]), cache, [cursor])[0]
    return sum(spent) / len(spent)


@pytest.mark.parametrize("family", FAMILIES)
def test_learning_makes_the_answer_likelier_than_the_difference_does(family):
    parts = toy_parts(family)
    start = surprise(parts, difference(parts.model, parts.text, QUESTION, ANSWER, TableSettings()))
    made = learned(parts.model, parts.text, QUESTION, ANSWER, EACH)
    assert surprise(parts, made) < start
    assert made.blocks[3].shape == (len(made.tokens), 32)


def test_at_the_prompt_only_one_vector_is_learned_and_kept():
    parts = toy_parts()
    few, many = (learned(parts.model, parts.text, QUESTION, ANSWER, ONCE, steps) for steps in (1, 30))
    assert many.blocks[3].shape == (1, 32)
    assert surprise(parts, many) < surprise(parts, few)


def test_a_sparse_value_learns_in_the_coordinates_that_it_keeps():
    parts = toy_parts()
    start = difference(parts.model, parts.text, QUESTION, ANSWER, TableSettings(sparsity=0.25))
    made = learned(parts.model, parts.text, QUESTION, ANSWER, TableSettings(sparsity=0.25, values="learned"))
    assert ((made.blocks[3] != 0) <= (start.blocks[3] != 0)).all()
    assert not torch.equal(made.blocks[3], start.blocks[3])


def test_learning_again_gives_the_same_bits_and_leaves_the_model_as_it_was():
    parts = toy_parts()
    before = {name: p.clone() for name, p in parts.model.module.named_parameters()}
    first, again = (learned(parts.model, parts.text, QUESTION, ANSWER, EACH).blocks[3] for _ in range(2))
    assert torch.equal(first, again)
    assert all(torch.equal(before[name], p) for name, p in parts.model.module.named_parameters())
    assert all(p.grad is None and not p.requires_grad for p in parts.model.module.parameters())
    assert not any(b._forward_hooks for b in parts.model.blocks)


def test_without_blocks_there_is_nothing_to_learn():
    parts = toy_parts()
    assert learned(parts.model, parts.text, QUESTION, ANSWER, TableSettings(sparsity=0, values="learned")).blocks == {}


@pytest.mark.parametrize("values", ["learned", "learned-at-prompt"])
def test_a_table_with_learned_values_answers_forgets_and_is_the_bare_model_again(values):
    engine = toy_engine()
    learner = toy_learner(engine)
    bare = engine.logits(QUESTION, steps=4)
    learner.put_table("default", TableSettings(values=values))
    lesson = learner.teach(Lesson(QUESTION, ANSWER)).lesson
    assert engine.answer(QUESTION).text == ANSWER
    kept = engine.memory.corrections
    assert kept.missing([lesson.id], TableSettings(values=values)) == []
    assert kept.missing([lesson.id], TableSettings()) == [lesson.id]  # each way of making values has its own name
    learner.forget(lesson.id)
    assert torch.equal(engine.logits(QUESTION, steps=4), bare)
