"""A streamed answer: pieces of text as they come, the whole answer at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import final

from everlearn.engine.row import Row
from everlearn.records import Answer


@final
class Trim:
    """White space is held back until something follows it, as the answer's text has none at its ends."""

    def __init__(self) -> None:
        self._blank = ""
        self._begun = False

    def __call__(self, piece: str) -> str:
        """What of the text so far may be shown now, and was not yet."""
        piece = self._blank + piece
        if not self._begun:
            piece = piece.lstrip()
        visible = piece.rstrip()
        self._blank = piece[len(visible) :]
        self._begun = self._begun or bool(visible)
        return visible


@final
class Stream:
    """Iterate it for pieces of text; they join to `answer.text`. Stopping early, by `cancel` or by closing it, is safe.

    Args:
        row: the running answer.
        steps: yields (row, piece); driving it does the work.
        finish: called once at the end, makes the Answer of the whole text.
    """

    def __init__(self, row: Row, steps: Iterator[tuple[Row, str]], finish: Callable[[str], Answer]) -> None:
        self._row = row
        self._steps = steps
        self._finish = finish
        self._pieces: list[str] = []
        self._trim = Trim()
        self._answer: Answer | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            for _, text in self._steps:
                piece = self._trim(text)
                if piece:
                    self._pieces.append(piece)
                    return piece
        except BaseException:  # also Ctrl-C: the caller may close the stream and keep what was said
            self._row.broken = True
            raise
        self._close()
        raise StopIteration

    def cancel(self) -> None:
        """End the answer before its next token; from any thread. What was said so far stays."""
        self._row.cancel()

    def close(self) -> None:
        """Stop now and make the answer of what was said so far."""
        if self._row.finish is None:
            self._row.finish = "cancelled"
        self._close()

    @property
    def answer(self) -> Answer:
        """The whole answer; drives the stream to its end where it has not got there yet."""
        for _ in self:
            pass
        assert self._answer is not None
        return self._answer

    def _close(self) -> None:
        if self._answer is None:
            close = getattr(self._steps, "close", None)
            if close is not None:
                close()
            self._answer = self._finish("".join(self._pieces))
