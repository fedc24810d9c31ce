"""From images and texts to what the model reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from transformers import BatchFeature, ProcessorMixin
from transformers.image_processing_utils import BaseImageProcessor

from everlearn.errors import ConversationError, SettingsError

Picture = Any  # a PIL image, or an array [height, width] or [height, width, channels] of 0..255 or of 0..1


def flat(images: Picture | Sequence[Any]) -> list[Picture]:
    """Returns single images in order; chat templates give a list for each conversation."""
    if isinstance(images, (list, tuple)):
        return [image for part in images for image in flat(part)]
    return [images]


class ApertisImageProcessor(BaseImageProcessor):
    """Cuts images of any size and aspect ratio into patches.

    An image that would have too many patches is made smaller, its aspect ratio kept; sides that no whole number of
    patches fills are stretched to the nearest one that does.
    """

    model_input_names = ["pixel_values", "image_sizes"]  # noqa: RUF012

    def __init__(self, patch_size: int = 16, channels: int = 3, max_patches: int = 256, **kwargs: Any) -> None:  # noqa: ANN401
        """Sets the side of a patch in pixels, 1 or 3 channels, and how many patches an image may have."""
        super().__init__(**kwargs)
        if channels not in (1, 3) or patch_size < 1 or max_patches < 1:
            raise SettingsError(
                f"patch_size {patch_size}, channels {channels}, max_patches {max_patches} are not possible.",
                hint="Channels are 1 (grey) or 3 (red, green, blue); the others are at least 1.",
            )
        self.patch_size, self.channels, self.max_patches = patch_size, channels, max_patches

    def __call__(self, images: Picture | Sequence[Picture], **_: Any) -> BatchFeature:  # noqa: ANN401
        """Returns pixel_values [N, channels * side * side] in -1..1 and image_sizes [I, 2], rows and columns.

        Raises:
            ConversationError: not an image.
        """
        given = flat(images)
        cut = [self._patches(self._pixels(image)) for image in given]
        return BatchFeature(
            {
                "pixel_values": torch.cat([patches for patches, _ in cut]),
                "image_sizes": torch.tensor([size for _, size in cut]),
            }
        )

    def _pixels(self, image: Picture) -> Tensor:
        """Returns [channels, height, width] float32 in -1..1."""
        if isinstance(image, Image.Image):
            image = np.asarray(image.convert("L" if self.channels == 1 else "RGB"))
        array = np.asarray(image)
        if array.ndim not in (2, 3) or array.dtype.kind not in "uif" or 0 in array.shape:
            raise ConversationError(
                f"An image came as {array.dtype} of shape {array.shape}.",
                hint="Give a PIL image or an array [height, width] or [height, width, channels].",
            )
        whole = torch.from_numpy(array.astype(np.float32) / (255 if array.dtype.kind in "ui" else 1))
        whole = whole[None] if whole.ndim == 2 else whole.permute(2, 0, 1)[:3]
        if self.channels == 1:
            whole = whole.mean(0, keepdim=True)
        return whole.expand(self.channels, -1, -1) * 2 - 1

    def _patches(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        side = self.patch_size
        rows, columns = self.grid(pixels.shape[1], pixels.shape[2])
        if pixels.shape[1:] != (rows * side, columns * side):
            size = (rows * side, columns * side)
            pixels = F.interpolate(pixels[None], size, mode="bilinear", antialias=True, align_corners=False)[0]
        patches = pixels.unfold(1, side, side).unfold(2, side, side).permute(1, 2, 0, 3, 4)
        return patches.reshape(rows * columns, -1), (rows, columns)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Returns rows and columns of patches that an image of so many pixels is cut into."""
        shrink = min(1.0, (self.max_patches * self.patch_size**2 / (height * width)) ** 0.5)
        rows, columns = (max(1, round(pixels * shrink / self.patch_size)) for pixels in (height, width))
        while rows * columns > self.max_patches:  # rounding up may have been too much; very long images
            rows, columns = (rows - 1, columns) if rows >= columns else (rows, columns - 1)
        return rows, columns


class ApertisProcessor(ProcessorMixin):
    """Image processor and tokenizer together: `<image>` in a text stands for the next image."""

    attributes = ["image_processor", "tokenizer"]  # noqa: RUF012
    image_processor_class = "AutoImageProcessor"
    tokenizer_class = "AutoTokenizer"

    def __init__(
        self,
        image_processor: ApertisImageProcessor,
        tokenizer: Any,  # noqa: ANN401
        chat_template: str | None = None,
        image_token: str = "<image>",
    ) -> None:
        """Joins the two.

        Raises:
            SettingsError: the tokenizer has no token for images.
        """
        self.image_token = image_token
        self.image_token_id = tokenizer.convert_tokens_to_ids(image_token)
        if self.image_token_id in (None, tokenizer.unk_token_id):
            raise SettingsError(
                f"The tokenizer has no token {image_token!r}.", hint="Add it as a special token, then resize the model."
            )
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def __call__(
        self,
        images: Picture | Sequence[Picture] | None = None,
        text: str | Sequence[str] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> BatchFeature:
        """Returns input_ids and attention_mask, padded on the left, and with images their patches and sizes.

        Args:
            images: those of all texts, in the order of their places.
            text: one or several, with `<image>` where an image stands; without a text each image is one by itself.
            **kwargs: for the tokenizer.

        Raises:
            ConversationError: not as many images as places for them.
        """
        given = [] if images is None else flat(images)
        texts = [self.image_token] * len(given) if text is None else [text] if isinstance(text, str) else list(text)
        places = sum(each.count(self.image_token) for each in texts)
        if places != len(given):
            raise ConversationError(
                f"The texts have {places} places for images, {len(given)} images came.",
                hint=f"Write {self.image_token} once for each image.",
            )
        made = dict(self.image_processor(given)) if given else {}
        counts = iter(made["image_sizes"].prod(1).tolist() if given else ())
        texts = [self._spread(each, counts) for each in texts]
        kwargs = {"padding": len(texts) > 1, "padding_side": "left"} | kwargs
        kwargs.pop("return_tensors", None)
        return BatchFeature(dict(self.tokenizer(texts, return_tensors="pt", **kwargs)) | made)

    def _spread(self, text: str, counts: Any) -> str:  # noqa: ANN401  an iterator over numbers of patches
        """Puts as many image tokens in each place as the image has patches."""
        first, *rest = text.split(self.image_token)
        return first + "".join(self.image_token * next(counts) + part for part in rest)
