"""Hate and requests for harm, judged by linear models over the sentence embedding that keys are made of.

Fitted by `benchmarks/fit_harm.py`, shipped as plain numbers: a bias and one weight for each coordinate. Models over
words and over groups of letters were fitted to the same texts and told less (docs/log.md). How much they find, and how
often they are wrong about harmless texts, stands in docs/safety.md: it is a seat belt, not a guarantee.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import final

import numpy as np
from numpy.typing import NDArray

from everlearn.safety.plain import plain, unmasked

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
HARMS = ("hate", "illicit")
LONGEST = 400  # characters of what is judged at once
SHORT = 60  # characters below which a unit says little by itself
_UNIT_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|[。！？]|\n")
_DATA = "harm.json"


@final
@dataclass(frozen=True, slots=True)
class LinearModel:
    """Logistic regression over a unit vector.

    Attributes:
        weights: [K] float32.
        bias: log-odds at the origin.
        threshold: log-odds from which a text counts.
    """

    weights: NDArray[np.float32]
    bias: float
    threshold: float

    def log_odds(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-odds [N] of texts with these vectors [N, K]."""
        found: NDArray[np.float32] = vectors @ self.weights + np.float32(self.bias)
        return found


@final
@dataclass(frozen=True, slots=True)
class HarmModel:
    """Models of all harms for one encoder.

    Attributes:
        version: of the fit.
        encoder: digest of the encoder whose vectors they read.
        models: harm -> model.
    """

    version: str
    encoder: str
    models: Mapping[str, LinearModel]


@cache
def packaged() -> HarmModel:
    """The models that come with everlearn, made for the packaged encoder."""
    data = json.loads(files("everlearn.safety").joinpath(_DATA).read_text("utf-8"))
    models = {
        name: LinearModel(np.array(m["weights"], np.float32), m["bias"], m["threshold"])
        for name, m in data["models"].items()
    }
    return HarmModel(data["version"], data["encoder"], models)


def units(text: str) -> list[tuple[int, int]]:
    """Sentences and lines of a text as spans, short ones together with the next; together they are the whole text.

    None is longer than `LONGEST`, and none shorter than `SHORT` but the last.
    """
    spans: list[tuple[int, int]] = []
    begin = 0
    for end in [*(found.end() for found in _UNIT_END.finditer(text)), len(text)]:
        while end - begin > LONGEST:
            spans.append((begin, begin + LONGEST))
            begin += LONGEST
        if end - begin >= SHORT or (end == len(text) and end > begin):
            spans.append((begin, end))
            begin = end
    return spans


def readings(text: str) -> list[tuple[int, int, str]]:
    """What is judged of a text: (start, end, as it is read): each unit, a short last one together with that before."""
    found = [(start, end) for start, end in units(text) if text[start:end].strip()]
    if len(found) > 1 and is_short(text[slice(*found[-1])]):
        found[-1] = (found[-2][0], found[-1][1])
    return [(start, end, as_read(text[start:end])) for start, end in found]


def is_short(unit: str) -> bool:
    """Whether a unit says little by itself, and is read together with the one before it."""
    return len(unit) < SHORT


def as_read(text: str) -> str:
    """A text as models read it: without disguise, white space made one."""
    return " ".join(unmasked(plain(text, escapes=False).text).split())


def probability(log_odds: float) -> float:
    """0..1."""
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, log_odds))))
