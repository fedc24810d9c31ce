"""Heads that look ahead: their loss while training, and decoding that proposes with them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from everlearn.errors import ConversationError, SettingsError
from everlearn.models.apertis.heads import ahead_loss
from everlearn.models.apertis.speculative import generate_ahead

from .conftest import module_of, some_ids

KINDS = {
    "full": ["full"] * 3,
    "block_sparse": ["block_sparse", "full", "block_sparse"],
    "latent": ["latent"] * 3,
    "linear": ["linear"] * 3,
    "hybrid": ["recurrent", "linear", "full"],
}


def test_the_loss_is_that_of_the_tokens_further_ahead():
    module = module_of("full", mtp_depth=2, mtp_loss_weight=0.5)
    ids = some_ids(2, 9)
    with torch.no_grad():
        plain = module(ids, labels=ids).loss
        module.train()
        both = module(ids, labels=ids, use_cache=False).loss
        hidden = module.model(ids, use_cache=False).last_hidden_state
        embeds = module.model.embed_tokens(ids)
        losses = []
        for number, head in enumerate(module.ahead, start=1):
            count = 9 - number
            around = module.model.surroundings(embeds[:, :count], None, torch.arange(count)[None], None)
            hidden = head(hidden[:, :count], embeds[:, number:], around)
            wanted = ids[:, number + 1 :]
            losses.append(F.cross_entropy(module.lm_head(hidden)[:, : wanted.shape[1]].flatten(0, 1), wanted.flatten()))
    torch.testing.assert_close(both, plain + 0.5 * torch.stack(losses).mean())


def test_what_is_not_to_be_learned_is_left_out():
    logits, ids = torch.randn(1, 7, 61), some_ids(1, 9)
    labels = ids.clone()
    labels[:, :6] = -100
    wanted = F.cross_entropy(logits[0, 4:7], ids[0, 6:9])
    torch.testing.assert_close(ahead_loss(logits, labels, 2), wanted)
    assert ahead_loss(logits, torch.full_like(labels, -100), 2) == 0
    short = module_of("full", mtp_depth=2).train()
    assert torch.isfinite(short(ids[:, :2], labels=ids[:, :2], use_cache=False).loss)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_it_says_what_plain_decoding_says(kind, depth):
    module = module_of("full", seed=depth, layer_types=KINDS[kind], mtp_depth=depth)
    for length in (1, 9):
        ids = some_ids(1, length, seed=length)
        plain = module.generate(ids, max_new_tokens=12, do_sample=False)[0, length:].tolist()
        said = generate_ahead(module, ids, 12)
        assert said.ids == plain
        assert 0 <= said.accepted <= said.proposed
        assert (said.reread > 0) == (kind in ("linear", "hybrid"))


def test_proposals_come_true_once_the_heads_have_learned():
    """A text that repeats itself is learned within seconds; then most proposals are right and passes are saved."""
    torch.manual_seed(0)
    module = module_of("full", mtp_depth=2, initializer_range=0.02, num_hidden_layers=1).train()
    period = torch.arange(7)
    ids = torch.stack([period.roll(n).repeat(6) for n in range(7)])
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        module(ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()
    module.eval()
    said = generate_ahead(module, ids[:1, :9], 30)
    assert said.ids == [(9 + n) % 7 for n in range(30)]
    assert said.acceptance > 0.9
    assert said.passes <= 12


@torch.no_grad()
def test_it_ends_at_a_stop_token_and_at_the_limit():
    module = module_of("full", mtp_depth=2)
    ids = some_ids(1, 5)
    plain = module.generate(ids, max_new_tokens=20, do_sample=False)[0, 5:].tolist()
    stop = plain[6]
    assert generate_ahead(module, ids, 20, [stop]).ids == plain[: plain.index(stop) + 1]
    for most in range(1, 6):
        assert generate_ahead(module, ids, most).ids == plain[:most]


@torch.no_grad()
def test_the_proposals_are_those_of_the_heads_without_a_cache(monkeypatch):
    """The heads' caches hold nothing of proposals that were wrong: each draft is one computed anew."""
    from everlearn.models.apertis import speculative

    module = module_of("full", mtp_depth=3)
    seen = []
    real = speculative._Drafter.draft

    def watched(self, hidden, text):
        drafts = real(self, hidden, text)
        seen.append((list(text), drafts))
        return drafts

    monkeypatch.setattr(speculative._Drafter, "draft", watched)
    generate_ahead(module, some_ids(1, 6), 12)
    for text, drafts in seen:
        hidden = module.model(torch.tensor([text[:-1]]), use_cache=False).last_hidden_state
        known = list(text)
        for number, head in enumerate(module.ahead, start=1):
            embeds = module.model.embed_tokens(torch.tensor([known[number:]]))
            around = module.model.surroundings(embeds, None, torch.arange(embeds.shape[1])[None], None)
            hidden = head(hidden, embeds, around)
            known.append(int(module.lm_head(hidden)[0, -1].argmax()))
        assert drafts == known[len(text) :]


def test_what_cannot_be_decoded_so_is_refused():
    with pytest.raises(SettingsError, match="no heads"):
        generate_ahead(module_of("full"), some_ids(1, 3), 5)
    with pytest.raises(ConversationError, match="One row"):
        generate_ahead(module_of("full", mtp_depth=1), some_ids(2, 3), 5)
