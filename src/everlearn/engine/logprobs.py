"""Log probabilities of generated tokens, for clients that ask for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from everlearn.records import Likely, TokenLogprob


def told(logits: Tensor, token: int, count: int, decode: Callable[[Sequence[int]], str]) -> TokenLogprob:
    """The chosen token's log probability, and the likeliest tokens'.

    Args:
        logits: [V] float32 that the token was chosen from, before temperature and filters.
        token: the chosen one.
        count: how many of the likeliest to tell; impossible ones are left out.
        decode: tokens -> text, special tokens included.
    """
    scores = torch.log_softmax(logits, -1)

    def likely(each: int) -> Likely:
        return Likely(each, decode([each]), float(scores[each]))

    best = scores.topk(min(count, len(scores))) if count else None
    ids = [int(i) for v, i in zip(*best, strict=True) if v > -torch.inf] if best is not None else []
    return TokenLogprob(likely(token), tuple(likely(each) for each in ids))
