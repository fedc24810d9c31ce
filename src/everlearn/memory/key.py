"""Keys: what a prompt means (a sentence embedding) and which rare words it stands on (its lexical signature)."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from everlearn.memory.phrase import WORDLESS, Encoded, Phrase, phrase, pooled, unit
from everlearn.models.encoder import Pieces
from everlearn.text.clean import same_words

_PLAIN_WORD = re.compile(r"[^\W_]+")
# Chinese, Japanese and Korean characters stand for words of their own; elsewhere a run of letters or digits is a word.
_ALONE = re.compile(r"[぀-ヿ㐀-鿿가-힯\U00020000-\U0003FFFF]")
_JOINERS = "\u200c\u200d"  # zero width, inside words of Hindi or Persian and inside emoji
_HIDDEN_RARITY = 2.0  # as rare as a long unknown name
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

    def read(self, texts: Sequence[str]) -> list[Pieces]:
        """The same vectors, together with the state of every piece."""
        ...

    def token_states(self, texts: Sequence[str]) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """For each text its piece ids [T] and what each piece means where it stands [T, K], unit rows."""
        ...

    def piece_ids(self, word: str) -> list[int]:
        """Word-piece ids; a frequent word is one piece with a low id."""
        ...

    def plain_vectors(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Pieces [N, K] out of context."""
        ...

    @property
    def unknown_id(self) -> int | None:
        """The piece that stands for everything the encoder cannot read; None where it reads every text."""
        ...


@dataclass(frozen=True, slots=True)
class Key:
    """Where a prompt lies, and on which words it stands.

    Attributes:
        vector: [K] float32, unit length.
        signature: word -> rarity, about 0 (the commonest) to 2 (long unknown names).
        words: the prompt folded by `same_words`: equal for spellings of one question.
        opaque: the words whose meaning the vector does not hold: symbols, other scripts than Latin, unknown pieces.
        hidden: share of the words that the encoder cannot read at all, 0 to 1.
        phrase: its words one by one, as the gate weighs them; without words where they were not asked for.
    """

    vector: NDArray[np.float32]
    signature: Mapping[str, float]
    words: str
    opaque: frozenset[str] = frozenset()
    hidden: float = 0.0
    phrase: Phrase = WORDLESS


@final
class KeyMaker:
    """Makes keys of prompts.

    A limit to know: questions in other words are recognised in English, which is what the packaged encoder was made
    for. Of Russian, Arabic, Hindi, Chinese and the like it sees little more than letters, of Thai or Amharic nothing.
    There a question is found again when its words are the same or nearly so; paraphrases need a multilingual encoder.

    Args:
        encoder: sentence encoder.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.rarity = lru_cache(maxsize=100_000)(self._measure)
        self._plain = lru_cache(maxsize=20_000)(self._word_alone)
        self._is_hidden = lru_cache(maxsize=100_000)(self._lacks_pieces)
        self.width = encoder.width
        self.digest = encoder.digest

    def vectors(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Unit embeddings [N, K] float32 of prompts."""
        if not prompts:
            return np.zeros((0, self.width), np.float32)
        return self.encoder.encode(list(prompts))

    def read(self, prompts: Sequence[str]) -> list[Encoded]:
        """Embeddings of prompts, together with the states of their words."""
        if not prompts:
            return []
        read = self.encoder.read(list(prompts))
        return [Encoded(p.vector, pooled(text, p.states, p.offsets)) for text, p in zip(prompts, read, strict=True)]

    def key(self, prompt: str) -> Key:
        """The key of one prompt, with its phrase."""
        (encoded,) = self.read([prompt])
        return self.key_of(prompt, encoded.vector, encoded.states)

    def key_of(self, prompt: str, vector: NDArray[np.float32], states: NDArray[np.float32] | None = None) -> Key:
        """The key of a prompt whose embedding [K] is there already; with its phrase where its word states are too."""
        signature = {word: self.rarity(word) for word in words(prompt)}
        spoken = WORDLESS if states is None else phrase(prompt, states, self.rarity, self._plain)
        if prompt.isascii():
            return Key(vector, signature, same_words(prompt), phrase=spoken)
        hidden = {word for word in signature if self._is_hidden(word)}
        opaque = frozenset(hidden | {word for word in signature if _is_foreign(word)})
        return Key(vector, signature, same_words(prompt), opaque, len(hidden) / max(len(signature), 1), spoken)

    def _word_alone(self, word: str) -> NDArray[np.float32]:
        """A word [K] out of context, unit length; 0 where the encoder has no piece for it."""
        ids = self.encoder.piece_ids(word)
        if not ids:
            return np.zeros(self.width, np.float32)
        return unit(self.encoder.plain_vectors(ids).mean(0))

    def _lacks_pieces(self, word: str) -> bool:
        """Whether the encoder has no piece for some of a word, and so none of it reaches the vector."""
        return self.encoder.unknown_id is not None and self.encoder.unknown_id in self.encoder.piece_ids(word)

    def _measure(self, word: str) -> float:
        """Rarity from the encoder's own vocabulary, which is sorted by frequency: no corpus statistics are needed."""
        if word in _GRAMMAR:
            return _GRAMMAR_WEIGHT
        if self._is_hidden(word) or _kind(word[0]) == "S":
            return _HIDDEN_RARITY
        ids = self.encoder.piece_ids(word)
        if not ids:
            return 1.0
        rank = max(max(i - _FIRST_WORD_ID, 1) for i in ids)
        return math.log(rank + 10) / math.log(30_000) + _EXTRA_PIECE * (len(ids) - 1)


def grammar_words() -> frozenset[str]:
    """Words that carry the grammar of a question, not its subject."""
    return _GRAMMAR


def is_grammar(word: str) -> bool:
    """Whether a folded word carries the grammar of a question, not its subject."""
    return word in _GRAMMAR


def words(text: str) -> list[str]:
    """Words of a text, folded: case, accents' spelling and punctuation do not matter.

    Vowel signs and other marks belong to their word; emoji and symbols beyond ASCII are words of their own.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _PLAIN_WORD.findall(folded) if folded.isascii() else list(_words_of_any_script(folded))


def _words_of_any_script(text: str) -> Iterator[str]:
    word = ""
    for character in text:
        kind = _kind(character)
        alone = kind == "S" or _ALONE.match(character) is not None
        if kind in "LN" and not alone:
            word += character
        elif kind == "M" or character in _JOINERS:
            word += character if word else ""
        else:
            if word:
                yield word
            word = ""
            if alone:
                yield character
    if word:
        yield word


@lru_cache(maxsize=10_000)
def _kind(character: str) -> str:
    """Letter, Number, Mark, Symbol or another class of Unicode; symbols of ASCII are punctuation here."""
    kind = unicodedata.category(character)[0]
    return "P" if kind == "S" and character.isascii() else kind


@lru_cache(maxsize=100_000)
def _is_foreign(word: str) -> bool:
    """Whether a word is a symbol, or has letters of another script than Latin."""
    return any(_kind(c) == "S" or (_kind(c) == "L" and not unicodedata.name(c, "").startswith("LATIN")) for c in word)
