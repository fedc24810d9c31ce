"""The acceptance test of a new adapter version: better where it was taught, unchanged elsewhere, nothing older lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from everlearn.evaluation.metrics import mean


@dataclass(frozen=True, slots=True)
class AcceptanceLimits:
    """What a candidate has to reach.

    Attributes:
        reliability: least share of taught questions answered exactly.
        generality: least share of wordings that were never trained on.
        locality: least share of steps of the base model's own answers to unrelated prompts where the candidate would
            say the same.
        drift: most KL(base || candidate) a step on those answers, nats; above it the alarm refuses.
        lost: most share of what the version before answered that may be lost.
        significance: below this probability more losses than gains on older probes are no accident.
    """

    reliability: float = 0.9
    generality: float = 0.7
    locality: float = 0.95
    drift: float = 0.1
    lost: float = 0.02
    significance: float = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a candidate.

    Attributes:
        taught: taught question by question, whether it is answered exactly.
        probes: the same for wordings that were never trained on.
        agreement: unrelated prompt by prompt, share of steps that stay, 0..1.
        drift: unrelated prompt by prompt, KL(base || candidate) a step, nats.
        before: older probe by probe, whether the version before answers it.
        after: the same probes, whether the candidate does.
    """

    taught: Sequence[bool]
    probes: Sequence[bool] = ()
    agreement: Sequence[float] = ()
    drift: Sequence[float] = ()
    before: Sequence[bool] = ()
    after: Sequence[bool] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """What the test says.

    Attributes:
        accepted: whether nothing speaks against it.
        reasons: what speaks against it, in numbers.
        figures: everything that was measured, by name.
    """

    accepted: bool
    reasons: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)


def judge(measured: Measured, limits: AcceptanceLimits) -> Judged:
    """Accept or refuse a candidate."""
    assert measured.taught, "a candidate was taught something"
    assert len(measured.before) == len(measured.after), "older probes are asked before and after"
    figures = _figures(measured)
    reasons = [
        f"{name} is {figures[name]:.3f}, wanted {least:g} or more"
        for name, least in (
            ("reliability", limits.reliability),
            ("generality", limits.generality),
            ("locality", limits.locality),
        )
        if name in figures and figures[name] < least
    ]
    if figures.get("drift", 0.0) > limits.drift or math.isnan(figures.get("drift", 0.0)):
        reasons.append(f"KL(base || candidate) is {figures['drift']:.3f} a step, allowed is {limits.drift:g}")
    if "lost" in figures and figures["lost"] > limits.lost:
        reasons.append(f"{figures['lost']:.3f} of what was known before is lost, allowed is {limits.lost:g}")
    if "p_lost" in figures and figures["p_lost"] < limits.significance:
        reasons.append(
            f"more older probes were lost than won, which by accident happens with p = {figures['p_lost']:.4f}"
        )
    return Judged(not reasons, tuple(reasons), figures)


def sign_test(lost: int, won: int) -> float:
    """The probability that at least so many of the changed probes are losses if losses and gains are equally likely.

    Source: McNemar 1947, in its exact, one-sided form.
    """
    changed = lost + won
    return sum(math.comb(changed, k) for k in range(lost, changed + 1)) / 2**changed if changed else 1.0


def _figures(measured: Measured) -> dict[str, float]:
    shares = {
        "reliability": mean([float(x) for x in measured.taught]),
        "generality": mean([float(x) for x in measured.probes]),
        "locality": mean(measured.agreement),
        "drift": mean(measured.drift),
    }
    figures = {name: value for name, value in shares.items() if value is not None}
    if measured.before:
        lost = sum(b and not a for b, a in zip(measured.before, measured.after, strict=True))
        won = sum(a and not b for b, a in zip(measured.before, measured.after, strict=True))
        figures["lost"] = lost / max(sum(measured.before), 1)
        figures["p_lost"] = sign_test(lost, won)
    return figures
