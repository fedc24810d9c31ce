"""Reader of PDF: paragraphs with the numbers of their pages."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from everlearn.corpus.document import Block, Document
from everlearn.errors import FileFormatError

_HYPHEN = re.compile(r"(?<=[^\W\d_])-\n(?=[a-zäöüß])")
_PARAGRAPH = re.compile(r"\n\s*\n")
_FLAWED = (PyPdfError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OSError)


def read_pdf(path: Path) -> Document:
    """Read a PDF file page by page.

    Raises:
        FileFormatError: it cannot be read, is encrypted with a password, or has no text (it was scanned).
    """
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of every flaw that it can mend
    try:
        reader = PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise FileFormatError(f"{path} is encrypted.", hint="Save it without its password, for example: qpdf -d.")
        pages = len(reader.pages)
        title = " ".join(str((reader.metadata and reader.metadata.title) or "").split())
    except FileFormatError:
        raise
    except _FLAWED as cause:
        raise FileFormatError(f"{path} is damaged, or no PDF: {cause}.", hint="Does a viewer open it?") from cause
    blocks: list[Block] = []
    skipped: list[str] = []
    for number in range(1, pages + 1):
        try:
            found = list(_blocks(reader.pages[number - 1].extract_text(), number))
        except _FLAWED as cause:
            skipped.append(f"Page {number} cannot be read: {cause}.")
            continue
        blocks += found
        if not found:
            skipped.append(f"Page {number} has no text.")
    if not blocks:
        raise FileFormatError(
            f"{path} has {pages} page{'s' * (pages != 1)}, none with text; it seems to be scanned.",
            hint="Recognise its text first, for example: ocrmypdf OLD.pdf NEW.pdf",
        )
    return Document(title or path.stem, "page", tuple(blocks), tuple(skipped))


def _blocks(text: str, page: int) -> Iterator[Block]:
    for paragraph in _PARAGRAPH.split(_HYPHEN.sub("", text)):
        joined = " ".join(paragraph.split())
        if joined:
            yield Block(joined, page, page)
