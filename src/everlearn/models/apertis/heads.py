"""Heads that predict further ahead than the next token."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers.cache_utils import Cache

from everlearn.models.apertis.configuration import ApertisConfig
from everlearn.models.apertis.layer import ApertisDecoderLayer, Surroundings
from everlearn.models.apertis.norm import RMSNorm


class ApertisAheadHead(nn.Module):
    """Takes what is known at a place and the token after it, and says what is known one place further.

    Head k reads the hidden states of head k-1 (the decoder's for k = 1) at place t together with token t + k; the
    language model's own output layer then predicts token t + k + 1.

    Source: DeepSeek-AI 2024, DeepSeek-V3, section 2.2.
    """

    def __init__(self, config: ApertisConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.rms_norm_eps
        self.hnorm, self.enorm = RMSNorm(width, eps), RMSNorm(width, eps)
        self.eh_proj = nn.Linear(2 * width, width, bias=False)
        self.layer = ApertisDecoderLayer(config, 0, "full", "dense")  # the only layer of a cache of its own
        self.norm = RMSNorm(width, eps)

    def forward(
        self, hidden_states: Tensor, embeds: Tensor, surroundings: Surroundings, cache: Cache | None = None
    ) -> Tensor:
        """Returns the hidden states [B, T, D] one place further.

        Args:
            hidden_states: [B, T, D], at each place.
            embeds: [B, T, D], of the token that comes next.
            surroundings: of these places.
            cache: keys and values of this head alone; grows.
        """
        joined = self.eh_proj(torch.cat((self.hnorm(hidden_states), self.enorm(embeds)), dim=-1))
        left: Tensor = self.norm(self.layer(joined, surroundings=surroundings, past_key_values=cache))
        return left


def ahead_loss(logits: Tensor, labels: Tensor, ahead: int) -> Tensor:
    """Mean cross-entropy of logits [B, T', V] at the first T' places with the token `ahead` places further; 0 for none.

    Args:
        logits: of the places 0 .. T' - 1.
        labels: [B, T] long, the tokens themselves; -100 where nothing is to be learned.
        ahead: 1 would be the next token.
    """
    wanted = labels[:, ahead : ahead + logits.shape[1]]
    total = F.cross_entropy(logits[:, : wanted.shape[1]].flatten(0, 1).float(), wanted.flatten(), reduction="sum")
    return total / (wanted != -100).sum().clamp(min=1)
