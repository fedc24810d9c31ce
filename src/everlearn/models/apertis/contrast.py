"""A joint space: images and texts as unit vectors that are near where they mean the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import initialization as init
from transformers.utils import ModelOutput

from everlearn.models.apertis.configuration import ApertisConfig
from everlearn.models.apertis.modeling import ApertisModel, ApertisPreTrainedModel

_FIRST_SCALE = math.log(1 / 0.07)  # CLIP's first temperature


@dataclass
class Contrasted(ModelOutput):
    """Two sides of pairs in the joint space.

    Attributes:
        loss: symmetric cross-entropy over the pairs.
        first: [B, D], unit length.
        second: [B, D], unit length.
    """

    loss: Tensor | None = None
    first: Tensor | None = None
    second: Tensor | None = None


class ApertisForContrast(ApertisPreTrainedModel):
    """One encoder for images, texts and mixtures of both: the decoder's blocks, mean over the tokens, a projection.

    Source: Radford et al. 2021, CLIP (loss); the encoder is shared instead of one for each side.
    """

    def __init__(self, config: ApertisConfig) -> None:
        super().__init__(config)
        self.model = ApertisModel(config)
        self.projection = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.scale = nn.Parameter(torch.empty(()))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            init.constant_(self.scale, _FIRST_SCALE)

    def embed(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Returns [B, D], unit length, of what the processor made: images, texts, or both in one sequence."""
        hidden = self.model(**inputs, use_cache=False).last_hidden_state
        mask = inputs.get("attention_mask", torch.ones(hidden.shape[:2], device=hidden.device))[..., None]
        mean = (hidden * mask).sum(1) / mask.sum(1)
        return F.normalize(self.projection(mean), dim=-1)

    def forward(self, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> Contrasted:
        """Compares pairs: row n of the one side belongs to row n of the other, and to no other row."""
        one, two = self.embed(first), self.embed(second)
        return Contrasted(contrastive_loss(one, two, self.scale), one, two)


def contrastive_loss(first: Tensor, second: Tensor, scale: Tensor) -> Tensor:
    """Returns the symmetric cross-entropy of [B, D] with [B, D]; scale is the logarithm of the inverse temperature."""
    scores = first @ second.T * scale.exp().clamp(max=100)
    right = torch.arange(len(first), device=first.device)
    return (F.cross_entropy(scores, right) + F.cross_entropy(scores.T, right)) / 2
