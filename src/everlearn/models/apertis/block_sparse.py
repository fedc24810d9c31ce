"""Kind `block_sparse`: attention over blocks that each token selects by content. Time grows nearly with the tokens."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from transformers.cache_utils import Cache

from everlearn.models.apertis.block_attention import block_attention, token_attention
from everlearn.models.apertis.block_selection import BlockPlan
from everlearn.models.apertis.configuration import ApertisConfig
from everlearn.models.apertis.full import ApertisAttention


class ApertisBlockSparseAttention(ApertisAttention):
    """Grouped-query attention over the first block, the local blocks and the selected ones.

    The weights are those of `full`: a layer can be trained as one and used as the other, and where all blocks are read
    the two give the same.
    """

    def __init__(self, config: ApertisConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.plan = BlockPlan(config.block_size, config.selected_blocks, config.local_blocks)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        past_key_values: Cache | None = None,
        padding: Tensor | None = None,
        starts: Tensor | None = None,
        **_: Any,  # noqa: ANN401
    ) -> tuple[Tensor, None]:
        """Mixes tokens: as `full`, but padding [B, S] bool (False: padding on the left) is read instead of the mask."""
        query, key, value = self.heads_of(hidden_states, position_embeddings)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        if starts is not None:
            rows = zip(query.split(1), key.split(1), value.split(1), starts, strict=True)
            output = torch.cat([self._apart(*row) for row in rows])
        elif padding is None:
            output = self._attend(query, key, value)
        else:  # blocks are counted from a row's first real token
            rows = zip(query.split(1), key.split(1), value.split(1), padding.sum(1).tolist(), strict=True)
            output = torch.cat([self._padded(*row) for row in rows])
        return self.leave(output.transpose(1, 2), hidden_states), None

    def _apart(self, query: Tensor, key: Tensor, value: Tensor, starts: Tensor) -> Tensor:
        """Attends in one row that holds several texts, in each by itself; starts: [T] bool."""
        cuts = [0, *starts.nonzero().flatten().tolist(), query.shape[2]]
        sizes = [end - begin for begin, end in pairwise(cuts) if end > begin]
        texts = zip(query.split(sizes, 2), key.split(sizes, 2), value.split(sizes, 2), strict=True)
        return torch.cat([self._attend(*text) for text in texts], dim=2)

    def _padded(self, query: Tensor, key: Tensor, value: Tensor, real: int) -> Tensor:
        """Attends in one row of which only the last `real` keys count."""
        real_queries = min(real, query.shape[2])
        missing = query.shape[2] - real_queries
        output = self._attend(query[:, :, missing:], key[:, :, -real:], value[:, :, -real:])
        return F.pad(output, (0, 0, missing, 0))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        plan, length, tokens = self.plan, key.shape[2], query.shape[2]
        if length <= (1 + plan.local + plan.selected) * plan.size:  # every block is read
            near = torch.ones(tokens, length, dtype=torch.bool, device=query.device).tril(length - tokens)
            mask = None if tokens in (1, length) else near
            return F.scaled_dot_product_attention(
                query, key, value, mask, is_causal=tokens == length > 1, scale=self.scaling, enable_gqa=True
            )
        if tokens == 1:
            return token_attention(query, key, value, plan, self.scaling)
        return block_attention(query, key, value, plan, self.scaling)
