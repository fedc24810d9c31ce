"""Experimental: tokens are gathered into one vector by capsules that they agree on. Its verdict: docs/log.md."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from everlearn.models.apertis.configuration import ApertisConfig

_ROUNDS = 3


class CapsulePooling(nn.Module):
    """Each token votes for every capsule; a capsule is the vote that most of its tokens agree on.

    Source: Sabour, Frosst and Hinton 2017, Dynamic Routing Between Capsules, procedure 1.
    """

    def __init__(self, config: ApertisConfig, capsules: int = 8) -> None:
        super().__init__()
        self.capsules = capsules
        self.width = config.hidden_size // capsules
        self.votes = nn.Linear(config.hidden_size, capsules * self.width, bias=False)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Returns [B, capsules * width].

        Args:
            hidden: [B, T, D].
            mask: [B, T], 0 for padding, which has no vote.
        """
        votes = self.votes(hidden).unflatten(-1, (self.capsules, self.width))  # [B, T, K, C]
        liking = votes.new_zeros(votes.shape[:3])
        for _ in range(_ROUNDS):
            share = liking.softmax(-1) * mask[..., None]
            pose = squash((share[..., None] * votes).sum(1))
            liking = liking + (votes.detach() * pose.detach()[:, None]).sum(-1)
        return pose.flatten(1)


def squash(x: Tensor) -> Tensor:
    """Keeps the direction and brings the length below 1: short vectors nearly to 0, long ones nearly to 1."""
    size = x.square().sum(-1, keepdim=True)
    return x * size / (1 + size) * torch.rsqrt(size + 1e-9)


def naive_capsules(pooling: CapsulePooling, hidden: Tensor) -> Tensor:
    """The same for one row [T, D] without padding, vote after vote: [capsules * width]."""
    votes = [F.linear(token, pooling.votes.weight).view(pooling.capsules, -1) for token in hidden]
    liking = [torch.zeros(pooling.capsules) for _ in votes]
    for _ in range(_ROUNDS):
        shares = [row.exp() / row.exp().sum() for row in liking]
        poses = []
        for capsule in range(pooling.capsules):
            total = torch.stack(
                [share[capsule] * vote[capsule] for share, vote in zip(shares, votes, strict=True)]
            ).sum(0)
            length = total.norm()
            poses.append(total / length * length**2 / (1 + length**2))
        liking = [
            row + torch.stack([vote[n] @ poses[n] for n in range(pooling.capsules)])
            for row, vote in zip(liking, votes, strict=True)
        ]
    return torch.cat(poses)
