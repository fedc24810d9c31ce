"""Bytes of a text file -> its lines, in constant memory; a byte that is no text is named by its position."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from everlearn.errors import FileFormatError

CHUNK_BYTES = 1 << 16
MAX_LINE_CHARACTERS = 1 << 22

# Longest first: the mark of UTF-32 little-endian begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NOT_TEXT = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "Unpack it; save a sheet as CSV (UTF-8)."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it with gunzip."),
    (b"%PDF", "a PDF document", "Lessons come as JSONL, CSV or TSV."),
    (b"SQLite format 3\x00", "a database", "Write its lessons with `everlearn lessons export`."),
)


def text_lines(path: Path) -> Iterator[str]:
    r"""Lines of a text file, each with its end. Only "\n" ends a line: others may stand inside a quoted field.

    Args:
        path: of a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.

    Raises:
        FileFormatError: there is no such file, it is not text, or a line is longer than 4 million characters.
    """
    try:
        file = path.open("rb")
    except OSError as cause:
        raise FileFormatError(f"{path} cannot be read: {cause.strerror}.", hint="Check its name and rights.") from cause
    with file:
        yield from _joined(path, _decoded(path, file))


def _decoded(path: Path, file: BinaryIO) -> Iterator[str]:
    """Pieces of text, as they are decoded."""
    head = file.read(CHUNK_BYTES)
    mark, encoding = next(((m, e) for m, e in _MARKS if head.startswith(m)), (b"", "utf-8"))
    _refuse_other_formats(path, head, marked=bool(mark))
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    chunk, end = head[len(mark) :], len(head)
    while True:
        try:
            yield decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as cause:
            raise _not_encoded(path, encoding, cause, end) from cause
        if not chunk:
            return
        chunk = file.read(CHUNK_BYTES)
        end += len(chunk)


def _refuse_other_formats(path: Path, head: bytes, *, marked: bool) -> None:
    for magic, name, hint in _NOT_TEXT:
        if head.startswith(magic):
            raise FileFormatError(f"{path} is {name}, wanted a text file of lessons.", hint=hint)
    if not marked and b"\x00" in head:
        raise FileFormatError(
            f"{path} is not text: the byte at position {head.index(0):,} is NUL.",
            hint="Save it as UTF-8; UTF-16 is read where the file begins with a byte order mark.",
        )


def _not_encoded(path: Path, encoding: str, cause: UnicodeDecodeError, end: int) -> FileFormatError:
    """The error for bytes that are not in the encoding; `end`: bytes of the file that were read so far."""
    position = end - len(cause.object) + cause.start
    bad = " ".join(f"0x{byte:02X}" for byte in cause.object[cause.start : cause.end])
    return FileFormatError(
        f"{path} is not {encoding.upper()}: {bad} at byte position {position:,} ({cause.reason}).",
        hint="Save it as UTF-8, for example: iconv -f latin1 -t utf-8 OLD > NEW.",
    )


def _joined(path: Path, pieces: Iterator[str]) -> Iterator[str]:
    rest = ""
    for piece in pieces:
        lines = (rest + piece).split("\n")
        rest = lines.pop()
        yield from (line + "\n" for line in lines)
        if len(rest) > MAX_LINE_CHARACTERS:
            raise FileFormatError(
                f"{path} has a line of more than {MAX_LINE_CHARACTERS:,} characters.",
                hint="Is every lesson on a line of its own?",
            )
    if rest:
        yield rest
