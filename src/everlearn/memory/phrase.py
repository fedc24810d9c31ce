"""A phrase: a prompt word by word, as the gate weighs it. States of words are kept with the entry, in a byte each."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_WORD = re.compile(r"[^\W_]+")
_LEVELS = 127.0
_STEM = 5


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the encoder makes of one text in one pass.

    Attributes:
        vector: [K] float32, unit length: the whole text.
        states: [N, K] float32: each of its first N words in its context; 0 where a word has no piece of its own.
    """

    vector: Floats
    states: Floats


@dataclass(frozen=True, slots=True)
class Phrase:
    """The words of a prompt with all that is weighed of them.

    Attributes:
        words: [N], folded.
        stems: [N], equal for forms of one word.
        rarity: [N], about 0 (grammar) to 2 (unknown names).
        named: [N] bool: names and numbers, by their first character; the first word counts only with a digit.
        states: [N, K] float32, in context.
        unit: [N, K], the same at unit length.
        plain: [N, K] float32, unit length: the word by itself, out of context.
    """

    words: tuple[str, ...]
    stems: tuple[str, ...]
    rarity: Floats
    named: NDArray[np.bool_]
    states: Floats
    unit: Floats
    plain: Floats


_NOTHING = np.zeros((0, 0), np.float32)
WORDLESS = Phrase((), (), np.zeros(0, np.float32), np.zeros(0, np.bool_), _NOTHING, _NOTHING, _NOTHING)


def spans(text: str) -> list[tuple[int, int]]:
    """Where the words of a text begin and end, as the encoder's word states are counted."""
    return [match.span() for match in _WORD.finditer(text)]


def pooled(text: str, states: Floats, offsets: Sequence[tuple[int, int]]) -> Floats:
    """States [N, K] of words, each the mean of its pieces' states [T, K]; words behind the last piece are left out.

    Args:
        text: that was encoded.
        states: of the pieces.
        offsets: [T], the piece's characters in the text; empty for special tokens.
    """
    words = spans(text)
    sums = np.zeros((len(words), states.shape[1]), np.float32)
    counts = np.zeros((len(words), 1), np.float32)
    word = 0
    for piece, (begin, end) in enumerate(offsets):
        if end <= begin:
            continue
        while word < len(words) and words[word][1] <= begin:
            word += 1
        if word == len(words):
            break
        if end > words[word][0]:
            sums[word] += states[piece]
            counts[word] += 1.0
    last = int(np.flatnonzero(counts).max()) + 1 if counts.any() else 0
    means: Floats = (sums[:last] / np.maximum(counts[:last], 1.0)).astype(np.float32)
    return means


def phrase(text: str, states: Floats, rarity: Callable[[str], float], plain: Callable[[str], Floats]) -> Phrase:
    """Puts a phrase together from a text and its word states [N, K]."""
    places = spans(text)[: len(states)]
    spelled = [text[begin:end] for begin, end in places]
    words = tuple(word.casefold() for word in spelled)
    named = [(word[0].isupper() and n > 0) or word[0].isdigit() for n, word in enumerate(spelled)]
    alone = np.stack([plain(word) for word in words]) if words else np.zeros_like(states)
    return Phrase(
        words,
        tuple(stem(word) for word in words),
        np.array([rarity(word) for word in words], np.float32),
        np.array(named, bool),
        states,
        unit(states),
        alone,
    )


def stem(word: str) -> str:
    """What forms of one word share: its first letters; of a short word all but the plural's ending."""
    return word[:-1] if len(word) == _STEM - 1 and word.endswith("s") else word[:_STEM]


def unit(rows: Floats) -> Floats:
    """Rows [N, K] or one row [K] at unit length; 0 stays 0."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    scaled: Floats = rows / np.maximum(length, 1e-6)
    return scaled


def pack(states: Floats) -> bytes:
    """Word states [N, K] as bytes: N scales in float16, then a byte for each coordinate."""
    most = np.abs(states).max(axis=1, initial=0.0, keepdims=True)
    scale = (most / _LEVELS).astype("<f2")
    steps = np.rint(states / np.maximum(scale.astype(np.float32), 1e-7)).clip(-_LEVELS, _LEVELS)
    packed: bytes = scale.tobytes() + steps.astype(np.int8).tobytes()
    return packed


def unpack(packed: bytes, width: int) -> Floats:
    """Word states [N, K] from what `pack` made; `width` is K.

    Raises:
        ValueError: the bytes are of another width, or cut off.
    """
    count, rest = divmod(len(packed), width + 2)
    if rest:
        raise ValueError(f"{len(packed)} bytes are no word states {width} wide")
    scale = np.frombuffer(packed, "<f2", count).astype(np.float32)
    steps = np.frombuffer(packed, np.int8, count * width, offset=2 * count).reshape(count, width)
    states: Floats = steps.astype(np.float32) * scale[:, None]
    return states
