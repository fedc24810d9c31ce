"""Decoding several tokens a pass: the heads that look ahead propose, one pass of the model tells what was right.

What comes out is what plain greedy decoding gives; only the number of passes differs.

Source: Leviathan et al. 2023, Fast Inference from Transformers via Speculative Decoding; heads as in DeepSeek-V3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache

from everlearn.errors import ConversationError, SettingsError
from everlearn.models.apertis.modeling import ApertisForCausalLM
from everlearn.models.apertis.states import StateLayer


@dataclass(frozen=True, slots=True)
class Speculated:
    """A continuation and how it came about.

    Attributes:
        ids: the new tokens.
        passes: of the model over proposals; the first pass reads the prompt and is not counted.
        proposed: tokens that the heads proposed.
        accepted: how many of them the model would have chosen.
        reread: tokens read a second time, since a state cannot be cut back.
    """

    ids: list[int]
    passes: int
    proposed: int
    accepted: int
    reread: int

    @property
    def acceptance(self) -> float:
        """Share of the proposals that were right; nan where none was made."""
        return self.accepted / self.proposed if self.proposed else float("nan")


@torch.inference_mode()
def generate_ahead(model: ApertisForCausalLM, ids: Tensor, max_new_tokens: int, stop: Sequence[int] = ()) -> Speculated:
    """Continues a text greedily, with proposals of the model's own heads.

    Args:
        model: with mtp_depth of at least 1.
        ids: [1, T] long, the text.
        max_new_tokens: how many tokens at most.
        stop: ids that end it; the one that does is the last of the result.

    Raises:
        SettingsError: the model has no heads that look ahead.
        ConversationError: not one row with at least one token.
    """
    if not model.ahead:
        raise SettingsError("This model has no heads that look ahead.", hint="Train one with mtp_depth of at least 1.")
    if ids.ndim != 2 or ids.shape[0] != 1 or ids.shape[1] < 1:
        raise ConversationError(f"ids are {tuple(ids.shape)}.", hint="One row of at least one token: [1, T].")
    cache = DynamicCache(config=model.config)
    hidden = _read(model, ids[0].tolist(), cache)
    text = [*ids[0].tolist(), _best(model, hidden)[-1]]
    drafter = _Drafter(model)
    passes = proposed = accepted = reread = 0
    most = ids.shape[1] + max_new_tokens
    while len(text) < most and text[-1] not in stop:
        drafts = drafter.draft(hidden, text)[: most - len(text)]
        before = [layer.saved() if isinstance(layer, StateLayer) else None for layer in cache.layers]
        hidden = _read(model, [text[-1], *drafts], cache)
        chosen = _best(model, hidden)
        right = next((n for n, draft in enumerate(drafts) if draft != chosen[n]), len(drafts))
        passes, proposed, accepted = passes + 1, proposed + len(drafts), accepted + right
        if right < len(drafts):
            reread += _take_back(model, cache, before, [text[-1], *drafts], right + 1)
        hidden = hidden[:, : right + 1]
        text += _until(stop, chosen[: right + 1])
    return Speculated(text[ids.shape[1] : most], passes, proposed, accepted, reread)


class _Drafter:
    """The heads with their caches; head k reads a place together with the token k further."""

    def __init__(self, model: ApertisForCausalLM) -> None:
        self._model = model
        self._caches = [DynamicCache() for _ in model.ahead]
        # Head k goes on one place before those that head k - 1 reads anew, so it needs that one's hidden state again.
        nothing = torch.empty(1, 0, model.config.hidden_size, dtype=model.dtype, device=model.device)
        self._held = [nothing for _ in model.ahead]

    def draft(self, hidden: Tensor, text: Sequence[int]) -> list[int]:
        """Returns one proposal of each head for what follows `text`.

        Args:
            hidden: [1, n, D] of the last places but one of the text that were not given before.
            text: all tokens, the last one not yet read by the model.
        """
        drafts: list[int] = []
        last = len(text) - 2  # place of the last hidden state
        below, unsure_below = hidden, 0
        for number, (head, cache) in enumerate(zip(self._model.ahead, self._caches, strict=True), start=1):
            below = torch.cat((self._held[number - 1], below), dim=1)
            known = [*text, *drafts]
            begin = last + 1 - below.shape[1]
            assert begin == cache.get_seq_length(), "a head and its cache disagree on the place"
            tokens = torch.tensor([known[begin + number : last + 1 + number]], device=hidden.device)
            embeds = self._model.model.embed_tokens(tokens)
            places = torch.arange(begin, last + 1, device=hidden.device)[None]
            around = self._model.model.surroundings(embeds, None, places, cache)
            above = head(below, embeds, around, cache)
            # The last number - 1 places rest on proposals: they are read again when the tokens are known.
            unsure = min(number - 1, above.shape[1])
            cache.crop(-unsure)
            count = below.shape[1]
            self._held[number - 1] = below[:, count - unsure : count - unsure_below]
            unsure_below = unsure
            drafts.append(_best(self._model, above)[-1])
            below = above
        return drafts


def _read(model: ApertisForCausalLM, tokens: Sequence[int], cache: Cache) -> Tensor:
    """Returns hidden states [1, n, D]."""
    ids = torch.tensor([tokens], device=model.device)
    hidden: Tensor = model.model(input_ids=ids, past_key_values=cache, use_cache=True).last_hidden_state
    return hidden


def _best(model: ApertisForCausalLM, hidden: Tensor) -> list[int]:
    """Returns the likeliest token at each place."""
    best: list[int] = model.lm_head(hidden)[0].argmax(-1).tolist()
    return best


def _take_back(
    model: ApertisForCausalLM, cache: Cache, before: Sequence[object], tokens: Sequence[int], kept: int
) -> int:
    """Makes the cache as if only the first `kept` of the tokens had been read; returns how many were read again."""
    states = [n for n, saved in enumerate(before) if saved is not None]
    for n, layer in enumerate(cache.layers):
        if n in states:
            layer.restore(before[n])
        else:
            layer.crop(-(len(tokens) if states else len(tokens) - kept))
    if states:
        _read(model, tokens[:kept], cache)
        return kept
    return 0


def _until(stop: Sequence[int], tokens: Sequence[int]) -> list[int]:
    end = next((n + 1 for n, token in enumerate(tokens) if token in stop), len(tokens))
    return list(tokens[:end])
