"""Text to train on, in blocks that can be read in any order: nothing is read before it is needed.

A block is a stretch of bytes of a text or JSONL file, or a group of rows of a Parquet file. Where blocks lie follows
from the sizes of the files alone, so a plan over many gigabytes is made in a moment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from everlearn.errors import FileFormatError, InputError, SettingsError

Kind = Literal["text", "jsonl", "parquet"]

BLOCK_BYTES = 1 << 18
LEAST_BLOCK = 1 << 12
MOST_LINE = 1 << 24  # bytes; a longer line is no text that was written by anybody
_KINDS: dict[str, Kind] = {
    ".txt": "text", ".text": "text", ".md": "text",
    ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".parquet": "parquet",
}  # fmt: skip
_HEAD = 1 << 16
_NOT_TEXT = {
    b"PK\x03\x04": "a zip archive or an office document", b"\x1f\x8b": "a gzip archive", b"%PDF": "a PDF document",
    b"SQLite format 3": "a database", b"\x89PNG": "an image", b"\xff\xd8\xff": "an image",
}  # fmt: skip
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a file.

    Attributes:
        path: of the file.
        kind: how it is read.
        begin, end: bytes; of a Parquet file, groups of rows. Lines that begin in [begin, end) belong to it.
    """

    path: Path
    kind: Kind
    begin: int
    end: int

    @property
    def name(self) -> str:
        """Names the block and the state of its file, for what is derived from it."""
        stat = self.path.stat()
        return f"{self.path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{self.begin}|{self.end}"


def training_files(paths: Sequence[Path]) -> list[Path]:
    """The files that are meant by files and folders, in order; each once.

    Raises:
        InputError: nothing is there, or nothing that can be read.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in _KINDS and p.is_file()]
            if not inside:
                raise InputError(f"The folder {path} holds no text.", hint=f"Read are {', '.join(_KINDS)}.")
            found.update(dict.fromkeys(inside))
        elif path.is_file():
            found[path] = None
        else:
            raise InputError(f"There is no file or folder {path}.", hint="Check the path.")
    if not found:
        raise InputError("There is nothing to train on.", hint="Name files or folders with --data.")
    return list(found)


def blocks_of(files: Sequence[Path], block_bytes: int | None = None) -> list[Block]:
    """All blocks of some files, in order; empty files have none.

    Args:
        files: of any of the kinds; a file of another ending is read as text.
        block_bytes: of each block; None = 256 KiB, and less where there is little text.

    Raises:
        InputError: all files are empty.
        FileFormatError: a file is no text.
    """
    sizes = {path: path.stat().st_size for path in files}
    total = sum(sizes.values())
    if not total:
        raise InputError(
            f"{_files(len(files))} to train on {'is' if len(files) == 1 else 'are'} empty.", hint="Give some text."
        )
    wanted = block_bytes or max(min(BLOCK_BYTES, total // 64), LEAST_BLOCK)
    blocks: list[Block] = []
    for path, size in sizes.items():
        kind = _KINDS.get(path.suffix.lower(), "text")
        if kind == "parquet":
            blocks += [Block(path, kind, n, n + 1) for n in range(_parquet(path).metadata.num_row_groups)]
        elif size:
            _check_head(path)
            blocks += [Block(path, kind, begin, min(begin + wanted, size)) for begin in range(0, size, wanted)]
    if not blocks:
        raise InputError("The files to train on hold no rows.", hint="Give some text.")
    return blocks


def documents_in(block: Block, field: str = "text") -> Iterator[str]:
    """The documents, or the part of a document, that a block holds; those without any text are left out.

    Args:
        block: what to read.
        field: of JSONL and Parquet: where the text stands.

    Raises:
        FileFormatError: the file is damaged, no UTF-8, or has no such field; the message says where.
    """
    if block.kind == "text":
        texts: Iterator[str] = iter(["".join(text for _, text in _lines(block))])
    elif block.kind == "jsonl":
        texts = (_field_of(block.path, at, line, field) for at, line in _lines(block) if line.strip())
    else:
        texts = _parquet_texts(block, field)
    yield from (text for text in texts if text.strip())


def _lines(block: Block) -> Iterator[tuple[int, str]]:
    """Lines that begin in the block, each with its byte position."""
    try:
        with block.path.open("rb") as file:
            at = block.begin
            if at:
                file.seek(at - 1)  # a line that begins exactly at `begin` is preceded by the end of another one
                at += len(_bounded(file.readline(MOST_LINE), block.path)) - 1
            while at < block.end and (line := _bounded(file.readline(MOST_LINE), block.path)):
                yield at, _decoded(block.path, at, line)
                at += len(line)
    except OSError as cause:
        raise FileFormatError(f"{block.path} cannot be read: {cause.strerror}.", hint="Check its rights.") from cause


def _bounded(line: bytes, path: Path) -> bytes:
    if len(line) == MOST_LINE and not line.endswith(b"\n"):
        raise FileFormatError(f"{path} has a line of more than {MOST_LINE:,} bytes.", hint="Is it a text?")
    return line


def _decoded(path: Path, at: int, line: bytes) -> str:
    line = line.removeprefix(_MARK) if at == 0 else line
    try:
        return line.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as cause:
        raise FileFormatError(
            f"{path} is not UTF-8: byte 0x{line[cause.start]:02X} at position {at + cause.start:,}.",
            hint="Save it as UTF-8, for example: iconv -f latin1 -t utf-8 OLD > NEW.",
        ) from cause


def _field_of(path: Path, at: int, line: str, field: str) -> str:
    try:
        row = json.loads(line)
    except ValueError as cause:
        raise FileFormatError(f"{path} holds no JSON at byte {at:,}: {cause}.", hint="One object a line.") from cause
    if not isinstance(row, dict) or not isinstance(row.get(field), str):
        names = ", ".join(sorted(map(str, row)))[:200] if isinstance(row, dict) else type(row).__name__
        raise FileFormatError(
            f"{path} has no text in the field {field!r} at byte {at:,}; there is: {names}.",
            hint="Name the field with --field.",
        )
    return str(row[field])


def _check_head(path: Path) -> None:
    """Refuses what is no text before a training has begun."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for magic, what in _NOT_TEXT.items():
        if head.startswith(magic):
            raise FileFormatError(f"{path} is {what}, wanted a text.", hint="Take its text out of it first.")
    if b"\x00" in head:
        raise FileFormatError(
            f"{path} is not text: the byte at position {head.index(0):,} is NUL.", hint="Save it as UTF-8."
        )
    whole = head if len(head) < _HEAD else head[: head.rfind(b"\n") + 1] or head[:-4]
    _decoded(path, 0, whole)


def _parquet(path: Path) -> Any:  # noqa: ANN401  pyarrow has no types
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError as cause:
        raise SettingsError("Parquet files need pyarrow.", hint="pip install 'everlearn[train]'") from cause
    try:
        return ParquetFile(path)
    except (ArrowInvalid, OSError) as cause:
        raise FileFormatError(f"{path} is no Parquet file: {cause}.", hint="Copy it again.") from cause


def _parquet_texts(block: Block, field: str) -> Iterator[str]:
    file = _parquet(block.path)
    if field not in file.schema_arrow.names:
        raise FileFormatError(
            f"{block.path} has no column {field!r}; there is: {', '.join(file.schema_arrow.names)}.",
            hint="Name the column with --field.",
        )
    for batch in file.iter_batches(row_groups=list(range(block.begin, block.end)), columns=[field]):
        yield from (str(text) for text in batch.column(0).to_pylist() if text is not None)


def _files(count: int) -> str:
    return "The file" if count == 1 else f"All {count} files"
