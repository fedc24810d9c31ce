"""Keys: what a prompt means (a sentence embedding) and which rare words it stands on (its lexical signature)."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from everlearn.text.clean import same_words

# Chinese, Japanese and Korean characters stand for words of their own; elsewhere a run of letters or digits is a word.
_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힯]|[^\W_]+")
_FIRST_WORD_ID = 1996  # below it the encoder's vocabulary holds special tokens, single characters and punctuation
_EXTRA_PIECE = 0.25
# Words that carry the grammar of a question, not its subject.
_GRAMMAR = frozenset(
    """
    a an the of in on at to for from by with and or as is are was were be been do does did has have had can could would
    will what which who whom whose when where how why that this these those it its there me you i my your please tell
    """.split()  # noqa: SIM905
)
_GRAMMAR_WEIGHT = 0.15


class Encoder(Protocol):
    """What the table needs of a sentence encoder."""

    @property
    def width(self) -> int:
        """K, coordinates of an embedding."""
        ...

    @property
    def digest(self) -> str:
        """Which weights; part of the name under which vectors are kept."""
        ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit embeddings [N, K]."""
        ...

    def piece_ids(self, word: str) -> list[int]:
        """Word-piece ids; a frequent word is one piece with a low id."""
        ...


@dataclass(frozen=True, slots=True)
class Key:
    """Where a prompt lies, and on which words it stands.

    Attributes:
        vector: [K] float32, unit length.
        signature: word -> rarity, about 0 (the commonest) to 2 (long unknown names).
        words: the prompt folded by `same_words`: equal for spellings of one question.
    """

    vector: NDArray[np.float32]
    signature: Mapping[str, float]
    words: str


@final
class KeyMaker:
    """Makes keys of prompts.

    Args:
        encoder: sentence encoder.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.rarity = lru_cache(maxsize=100_000)(self._measure)
        self.width = encoder.width
        self.digest = encoder.digest

    def vectors(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Unit embeddings [N, K] float32 of prompts."""
        if not prompts:
            return np.zeros((0, self.width), np.float32)
        return self._encoder.encode(list(prompts))

    def key(self, prompt: str) -> Key:
        """The key of one prompt."""
        return self.key_of(prompt, self.vectors([prompt])[0])

    def key_of(self, prompt: str, vector: NDArray[np.float32]) -> Key:
        """The key of a prompt whose embedding [K] is there already."""
        return Key(vector, {word: self.rarity(word) for word in words(prompt)}, same_words(prompt))

    def _measure(self, word: str) -> float:
        """Rarity from the encoder's own vocabulary, which is sorted by frequency: no corpus statistics are needed."""
        if word in _GRAMMAR:
            return _GRAMMAR_WEIGHT
        ids = self._encoder.piece_ids(word)
        if not ids:
            return 1.0
        rank = max(max(i - _FIRST_WORD_ID, 1) for i in ids)
        return math.log(rank + 10) / math.log(30_000) + _EXTRA_PIECE * (len(ids) - 1)


def words(text: str) -> list[str]:
    """Words of a text, folded: case, accents' spelling and punctuation do not matter."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
