import pytest
import torch

from everlearn.errors import InputError
from everlearn.evaluation.edits import Edit
from everlearn.evaluation.questions import Question
from peers.codebook import Codebook
from peers.decoding import Decoder, Forced
from peers.editor import prompt_of
from peers.grace import Grace, GraceOptions, edited_layer, overruled

ZERO = torch.zeros(2)


def at(x, y=0.0):
    return torch.tensor([float(x), float(y)])


def codebook(*points, radius=1.0):
    made = Codebook(2, 2, radius)
    for number, point in enumerate(points):
        made.entry_for(at(point), (number,), ZERO)
    return made


def test_a_far_query_makes_a_new_key_with_the_first_radius():
    made = codebook(0, 5)
    assert len(made) == 2
    assert made.radii.tolist() == [1, 1]


def test_a_near_query_with_another_label_halves_both_radii():
    made = codebook(0)
    assert made.entry_for(at(0.6), (9,), ZERO) == 1
    assert made.radii.tolist() == pytest.approx([0.3 - 1e-5, 0.3])
    assert made.lookup(torch.stack([at(0.29), at(0.31)])) == [0, 1]


def test_a_near_query_with_the_same_label_grows_the_radius_and_no_key():
    made = codebook(0)
    assert made.entry_for(at(1.5), (0,), ZERO) == 0
    assert made.radii.tolist() == [1.5]
    assert made.entry_for(at(0.2), (0,), ZERO) == 0
    assert made.radii.tolist() == [1.5]


def test_labels_of_the_same_mean_are_not_the_same_label():
    made = Codebook(2, 2, 1.0)
    made.entry_for(at(0), (1, 3), ZERO)
    assert made.entry_for(at(0.5), (2, 2), ZERO) == 1


def test_the_label_of_the_nearest_key_decides_whatever_came_later():
    made = codebook(0, 10)
    assert made.entry_for(at(10.4), (1,), ZERO) == 1


def test_a_query_outside_of_every_radius_finds_nothing():
    assert codebook(0, 5).lookup(torch.stack([at(2.5), at(5.5)])) == [None, 1]
    assert codebook().lookup(torch.zeros(1, 2)) == [None]


@pytest.fixture
def grace(parts):
    # Not the last block: what is replaced there at the last prompt token reaches no later token.
    return Grace(parts.model, Decoder(parts.model.module, parts.text), GraceOptions(block=1, radius=0.05, steps=40))


EDITS = [Edit("Who runs the bakery?", "Al"), Edit("Where does the river end?", "Bo")]


def test_a_taught_edit_takes_hold_in_free_decoding_and_other_prompts_are_left_alone(grace):
    grace.teach(EDITS)
    asked = [Question("taught", n, e.prompt, e.target) for n, e in enumerate(EDITS)]
    other = Question("locality", 0, "Something else altogether", "x")
    assert grace.touches([*asked, other]) == [True, True, False]
    given = grace.free([*asked, other], 8)
    # One vector cannot make a random model of four blocks say a word to its end; it can make it begin.
    assert [g.text[0] for g in given[:2]] == ["A", "B"]
    wanted = [grace._decoder.text.answer_ids(e.target) for e in EDITS]
    assert [f.tokens[0] for f in grace.forced(asked)] == [ids[0] for ids in wanted]
    bare = grace._decoder.free([prompt_of(grace._decoder.text, other.text)], 8)
    assert given[2] == bare[0]


def test_what_the_model_says_already_is_not_edited(grace, monkeypatch):
    label = tuple(grace._decoder.text.answer_ids("Al"))
    monkeypatch.setattr(Decoder, "forced", lambda *_: [Forced(label, (0.0,) * len(label))])
    grace.teach(EDITS[:1])
    assert len(grace.codebook) == 0


def test_a_value_is_learned_once_for_all_draws_and_its_time_still_counts(grace, monkeypatch):
    (first,) = grace.teach(EDITS[:1])
    learned = grace.codebook.values.clone()
    grace.begin()
    monkeypatch.setattr(Grace, "_learned", lambda *_: pytest.fail("learned again"))
    (again,) = grace.teach(EDITS[:1])
    assert torch.equal(grace.codebook.values, learned)
    assert again > first / 2


def test_beginning_anew_forgets_everything(grace):
    grace.teach(EDITS[:1])
    grace.begin()
    assert not len(grace.codebook)
    assert grace.touches([Question("taught", 0, EDITS[0].prompt, "Al")]) == [False]


def test_computing_below_the_block_once_changes_no_logit_and_no_gradient(grace, parts):
    prompt, label = prompt_of(parts.text, EDITS[0].prompt), parts.text.answer_ids("Al")
    fast, slow = (torch.rand(parts.model.hidden_size).requires_grad_() for _ in range(2))
    slow.data = fast.data.clone()
    with grace.answering(prompt, label) as logits_with:
        first = logits_with(fast)
        first.sum().backward()
    with overruled(edited_layer(parts.model.blocks[grace.block]), [0], slow[None], len(prompt) - 1):
        ids = torch.tensor([[*prompt, *label[:-1]]])
        second = parts.model.module(input_ids=ids, use_cache=False).logits[0, -len(label) :].float()
    second.sum().backward()
    assert torch.allclose(first, second, atol=1e-5)
    assert torch.allclose(fast.grad, slow.grad, atol=1e-5)


def test_the_model_is_the_bare_one_again_after_teaching(grace, parts):
    before = parts.model.module(torch.tensor([[1, 2, 3]])).logits
    grace.teach(EDITS)
    assert torch.equal(parts.model.module(torch.tensor([[1, 2, 3]])).logits, before)
    assert not any(p.requires_grad for p in parts.model.module.parameters())


def test_a_block_without_a_known_layer_is_refused():
    with pytest.raises(InputError, match="Identity"):
        edited_layer(torch.nn.Identity())
