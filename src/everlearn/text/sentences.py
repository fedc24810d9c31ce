"""Sentences of a text, and tokens counted: what passages and their windows are cut by."""

from __future__ import annotations

import re

# Behind a closing mark where no small letter follows, behind a full-width mark, or between lines.
_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[^\sa-z])|(?<=[。！？])|\n+")


def sentences(text: str) -> list[str]:
    """Sentences and lines of a text, in order, without white space around them.

    An abbreviation may end one ("Dr. Quandt"); nothing is lost by that, since all pieces stay in their order.
    """
    pieces, begin = [], 0
    for end in _END.finditer(text):
        pieces.append(text[begin : end.end()])
        begin = end.end()
    return [piece.strip() for piece in (*pieces, text[begin:]) if piece.strip()]
