"""As little of an adapter as answers what was taught: training goes on long after the answers are right.

What an adapter adds elsewhere grows with its strength, and the divergence from the base with about the square of it;
what it answers stays right until the margins are used up. So a trained adapter is scaled down as far as its own
training questions allow. Nothing that probes is looked at.

Source: Wortsman et al. 2022, Robust fine-tuning of zero-shot models, arXiv 2109.01903, section 3: weights between those
of the base and the tuned ones keep most of both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from everlearn.learning.examples import Encoded
from everlearn.learning.scoring import exact_answers
from everlearn.specialists.adapters import Adapters

Progress = Callable[[int, int], None]
STRENGTHS = (0.85, 0.7, 0.6, 0.5, 0.4, 0.3)
_MARK = ".lora_B."


def shrink(
    adapters: Adapters,
    adapter_id: str,
    rows: Sequence[Encoded],
    *,
    lost: float = 0.02,
    strengths: Sequence[float] = STRENGTHS,
    progress: Progress | None = None,
) -> float:
    """Scale a loaded adapter to the least of some strengths at which it answers its questions.

    Args:
        adapters: where it is loaded.
        adapter_id: which; its second factors are scaled.
        rows: what it was trained on, or a part of it.
        lost: share of what it answers at full strength that it may lose.
        strengths: falling, each below 1; the first that loses too much ends the search.
        progress: called with (strengths tried, all).

    Returns:
        The strength, 1 where it cannot be less.
    """
    full = adapters.state(adapter_id)

    def answered(strength: float) -> int:
        adapters.restore(adapter_id, {n: t * strength if _MARK in n else t for n, t in full.items()})
        return sum(exact_answers(adapters.model, rows, adapters=adapters, worn=[adapter_id] * len(rows)))

    least, right = 1.0, answered(1.0)
    for number, strength in enumerate(strengths, start=1):
        if progress is not None:
            progress(number, len(strengths))
        if not right or answered(strength) < (1.0 - lost) * right:
            break
        least = strength
    adapters.restore(adapter_id, {n: t * least if _MARK in n else t for n, t in full.items()})
    if progress is not None:
        progress(len(strengths), len(strengths))
    return least
