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

from everlearn.models.apertis.capsules import CapsulePooling
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
    """One encoder for images, texts and mixtures of both: the decoder's blocks, the last token, a projection.

    Source: Radford et al. 2021, CLIP (loss); the encoder is shared instead of one for each side.
    """

    def __init__(self, config: ApertisConfig) -> None:
        super().__init__(config)
        self.model = ApertisModel(config)
        self.capsules = CapsulePooling(config) if config.pooling == "capsules" else None
        width = config.hidden_size if self.capsules is None else self.capsules.capsules * self.capsules.width
        self.projection = nn.Linear(width, config.hidden_size, bias=False)
        self.scale = nn.Parameter(torch.empty(()))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            init.constant_(self.scale, _FIRST_SCALE)

    def embed(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Returns [B, D], unit length, of what the processor made: images, texts, or both in one sequence.

        The last token has read all others; padding stands on the left. Experimental capsules gather all tokens instead.
        """
        hidden = self.model(**inputs, use_cache=False).last_hidden_state
        gathered = hidden[:, -1]
        if self.capsules is not None:
            mask = inputs.get("attention_mask", torch.ones(hidden.shape[:2], device=hidden.device))
            gathered = self.capsules(hidden, mask.to(hidden.dtype))
        return F.normalize(self.projection(gathered), dim=-1)

    def forward(self, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> Contrasted:
        """Compares pairs: row n of the one side belongs to row n of the other, and to no other row."""
        one, two = self.embed(first), self.embed(second)
        return Contrasted(contrastive_loss(one, two, self.scale), one, two)


def contrastive_loss(first: Tensor, second: Tensor, scale: Tensor, same: Tensor | None = None) -> Tensor:
    """Returns the symmetric cross-entropy between two sides.

    Args:
        first: [B, D], unit length.
        second: [N, D], unit length.
        scale: logarithm of the inverse temperature.
        same: [B, N] bool, which belong together, at least one in each row and column; by default row n with row n.

    Source: Radford et al. 2021, CLIP; several that belong together as in Khosla et al. 2020, Supervised Contrastive
    Learning, equation 2.
    """
    scores = first @ second.T * scale.exp().clamp(max=100)
    together = torch.eye(len(first), device=first.device) if same is None else same.to(scores.dtype)
    sides = ((scores, together), (scores.T, together.T))
    losses = [-(each.log_softmax(1) * belong).sum(1) / belong.sum(1) for each, belong in sides]
    return (losses[0].mean() + losses[1].mean()) / 2
