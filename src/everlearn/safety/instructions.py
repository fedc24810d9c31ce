"""Orders to a language model, hidden in a text that is meant to inform.

Logistic regression over words and pairs of words, fitted by `benchmarks/fit_instructions.py` and shipped as plain
numbers, so that a reviewer can be told which words gave it away.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import final

_WORD = re.compile(r"\w+|[!\"<>{}$]")
_SENTENCE_END = re.compile(r"(?<=[.!?:;])\s+|\n+")
_LONGEST_CHARACTERS = 400  # of what is judged at once
_SHOWN = 4
_REACH = 6  # words between two kinds of words that belong together
# Kinds of words that orders are made of, in some languages: a few hundred examples cannot teach all forms.
_KINDS_OF_WORDS = {
    "#drop": """
        ignore ignoring disregard disregarding forget forgetting override bypass drop discard abandon erase
        ignoriere ignorieren vergiss vergessen vergesst vergesse olvida olvide olvidar ignora ignorar oubliez oublie
        ignorez забудь забудьте zaboravi
    """,
    "#told": """
        instruction instructions instruktionen anweisung anweisungen prompt prompts orders order commands befehle
        command instrucciones rules directions guidelines auftrag aufträge aufgaben tasks assignments information
        informationen angaben context documents articles dokumente artikel programming инструкции instrukcije
    """,
    "#before": """
        previous prior preceding above earlier before vorherigen vorher bisherigen obigen davor vorangehenden
        anteriores antes précédentes everything all alles alle todo todas toutes все sve
    """,
    "#say": """
        say says tell print output write display show state repeat answer respond reply schreibe schreib sage sag
        gib antworte zeige nur di dites скажите decir
    """,
    "#role": """
        act pretend roleplay imagine impersonate persona you're du sie eres
    """,
    "#turn": """
        now instead henceforth nun jetzt stattdessen stop stopp attention achtung
    """,
}
_KINDS = {word: kind for kind, line in _KINDS_OF_WORDS.items() for word in line.split()}


@final
@dataclass(frozen=True, slots=True)
class InstructionModel:
    """A linear model over `grams`.

    Attributes:
        weights: gram -> log-odds; "" holds the bias.
        threshold: log-odds from which a text counts as an order.
    """

    weights: Mapping[str, float]
    threshold: float

    def log_odds(self, text: str) -> tuple[float, list[str]]:
        """Log-odds of the sentence that most looks like an order, and the grams that speak for it, strongest first."""
        return max((self._sentence(part) for part in sentences(text)), default=(self.weights[""], []))

    def _sentence(self, text: str) -> tuple[float, list[str]]:
        found = [g for g in grams(text) if g in self.weights]
        telling = sorted((g for g in found if self.weights[g] > 0), key=lambda g: -self.weights[g])
        return self.weights[""] + sum(self.weights[g] for g in found), telling[:_SHOWN]


@cache
def packaged() -> InstructionModel:
    """The model that comes with everlearn."""
    data = json.loads(files("everlearn.safety").joinpath("instructions.json").read_text("utf-8"))
    return InstructionModel(data["weights"], data["threshold"])


def grams(text: str) -> list[str]:
    """Words and pairs of neighbouring words of a text, folded, each once; digits all count as one."""
    words = [re.sub(r"\d+", "0", word) for word in _WORD.findall(text.casefold())]
    pairs = (f"{a} {b}" for a, b in pairwise(words))
    return list(dict.fromkeys([*words, *pairs, *_kinds(words)]))


def _kinds(words: Sequence[str]) -> list[str]:
    """Kinds of words, and those that follow each other within reach."""
    at = [(n, _KINDS[word]) for n, word in enumerate(words) if word in _KINDS]
    close = [f"{a} {b}" for i, (m, a) in enumerate(at) for n, b in at[i + 1 : i + 4] if n - m <= _REACH and a != b]
    return [kind for _, kind in at] + close


def sentences(text: str) -> list[str]:
    """A text in pieces that are judged by themselves: each sentence, and each with the one after it."""
    parts = [part[:_LONGEST_CHARACTERS] for part in _SENTENCE_END.split(text) if part.strip()]
    return parts + [f"{a} {b}" for a, b in pairwise(parts)]
