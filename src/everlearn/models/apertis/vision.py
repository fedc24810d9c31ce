"""Images in the text: each patch becomes a token in the same space, read by the same blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from everlearn.errors import ConversationError
from everlearn.models.apertis.configuration import ApertisConfig

_WAVES = 16  # of each direction


class ApertisPatchEmbedding(nn.Module):
    """Patches of images of any size to tokens: their pixels, projected, plus where in the image they lie.

    Source: Dehghani et al. 2023, Patch n' Pack (NaViT): any aspect ratio, several images in one sequence.
    """

    def __init__(self, config: ApertisConfig) -> None:
        super().__init__()
        pixels = config.vision_channels * config.vision_patch_size**2
        self.pixels = nn.Linear(pixels, config.hidden_size)
        self.places = nn.Linear(4 * _WAVES, config.hidden_size, bias=False)

    def forward(self, patches: Tensor, sizes: Tensor) -> Tensor:
        """Returns [N, D].

        Args:
            patches: [N, channels * side * side], those of all images one after the other, row by row.
            sizes: [I, 2] long, rows and columns of patches of each image.

        Raises:
            ConversationError: the sizes do not tell of as many patches as there are.
        """
        told = int(sizes.prod(1).sum())
        if told != len(patches):
            raise ConversationError(
                f"{len(patches)} patches came with sizes of {told}.", hint="Let the processor make both."
            )
        waves = place_waves(patch_places(sizes)).to(self.places.weight.dtype)
        embedded: Tensor = self.pixels(patches.to(self.pixels.weight.dtype)) + self.places(waves)
        return embedded


def patch_places(sizes: Tensor) -> Tensor:
    """Returns row and column [N, 2] of each patch."""
    grids = [torch.cartesian_prod(torch.arange(rows), torch.arange(columns)) for rows, columns in sizes.tolist()]
    return torch.cat([grid.view(-1, 2) for grid in grids]).to(sizes.device)


def place_waves(places: Tensor) -> Tensor:
    """Returns sines and cosines [N, 4 * waves] of rows and columns."""
    speeds = 100.0 ** (-torch.arange(_WAVES, device=places.device) / _WAVES)
    angles = (places[..., None].float() * speeds).flatten(1)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


def with_images(embeds: Tensor, ids: Tensor, patches: Tensor, image_token_id: int) -> Tensor:
    """Returns embeddings [B, T, D] with patches [N, D] in the places of image tokens, in their order.

    Raises:
        ConversationError: not as many places as patches.
    """
    places = ids == image_token_id
    if int(places.sum()) != len(patches):
        raise ConversationError(
            f"The text has {int(places.sum())} places for patches, the images have {len(patches)} patches.",
            hint="Let the processor put the places in.",
        )
    return embeds.masked_scatter(places[..., None], patches.to(embeds.dtype))


def naive_patches(image: Tensor, side: int) -> Tensor:
    """Cuts [channels, height, width] into patches [N, channels * side * side], row by row, with two loops."""
    _, height, width = image.shape
    return torch.stack(
        [image[:, y : y + side, x : x + side].flatten() for y in range(0, height, side) for x in range(0, width, side)]
    )
