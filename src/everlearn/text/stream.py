"""Streaming decode: tokens come one by one, text goes out as soon as it can no longer change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

_BROKEN = "�"  # what a tokenizer shows for bytes that are not yet a whole character
_CONTEXT = (
    6  # tokens decoded again in front of the new one, so that blanks between tokens come out as in the whole text
)


@final
class TextStream:
    """Turns a growing list of tokens into pieces of text, and ends at stop strings.

    Joined, the pieces equal `decode` of all tokens, cut before the first stop string.

    Args:
        decode: tokens -> text.
        stop: strings that end the text; they are not shown.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = tuple(s for s in stop if s)
        self._ids: list[int] = []
        self._start = 0  # first token that is decoded again
        self._read = 0  # tokens whose text went out
        self._held = ""  # text that may be the beginning of a stop string
        self.stopped = False

    def push(self, token: int) -> str:
        """Take one token; return the text that is now certain (often one word, sometimes nothing)."""
        self._ids.append(token)
        before = self._decode(self._ids[self._start : self._read])
        now = self._decode(self._ids[self._start :])
        if len(now) <= len(before) or now.endswith(_BROKEN):
            return ""
        self._start, self._read = max(self._start, self._read - _CONTEXT), len(self._ids)
        return self._cut(now[len(before) :])

    def finish(self) -> str:
        """No more tokens come: return what was held back."""
        if self.stopped:
            return ""
        before = self._decode(self._ids[self._start : self._read])
        rest = self._decode(self._ids[self._start :])[len(before) :]
        self._read = len(self._ids)
        text = self._cut(rest) + ("" if self.stopped else self._held)
        self._held = ""
        return text

    def _cut(self, text: str) -> str:
        text = self._held + text
        at = min((i for i in (text.find(s) for s in self._stop) if i >= 0), default=-1)
        if at >= 0:
            self.stopped, self._held = True, ""
            return text[:at]
        keep = max((_overlap(text, s) for s in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
