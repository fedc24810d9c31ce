"""Documents of every kind that can be read: one file, or all files of a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from everlearn.corpus.document import Document
from everlearn.corpus.lesson_files import SUFFIXES as LESSON_SUFFIXES
from everlearn.errors import FileFormatError

MOST_BYTES = 64 << 20

PLAIN = (".txt", ".text", ".log", ".rst")
MARKDOWN = (".md", ".markdown", ".mdx")
HTML = (".html", ".htm", ".xhtml")
DOCUMENTS = (*PLAIN, *MARKDOWN, *HTML, ".pdf", ".docx")
# Built, fetched or belonging to other programs: nobody means them when they name a folder.
_PASSED_OVER = frozenset({"node_modules", "__pycache__", "venv", "dist", "build", "target"})


def read_document(path: Path) -> Document:
    """Read a document; its kind is told by the ending of its name, else it is read as text.

    Raises:
        FileFormatError: it is no file, empty, too large, of a kind that cannot be read, damaged, encrypted, or has no
            text.
    """
    _check(path)
    document = _reader(path)(path)
    if not any(block.text.strip() for block in document.blocks):
        raise FileFormatError(f"{path} holds no text.", hint="There is nothing to learn from it.")
    return document


def documents_in(folder: Path) -> Iterator[Path]:
    """Files below a folder that may be documents, sorted; hidden ones and those of other programs are left out.

    Raises:
        FileFormatError: the folder cannot be listed.
    """

    def stop(cause: OSError) -> None:
        raise FileFormatError(f"{cause.filename} cannot be listed: {cause.strerror}.", hint="Check its rights.")

    for root, folders, files in os.walk(folder, onerror=stop):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _PASSED_OVER)
        yield from (Path(root, name) for name in sorted(files) if not name.startswith("."))


def is_lesson_file(path: Path) -> bool:
    """Whether a file's name says that it holds lessons, not a text."""
    return path.suffix.lower() in LESSON_SUFFIXES


def _check(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as cause:
        raise FileFormatError(f"{path} cannot be read: {cause.strerror}.", hint="Check its name and rights.") from cause
    if not path.is_file():
        raise FileFormatError(f"{path} is no file.", hint="Name a file or a folder.")
    if size == 0:
        raise FileFormatError(f"{path} is empty.", hint="There is nothing to learn from it.")
    if size > MOST_BYTES:
        raise FileFormatError(f"{path} has {size:,} bytes, at most {MOST_BYTES:,} are read.", hint="Split it.")


def _reader(path: Path) -> Callable[[Path], Document]:
    """The reader of a kind of document; a reader is imported when it is needed."""
    suffix = path.suffix.lower()
    if suffix in MARKDOWN:
        from everlearn.corpus.markdown_documents import read_markdown as reader
    elif suffix in HTML:
        from everlearn.corpus.html_documents import read_html as reader
    elif suffix == ".pdf":
        from everlearn.corpus.pdf_documents import read_pdf as reader
    elif suffix == ".docx":
        from everlearn.corpus.word_documents import read_word as reader
    elif suffix in PLAIN:
        from everlearn.corpus.plain_documents import read_plain as reader
    else:
        return _code_or_text(path)
    return reader


def _code_or_text(path: Path) -> Callable[[Path], Document]:
    from everlearn.corpus.code_documents import is_code, read_code
    from everlearn.corpus.plain_documents import read_plain

    return read_code if is_code(path) else read_plain
