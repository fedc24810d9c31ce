"""When an answer is right, and how sure a share is."""

from __future__ import annotations

import math
import statistics
import string
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

_ARTICLES = frozenset({"a", "an", "the"})


class Interval(NamedTuple):
    """Where a share lies with 95 % confidence, both ends in 0..1."""

    low: float
    high: float


def _is_mark(char: str) -> bool:
    """Punctuation, or a format character such as a zero-width or direction mark."""
    return char in string.punctuation or unicodedata.category(char)[0] == "P" or unicodedata.category(char) == "Cf"


def normalised(text: str) -> str:
    """Text as it is compared: lower-case, without punctuation, English articles and doubled white space.

    Compatibility forms count as the same (full-width digits, ligatures); letters of every script and their vowel and
    accent marks stay. What would leave nothing (an answer ")" or "The") is compared with its marks and articles kept.

    Source: SQuAD, Rajpurkar et al. 2016, arXiv 1606.05250, section 6.1 and its evaluation script `normalize_answer`;
        NFKC, case folding and the marks of other scripts are ours.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    bare = "".join(char for char in folded if not _is_mark(char))
    words = [word for word in bare.split() if word not in _ARTICLES]
    return " ".join(words) or " ".join(folded.split())


def exact_match(answer: str, target: str) -> bool:
    """Whether both are the same once normalised.

    Source: SQuAD, Rajpurkar et al. 2016, arXiv 1606.05250, section 6.1.
    """
    return normalised(answer) == normalised(target)


def token_agreement(given: Sequence[int], wanted: Sequence[int]) -> float:
    """Share of wanted tokens that stand in the same place of what was given.

    Args:
        given: [A] token ids; what is missing counts as wrong, what is too much is ignored.
        wanted: [A] token ids, at least one.

    Source: `test_prediction_acc` of EasyEdit, Wang et al. 2023, arXiv 2308.07269: the arg-max at each step of the gold
        answer, with the gold answer fed in.
    """
    assert wanted, "nothing was wanted"
    return sum(a == b for a, b in zip(given, wanted, strict=False)) / len(wanted)


def mean(values: Sequence[float]) -> float | None:
    """Their mean, or None where there is nothing to average."""
    return statistics.fmean(values) if values else None


def median(values: Sequence[float]) -> float | None:
    """Their median, or None where there is none."""
    return statistics.median(values) if values else None


def wilson(share: float, units: int, z: float = 1.959964) -> Interval:
    """Confidence interval of a share.

    It also holds, on the safe side, for the mean of values in 0..1, as their variance is at most share * (1 - share).

    Args:
        share: what was found, 0..1.
        units: how many independent things it is the mean of, at least one. Several questions about one edit are one.
        z: width in standard deviations; the default is 95 %.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    assert units > 0
    assert 0.0 <= share <= 1.0
    spread = z * z / units
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / units + spread / units / 4)
    # At the ends the formula is exact in theory and off by a rounding in practice.
    return Interval(0.0 if share == 0 else max(0.0, centre - half), 1.0 if share == 1 else min(1.0, centre + half))
