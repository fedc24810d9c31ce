"""The other editors: what they put into the prompt or the weights, and that they leave the base model as it was."""

import pytest
import torch

from everlearn.evaluation.edits import Edit
from everlearn.evaluation.questions import Question
from everlearn.wiring import load_settings
from peers.decoding import Decoder
from peers.editor import Bare, prompt_of
from peers.lora import Lora, LoraOptions
from peers.retrieval import Retrieval
from peers.table import Table

EDITS = [
    Edit("Who runs the Zorblat bakery?", "Al"),
    Edit("Where does the Quandt river end?", "Bo"),
    Edit("Which colour has the Mirela tower?", "Cy"),
]
ASKED = [Question("taught", n, e.prompt, e.target) for n, e in enumerate(EDITS)]
OTHER = Question("locality", 0, "Something else altogether", "x")


@pytest.fixture
def decoder(parts):
    return Decoder(parts.model.module, parts.text)


def test_retrieval_puts_the_nearest_facts_into_the_prompt(decoder, parts):
    editor = Retrieval(decoder, parts.keys, 2)
    assert len(editor.teach(EDITS)) == 3
    ((first, second),) = editor.nearest(["The Zorblat bakery, who runs it?"])
    assert first == EDITS[0]
    (ids,) = editor._prompts([Question("rephrase", 0, "The Zorblat bakery, who runs it?", "Al")])
    told = parts.text.decode(ids)
    assert f"- {first.prompt} {first.target}\n- {second.prompt} {second.target}" in told
    assert editor.touches([OTHER]) == [True]


def test_retrieval_without_facts_asks_the_bare_question(decoder, parts):
    editor = Retrieval(decoder, parts.keys, 1)
    assert editor.touches([OTHER]) == [False]
    assert editor.free([OTHER], 4) == Bare(decoder).free([OTHER], 4)


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # of PEFT
@pytest.mark.parametrize("each", [False, True])
def test_lora_learns_and_leaves_the_weights_as_they_were(decoder, parts, each):
    editor = Lora(parts.model, decoder, LoraOptions(each=each, rate=2e-2, rounds=60))
    before = {name: p.clone() for name, p in parts.model.module.named_parameters()}
    bare = editor.free([OTHER], 4)
    spent = editor.teach(EDITS[:2])
    assert len(spent) == 2
    assert editor.free(ASKED[1:2], 8)[0].text == "Bo"
    editor.close()
    assert editor.free([OTHER], 4) == bare
    after = dict(parts.model.module.named_parameters())
    assert set(after) == set(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not any(p.requires_grad for p in after.values())


def test_the_table_answers_what_it_was_taught_and_proves_that_it_leaves_the_rest(parts, tmp_path):
    editor = Table(parts, load_settings(home=tmp_path))
    try:
        assert len(editor.teach(EDITS)) == 3
        assert editor.touches([*ASKED, OTHER]) == [True, True, True, False]
        assert [g.text for g in editor.free(ASKED, 8)] == ["Al", "Bo", "Cy"]
        known = editor.forced(ASKED)
        editor._said.clear()
        computed = editor.forced(ASKED)
        assert [f.tokens for f in known] == [f.tokens for f in computed]
        assert known[0].tokens == tuple(parts.text.answer_ids("Al"))
        assert [bool(f.losses) for f in (known[0], computed[0])] == [False, True]
        assert editor.verified([OTHER]) == 1
        editor.begin()
        assert not any(editor.touches(ASKED))
    finally:
        editor.close()


def test_a_prompt_stands_behind_the_chat_template(parts):
    assert parts.text.decode(prompt_of(parts.text, "hm")).endswith("assistant\n")
