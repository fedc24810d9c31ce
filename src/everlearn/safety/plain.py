"""The text as a reader takes it in: characters without width left out, compatible forms made one.

Every character keeps the place it came from, so that what is found in the plain text can be taken out of the original.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import final

_NO_WIDTH = frozenset("\u00ad\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064\ufeff\u180e\u200e\u200f")
_TAGS = range(0xE0000, 0xE0080)
# Letters of other scripts that look like Latin ones, and signs that stand for letters; folded before words are judged.
_LOOKALIKES = str.maketrans(
    "аеорсухівкмтнАВЕКМНОРСТХУІЅѕјԁһοαεικνρτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxibkmthABEKMHOPCTXYISsjdhoaeiknptuxABEZHIKMNOPTYX",
)
_LEET = str.maketrans("013457@$!|", "oieastasil")
_LEET_WORD = re.compile(r"(?=\w*[A-Za-z])[\w@$!|]*[A-Za-z][\w@$!|]*[013457@$!|][\w@$!|]*[A-Za-z][\w@$!|]*")
_SPELLED = re.compile(r"(?<!\w)\w(?:[ .*_-]\w){2,}(?!\w)")


@final
@dataclass(frozen=True, slots=True)
class Plain:
    """A plain text and where its characters stood.

    Attributes:
        text: the plain text.
        at: place of each character in the original, and the original's length; None where both are the same.
    """

    text: str
    at: tuple[int, ...] | None = None

    def origin(self, place: int) -> int:
        """The place in the original of a place in the plain text."""
        return place if self.at is None else self.at[place]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span in the original of a span in the plain text, at least one character long."""
        return self.origin(start), self.origin(end - 1) + 1


def plain(text: str) -> Plain:
    """A text without characters that have no width, in compatible spelling, character by character."""
    if text.isascii():
        return Plain(text)
    kept: list[str] = []
    at: list[int] = []
    for place, character in enumerate(text):
        if character in _NO_WIDTH or ord(character) in _TAGS:
            continue
        for one in unicodedata.normalize("NFKC", character):
            kept.append(one)
            at.append(place)
    return Plain("".join(kept), (*at, len(text)))


def unmasked(text: str) -> str:
    """A plain text with letters that were swapped for others, for digits and signs, or spelled out, put back.

    Meant for models of words: it changes what nobody masked as little as it can.
    """
    folded = text if text.isascii() else text.translate(_LOOKALIKES)
    folded = _SPELLED.sub(lambda found: re.sub(r"[ .*_-]", "", found[0]), folded)
    return _LEET_WORD.sub(lambda found: found[0].translate(_LEET), folded)
