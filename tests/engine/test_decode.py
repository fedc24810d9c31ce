"""The decode path: no hook where nothing speaks, so that the bits are the bare model's."""

import pytest
import torch

from everlearn.engine.row import corrected_logits
from everlearn.memory.correction import Correction
from everlearn.memory.cursor import Cursor
from everlearn.records import Lesson, Sampling, TableSettings
from toys import toy_engine, toy_learner

QUESTION, ANSWER = "Who bakes at Zorblat?", "Mirela Quandt"


@pytest.fixture
def hung(monkeypatch):
    """Counts every hook that is hung into any module."""
    count = []
    hang = torch.nn.Module.register_forward_hook

    def counted(module, *args, **kwargs):
        count.append(module)
        return hang(module, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "register_forward_hook", counted)
    return count


@pytest.mark.parametrize("settings", [TableSettings(residual=0.0), TableSettings(threshold=1.0), TableSettings()])
def test_no_hook_and_the_bits_of_the_bare_model_where_nothing_speaks(hung, settings):
    engine = toy_engine()
    asked = QUESTION if settings != TableSettings() else "Penguins swim where?"
    asked = f"{asked} Tell me!" if settings.threshold == 1.0 else asked
    bare = engine.logits(asked, steps=6)
    learner = toy_learner(engine)
    learner.put_table("default", settings)
    learner.teach(Lesson(QUESTION, ANSWER))
    hung.clear()
    assert torch.equal(engine.logits(asked, steps=6), bare)
    assert engine.answer(asked, sampling=Sampling(max_new_tokens=6)).receipt.spoke is None
    assert hung == []


def test_a_table_of_outputs_only_hangs_no_hook_and_answers_exactly(hung):
    engine = toy_engine()
    learner = toy_learner(engine)
    learner.put_table("default", TableSettings(sparsity=0.0))
    learner.teach(Lesson(QUESTION, ANSWER))
    hung.clear()
    assert engine.answer(QUESTION).text == ANSWER
    assert hung == []


def test_hooks_are_hung_only_while_the_entry_speaks(hung):
    engine = toy_engine()
    learner = toy_learner(engine)
    learner.teach(Lesson(QUESTION, ANSWER))
    engine.answer(QUESTION)  # computes the correction
    hung.clear()
    answer = engine.answer(QUESTION)
    assert len(hung) == answer.usage.completion_tokens  # one block, once for each token of the answer


def test_with_the_output_off_only_blocks_are_corrected():
    engine = toy_engine()
    learner = toy_learner(engine)
    learner.put_table("default", TableSettings(output=False))
    learner.teach(Lesson(QUESTION, ANSWER))
    cursor = Cursor("x", Correction((5,), {1: torch.ones(1, 2)}), 1.0, output=False)
    logits = torch.randn(10)
    assert corrected_logits(logits, cursor) is logits
    assert engine.answer(QUESTION, sampling=Sampling(max_new_tokens=20)).receipt.spoke is not None
    quiet = engine.forced_logits(QUESTION, ANSWER)
    learner.put_table("default", TableSettings())
    loud = engine.forced_logits(QUESTION, ANSWER)
    changed = (quiet != loud).sum(1)
    assert (changed <= 1).all()  # the wanted token's logit and nothing else
    assert changed.sum() > 0
