"""Reader of plain text: paragraphs between blank lines, with the numbers of their lines."""

from __future__ import annotations

from pathlib import Path

from everlearn.corpus.document import Block, Document
from everlearn.corpus.text_lines import text_lines


def read_plain(path: Path) -> Document:
    """Read a text file.

    Raises:
        FileFormatError: it cannot be read, or is no text.
    """
    return plain_document("".join(text_lines(path)), title=path.stem)


def plain_document(text: str, *, title: str) -> Document:
    """A text as a document whose blocks are its paragraphs."""
    blocks: list[Block] = []
    held: list[str] = []
    lines = text.splitlines()
    for number, line in enumerate([*lines, ""], start=1):
        if line.strip():
            held.append(line.rstrip())
        elif held:
            blocks.append(Block("\n".join(held), number - len(held), number - 1))
            held = []
    return Document(title, "line", tuple(blocks))
