"""Reader of HTML: the text that a person would read, under its headings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lxml import html
from lxml.etree import LxmlError

from everlearn.corpus.document import Block, Document
from everlearn.errors import FileFormatError

_HEADINGS = {f"h{n}": n for n in range(1, 7)}
_UNREAD = frozenset({"script", "style", "noscript", "template", "nav", "footer", "svg", "form", "iframe", "head"})
# These hold text; everything else is looked through for them.
_LEAVES = frozenset({"p", "pre", "blockquote", "table", "ul", "ol", "dl", "figcaption", "address", "summary"})
_ROWS = {"table": "tr", "ul": "li", "ol": "li"}


def read_html(path: Path) -> Document:
    """Read an HTML file; its encoding is the one that it declares, else UTF-8.

    Raises:
        FileFormatError: it cannot be read, or holds no document.
    """
    try:
        data = path.read_bytes()
    except OSError as cause:
        raise FileFormatError(f"{path} cannot be read: {cause.strerror}.", hint="Check its name and rights.") from cause
    if b"\x00" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FileFormatError(f"{path} is not HTML: it holds NUL bytes.", hint="Is it another kind of file?")
    try:
        root = html.document_fromstring(data, parser=html.HTMLParser(encoding=_encoding(data), huge_tree=False))
    except (LxmlError, ValueError) as cause:
        raise FileFormatError(f"{path} cannot be read as HTML: {cause}.", hint="Open it in a browser first.") from cause
    title = " ".join((root.findtext(".//title") or "").split())
    return Document(title or path.stem, "paragraph", tuple(_blocks(root)))


def _encoding(data: bytes) -> str | None:
    """The encoding to read with; None where the file itself declares one."""
    if b"charset" in data[:2048].lower() or data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return None
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return None  # as browsers do, libxml2 falls back to Latin-1
    return "utf-8"


def _blocks(root: Any) -> Iterator[Block]:  # noqa: ANN401 -- elements of lxml have no types
    titles: list[tuple[int, str]] = []
    number = 0
    for kind, text in _texts(root.find("body") if root.find("body") is not None else root):
        if kind in _HEADINGS:
            titles = [each for each in titles if each[0] < _HEADINGS[kind]]
            titles.append((_HEADINGS[kind], " ".join(text.split())))
            continue
        number += 1
        path = tuple(name for _, name in titles)
        yield Block(text, number, number, path, by_lines=kind in ("pre", *_ROWS))


def _texts(element: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """(tag, text) of each block of text below an element, in reading order; loose text counts as a paragraph."""
    loose = [element.text or ""]
    for child in element:
        tag = child.tag if isinstance(child.tag, str) else ""
        inline = tag and tag not in _UNREAD and not _holds_blocks(child)
        if inline and tag not in _LEAVES and tag not in _HEADINGS and tag not in ("div", "section", "article", "main"):
            loose.append(child.text_content())
        elif tag and tag not in _UNREAD:
            yield from _paragraph(loose)
            loose = []
            yield from [(tag, _text(child, tag))] if tag in _LEAVES or tag in _HEADINGS else _texts(child)
        loose.append(child.tail or "")
    yield from _paragraph(loose)


def _holds_blocks(element: Any) -> bool:  # noqa: ANN401
    return any(isinstance(e.tag, str) and (e.tag in _LEAVES or e.tag in _HEADINGS) for e in element.iterdescendants())


def _paragraph(pieces: list[str]) -> Iterator[tuple[str, str]]:
    text = " ".join("".join(pieces).split())
    if text:
        yield "p", text


def _text(element: Any, tag: str) -> str:  # noqa: ANN401
    for unread in element.xpath(".//script|.//style"):
        unread.drop_tree()
    if tag == "pre":
        return str(element.text_content()).strip("\n")
    if tag == "table":
        rows = ([" ".join(c.text_content().split()) for c in row.xpath("./td|./th")] for row in element.iter("tr"))
        return "\n".join(" | ".join(cells) for cells in rows if any(cells))
    if tag in _ROWS:
        return "\n".join(f"- {' '.join(item.text_content().split())}" for item in element.iter("li"))
    return " ".join(element.text_content().split())
