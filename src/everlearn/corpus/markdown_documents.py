"""Reader of Markdown: blocks under their headings, with the numbers of their lines.

Source: CommonMark, parsed by markdown-it-py; its tokens know their lines, so the text is taken from the source.
"""

from __future__ import annotations

from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from everlearn.corpus.document import Block, Document
from everlearn.corpus.text_lines import text_lines

_BY_LINES = frozenset({"fence", "code_block", "table_open", "bullet_list_open", "ordered_list_open"})
_FRONT_MATTER = "---"


def read_markdown(path: Path) -> Document:
    """Read a Markdown file.

    Raises:
        FileFormatError: it cannot be read, or is no text.
    """
    return markdown_document("".join(text_lines(path)), title=path.stem)


def markdown_document(text: str, *, title: str) -> Document:
    """A text with Markdown as a document; a single heading of the first level at its top is its title."""
    lines = text.splitlines()
    skipped = _front_matter(lines)
    parser = MarkdownIt("commonmark").enable("table")
    tokens = parser.parse("\n".join([""] * skipped + lines[skipped:]))
    blocks: list[Block] = []
    titles: list[tuple[int, str]] = []
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.level or token.map is None or token.nesting < 0 or token.type == "hr":
            continue
        if token.type == "heading_open":
            level = int(token.tag[1:])
            titles = [each for each in titles if each[0] < level]
            titles.append((level, _plain(following)))
            continue
        block = _block(token, lines, tuple(name for _, name in titles))
        if block is not None:
            blocks.append(block)
    return Document(_title(tokens, title), "line", tuple(blocks))


def _block(token: Token, lines: list[str], titles: tuple[str, ...]) -> Block | None:
    assert token.map is not None
    begin, end = token.map
    while end > begin and not lines[end - 1].strip():
        end -= 1
    text = "\n".join(lines[begin:end])
    if token.type == "html_block" and text.lstrip().startswith("<!--"):
        return None
    return Block(text, begin + 1, end, titles, by_lines=token.type in _BY_LINES) if text.strip() else None


def _plain(token: Token | None) -> str:
    """Text of an inline token without its marks."""
    if token is None or token.children is None:
        return ""
    return "".join(child.content for child in token.children if child.type in ("text", "code_inline"))


def _title(tokens: list[Token], title: str) -> str:
    first = next((n for n, token in enumerate(tokens) if token.type == "heading_open"), None)
    return _plain(tokens[first + 1]) or title if first is not None and tokens[first].tag == "h1" else title


def _front_matter(lines: list[str]) -> int:
    """How many lines at the top are settings between two "---", not text."""
    if not lines or lines[0].strip() != _FRONT_MATTER:
        return 0
    end = next((n for n, line in enumerate(lines[1:100], start=1) if line.strip() == _FRONT_MATTER), -1)
    return end + 1
