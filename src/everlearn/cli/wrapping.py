"""Text that arrives in pieces, wrapped between words as it is written to a terminal."""

from __future__ import annotations

import re
from typing import TextIO, final

from rich.cells import cell_len

from everlearn.cli.screen import visible

_RUNS = re.compile(r"\n|[^\S\n]+|\S+")
LONGEST_HELD = 24  # cells; a longer run without a space (an address, Chinese) is not waited for


@final
class WrappedWriter:
    """Writes pieces to a terminal; a word is held back until it is complete, so that it is never broken.

    Args:
        stream: where to write.
        width: cells of a line.
    """

    def __init__(self, stream: TextIO, width: int) -> None:
        self._stream = stream
        self._width = width
        self._column = 0
        self._space = ""
        self._held = ""

    def write(self, piece: str) -> None:
        """Take a piece of text."""
        runs = _RUNS.findall(self._held + visible(piece))
        waits = bool(runs) and not runs[-1].isspace() and cell_len(runs[-1]) <= LONGEST_HELD
        self._held = runs.pop() if waits else ""
        for run in runs:
            self._put(run)
        self._stream.flush()

    def close(self) -> None:
        """Write what is held back, and end the line."""
        self._put(self._held)
        self._held = ""
        self._stream.write("\n")
        self._stream.flush()

    def _put(self, run: str) -> None:
        if run == "\n":
            self._stream.write(run)
            self._column, self._space = 0, ""
        elif run.isspace():
            self._space += run.expandtabs(4)
        elif self._column and self._column + cell_len(self._space + run) > self._width:
            self._stream.write("\n" + run)
            self._column, self._space = cell_len(run), ""
        else:
            self._stream.write(self._space + run)
            self._column, self._space = self._column + cell_len(self._space + run), ""
