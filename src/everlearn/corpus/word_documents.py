"""Reader of Word documents (.docx): paragraphs and tables under their headings."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import docx
from docx.opc.exceptions import OpcError
from docx.table import Table
from docx.text.paragraph import Paragraph

from everlearn.corpus.document import Block, Document
from everlearn.errors import FileFormatError

_HEADING = re.compile(r"(?:Heading|heading|Überschrift|Titre|Título|Titolo)\s*(\d)")
_MOST_UNPACKED_BYTES = 256 << 20
_OLD_WORD = b"\xd0\xcf\x11\xe0"


def read_word(path: Path) -> Document:
    """Read a .docx file.

    Raises:
        FileFormatError: it cannot be read, is encrypted or of the old form (.doc), or unpacks to more than 256 MiB.
    """
    try:
        _check(path)
        document = docx.Document(str(path))
    except (OSError, OpcError, KeyError, ValueError, zipfile.BadZipFile) as cause:
        raise FileFormatError(f"{path} is damaged, or no .docx: {cause}.", hint="Does Word open it?") from cause
    title = " ".join((document.core_properties.title or "").split())
    blocks: list[Block] = []
    titles: list[tuple[int, str]] = []
    for number, item in enumerate(document.iter_inner_content(), start=1):
        level = _level(item)
        if isinstance(item, Paragraph) and level is not None:
            titles = [each for each in titles if each[0] < level]
            titles += [(level, " ".join(item.text.split()))] if item.text.strip() else []
            continue
        text = item.text.strip() if isinstance(item, Paragraph) else "\n".join(_rows(item))
        if text:
            blocks.append(Block(text, number, number, tuple(n for _, n in titles), by_lines=isinstance(item, Table)))
    return Document(title or path.stem, "paragraph", tuple(blocks))


def _check(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(4) == _OLD_WORD:
            raise FileFormatError(
                f"{path} is encrypted, or in Word's old form.", hint="Save it as .docx without a password."
            )
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(item.file_size for item in archive.infolist())
    if unpacked > _MOST_UNPACKED_BYTES:
        raise FileFormatError(
            f"{path} unpacks to {unpacked:,} bytes, at most {_MOST_UNPACKED_BYTES:,} are read.", hint="Split it."
        )


def _level(item: Paragraph | Table) -> int | None:
    if isinstance(item, Table) or item.style is None or not item.style.name:
        return None
    if item.style.name == "Title":
        return 0
    found = _HEADING.match(item.style.name)
    return int(found[1]) if found else None


def _rows(table: Table) -> Iterator[str]:
    for row in table.rows:
        cells = [" ".join(cell.text.split()) for cell in row.cells]
        if any(cells):
            yield " | ".join(cells)
