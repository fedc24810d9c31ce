"""What a reader of documents yields: blocks of text, each with the titles above it and the place where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["line", "page", "paragraph"]


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, a list, a table, a function: what is cut only where it is too long by itself.

    Attributes:
        text: of the block.
        first: number of the line, page or paragraph that it begins at, from 1.
        last: the same of its end.
        titles: headings, classes and functions that it stands under, the outermost first.
        by_lines: it is cut between lines, not between sentences: code, tables, lists.
    """

    text: str
    first: int
    last: int
    titles: tuple[str, ...] = ()
    by_lines: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """A document as read.

    Attributes:
        title: its own title, or the name of its file.
        unit: what `first` and `last` of its blocks count.
        blocks: in reading order.
        skipped: what could not be read of it, as sentences (a page without text).
    """

    title: str
    unit: Unit
    blocks: tuple[Block, ...]
    skipped: tuple[str, ...] = ()
