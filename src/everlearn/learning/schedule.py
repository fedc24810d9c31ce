"""Learning rates over the steps of a training."""

from __future__ import annotations

import math
from typing import Literal, get_args

from everlearn.errors import SettingsError

Shape = Literal["cosine", "wsd", "constant"]
_DECAY_SHARE = 0.2


def rate_at(step: int, steps: int, *, shape: Shape = "cosine", warm_up: float = 0.05) -> float:
    """The share of the full learning rate at a step, 0..1.

    Args:
        step: from 0.
        steps: of the whole training.
        shape: "cosine" falls from the warm-up on; "wsd" stays full and falls in a line over the last fifth
            (warm-up, stable, decay); "constant" stays.
        warm_up: share of the steps over which it rises from near 0.

    Raises:
        SettingsError: another shape, or a warm-up that is no share.

    Source: cosine: Loshchilov and Hutter 2017, arXiv 1608.03983; wsd: Hu et al. 2024, MiniCPM, arXiv 2404.06395.
    """
    if shape not in get_args(Shape) or not 0.0 <= warm_up < 1.0:
        raise SettingsError(
            f"The schedule is {shape!r} with warm-up {warm_up:g}.",
            hint=f"Wanted: {', '.join(get_args(Shape))}, and a warm-up of 0 or more, below 1.",
        )
    rising = math.ceil(warm_up * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    if shape == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(steps - rising, 1)))
    falling = math.ceil(_DECAY_SHARE * steps)
    if shape == "wsd" and step >= steps - falling:
        return (steps - step) / (falling + 1)
    return 1.0
