"""What an adapter looks like: rank, which weights of which blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from everlearn.errors import SettingsError
from everlearn.models.base import BaseModel

_ATTENTION = ("attn", "attention")


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """Shape of an adapter.

    Attributes:
        rank: R, inner width of the two factors.
        alpha: the product of the factors is scaled by alpha / rank.
        modules: "mlp" (forgets least), "attention" or "all" linear layers of a block.
        frozen_blocks: how many of the lowest blocks get no adapter; a share of the depth when below 1.

    Source: Hu et al. 2021, LoRA, arXiv 2106.09685, section 4; which modules: Biderman et al. 2024, arXiv 2405.09673.
    """

    rank: int = 16
    alpha: float = 32.0
    modules: str = "mlp"
    frozen_blocks: float = 0.0


def targets(model: BaseModel, settings: AdapterSettings) -> dict[str, nn.Module]:
    """The layers that an adapter of these settings is laid over, by their full names.

    Raises:
        SettingsError: an impossible setting, or one that leaves no layer.
    """
    _check(settings)
    depth, low = model.num_blocks, settings.frozen_blocks
    first = round(low * depth) if low < 1 else int(low)
    names = {id(module): name for name, module in model.module.named_modules()}
    found: dict[str, nn.Module] = {}
    for block in list(model.blocks)[first:]:
        for inner, module in block.named_modules():
            if is_linear(module) and _wanted(inner, settings.modules):
                found[names[id(module)].removesuffix(".base_layer")] = module  # another adapter may have wrapped it
    if not found:
        raise SettingsError(
            f"No layer of {model.name} is left for an adapter over {settings.modules!r} from block {first} of {depth}.",
            hint="Freeze fewer blocks, or use modules = all.",
        )
    return found


def is_linear(module: nn.Module) -> bool:
    """Whether it is a layer with one weight matrix that PEFT can adapt (GPT-2 has Conv1D in its place)."""
    kinds: tuple[Any, ...] = (nn.Linear,)
    return isinstance(module, kinds) or type(module).__name__ in {"Conv1D", "Linear4bit", "Linear8bitLt"}


def _wanted(inner: str, modules: str) -> bool:
    attention = any(part in inner.lower() for part in _ATTENTION)
    return ".lora_" not in inner and (modules == "all" or attention == (modules == "attention"))


def _check(settings: AdapterSettings) -> None:
    if settings.rank < 1 or settings.alpha <= 0:
        raise SettingsError(
            f"rank is {settings.rank}, alpha {settings.alpha:g}; wanted both above 0.", hint="16 and 32 are usual."
        )
    if settings.modules not in {"mlp", "attention", "all"}:
        raise SettingsError(f"modules is {settings.modules!r}.", hint="Wanted: mlp, attention or all.")
    if settings.frozen_blocks < 0:
        raise SettingsError(f"frozen_blocks is {settings.frozen_blocks:g}.", hint="Wanted: 0 or more.")
