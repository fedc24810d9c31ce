"""The text as a reader takes it in: escapes of JSON read, characters without width left out, compatible forms made one.

Every character keeps the place it came from, so that what is found in the plain text can be taken out of the original.
"""

from __future__ import annotations

import json
import re
import unicodedata
from bisect import bisect_left
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
# A letter, then a sign that stands for one, then a letter. Each part takes all it can and gives nothing back: linear.
_LEET_WORD = re.compile(
    r"(?<!\w)[^\WA-Za-z]*+[A-Za-z][^\W013457]*+[013457@$!|](?:[^\WA-Za-z]|[@$!|])*+[A-Za-z][\w@$!|]*+"
)
_SPELLED = re.compile(r"(?<!\w)\w(?:[ .*_-]\w){2,}(?!\w)")
# Texts hold JSON, and that holds JSON again: so several backslashes. A text that only looks like it is read all the
# same: this decides where personal data is looked for, not what the text becomes.
_SIGN = re.compile(r"\\{1,8}(?:[\"/bfnrt]|u[0-9A-Fa-f]{4})|.", re.DOTALL)
_CHARACTER = re.compile(".", re.DOTALL)
_UNFINISHED = re.compile(r"\\{1,8}(?:u[0-9A-Fa-f]{0,3})?\Z")


@final
@dataclass(frozen=True, slots=True)
class Plain:
    """A plain text and where its characters stood.

    Attributes:
        text: the plain text.
        at: where each character begins in the original, and the original's length; None where both are the same.
        until: where each character ends there.
    """

    text: str
    at: tuple[int, ...] | None = None
    until: tuple[int, ...] = ()

    def origin(self, place: int) -> int:
        """The place in the original of a place in the plain text."""
        return place if self.at is None else self.at[place]

    def place(self, origin: int) -> int:
        """The first place in the plain text that stands at a place in the original, or behind it."""
        return origin if self.at is None else bisect_left(self.at, origin)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span in the original of a span in the plain text, at least one character long."""
        return (start, end) if self.at is None else (self.at[start], self.until[end - 1])


def plain(text: str, *, escapes: bool = True) -> Plain:
    """A text without characters that have no width, in compatible spelling, character by character.

    Args:
        text: of any length.
        escapes: read escapes of JSON; models of words take the "f" of a formula's "frac" for a letter.
    """
    if text.isascii() and not (escapes and "\\" in text):
        return Plain(text)
    kept: list[str] = []
    at: list[int] = []
    until: list[int] = []
    for sign in (_SIGN if escapes else _CHARACTER).finditer(text):
        character = sign[0] if len(sign[0]) == 1 else _unescaped(sign[0])
        if character in _NO_WIDTH or ord(character) in _TAGS:
            continue
        for one in character if character.isascii() else unicodedata.normalize("NFKC", character):
            kept.append(one)
            at.append(sign.start())
            until.append(sign.end())
    return Plain("".join(kept), (*at, len(text)), tuple(until))


def unfinished(text: str) -> int:
    """Where an escape begins that more text may end; the text's length where there is none."""
    found = _UNFINISHED.search(text, max(0, len(text) - 13))
    return found.start() if found is not None else len(text)


def unmasked(text: str) -> str:
    """A plain text with letters that were swapped for others, for digits and signs, or spelled out, put back.

    Meant for models of words: it changes what nobody masked as little as it can.
    """
    folded = text if text.isascii() else text.translate(_LOOKALIKES)
    folded = _SPELLED.sub(lambda found: re.sub(r"[ .*_-]", "", found[0]), folded)
    return _LEET_WORD.sub(lambda found: found[0].translate(_LEET), folded)


def _unescaped(escape: str) -> str:
    """The character that an escape stands for."""
    character: str = json.loads(f'"\\{escape.lstrip(chr(92))}"')
    return "\ufffd" if "\ud800" <= character <= "\udfff" else character  # a half of a pair is no character
