"""Document -> passages: pieces of a size that a model can read with a question, cut where the document itself is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from everlearn.corpus.document import Block, Document
from everlearn.text.sentences import sentences

MOST_TOKENS = 200
OVERLAP_TOKENS = 40
BETWEEN_TITLES = " > "
_LONGEST_TITLE = 300

Count = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document.

    Attributes:
        title: the document's title and the headings above the passage, joined by " > ".
        text: of the passage.
        position: where it stands, such as "page 3" or "lines 10-24".
    """

    title: str
    text: str
    position: str


def passages_of(
    document: Document, count: Count, *, most: int = MOST_TOKENS, overlap: int = OVERLAP_TOKENS
) -> list[Passage]:
    """Cut a document into passages.

    Blocks under the same titles are joined while they fit; a passage never reaches over a heading. Only a block that is
    too long by itself is cut, between its sentences (or lines), and only there do neighbours overlap.

    Args:
        document: as a reader yields it.
        count: tokens of a text.
        most: tokens of a passage.
        overlap: most tokens that a passage repeats of the one before, where a block was cut.
    """
    found = []
    for titles, blocks in groupby(document.blocks, key=lambda block: block.titles):
        pieces = (piece for block in blocks for piece in _cut(block, count, most, overlap))
        for group in _joined(pieces, count, most):
            text = ("\n" if all(block.by_lines for block in group) else "\n\n").join(block.text for block in group)
            found.append(Passage(_title(document.title, titles), text, _position(document, group)))
    return found


def _title(title: str, titles: Sequence[str]) -> str:
    path = [title, *(t for t in titles if t != title)]
    return BETWEEN_TITLES.join(" ".join(each.split()) for each in path if each.strip())[:_LONGEST_TITLE]


def _position(document: Document, group: Sequence[Block]) -> str:
    first, last = group[0].first, max(block.last for block in group)
    return f"{document.unit} {first}" if first == last else f"{document.unit}s {first}-{last}"


def _joined(blocks: Iterator[Block], count: Count, most: int) -> Iterator[list[Block]]:
    """Neighbours together while they fit; pieces of a block that was cut overlap, so they stay alone."""
    group: list[Block] = []
    tokens = 0
    for block in blocks:
        size = count(block.text) + 1
        if group and tokens + size > most:
            yield group
            group, tokens = [], 0
        group.append(block)
        tokens += size
    if group:
        yield group


def _cut(block: Block, count: Count, most: int, overlap: int) -> Iterator[Block]:
    """The block itself where it fits, else pieces of it that do."""
    if count(block.text) < most:
        yield block
        return
    lines = block.text.splitlines() if block.by_lines else sentences(block.text)
    parts = [part for line in lines for part in _fitting(line, count, most)]
    sizes = [count(part) + 1 for part in parts]
    between = "\n" if block.by_lines else " "
    begin = 0
    while begin < len(parts):
        end, tokens = begin, 0
        while end < len(parts) and (end == begin or tokens + sizes[end] < most):
            tokens += sizes[end]
            end += 1
        yield _piece(block, between.join(parts[begin:end]), begin / len(parts), end / len(parts))
        if end == len(parts):
            return
        begin = _overlapping(sizes, begin, end, overlap)


def _overlapping(sizes: Sequence[int], begin: int, end: int, overlap: int) -> int:
    """Where the next piece begins: some parts back, as far as the overlap allows, but always further than before."""
    back, tokens = end, 0
    while back - 1 > begin and tokens + sizes[back - 1] <= overlap:
        back -= 1
        tokens += sizes[back]
    return back


def _piece(block: Block, text: str, begin: float, end: float) -> Block:
    """A part of a block; its lines are known where it is cut by lines, else in proportion."""
    height = block.last - block.first + 1
    first = block.first + int(begin * height)
    return replace(block, text=text, first=first, last=max(first, block.first + round(end * height) - 1))


def _fitting(line: str, count: Count, most: int) -> Iterator[str]:
    """A sentence or line, halved between words (inside one only where there is no other) until each part fits."""
    if count(line) < most or len(line) < 2:
        yield line
        return
    middle = len(line) // 2
    spaces = [n for n in (line.find(" ", middle), line.rfind(" ", 0, middle)) if 0 < n < len(line) - 1]
    at = spaces[0] if spaces else middle
    yield from _fitting(line[:at].rstrip(), count, most)
    yield from _fitting(line[at:].lstrip() if spaces else line[at:], count, most)
