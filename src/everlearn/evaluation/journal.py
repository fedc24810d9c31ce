"""What a long measurement has found so far, on disk, so that it goes on after it was killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, final

from everlearn.errors import FileFormatError, StoreError

Record = Mapping[str, Any]


@final
class Journal:
    """JSON Lines that are only ever added to. A record is there as a whole or not at all.

    A killed process can leave the beginning of its last record; that is cut off when the journal is opened again.

    Args:
        path: the file, or None to keep everything in memory only.
        restart: begin anew, whatever the file holds.

    Raises:
        FileFormatError: a line that is not the last one is damaged.
        StoreError: the file cannot be read or written.
    """

    def __init__(self, path: Path | None, *, restart: bool = False) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._records: list[Record] = []
        if path is not None:
            try:
                self._file = self._opened(path, restart)
            except OSError as error:
                raise self._unusable(error) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def of(self, kind: str) -> Iterator[Record]:
        """All records of a kind, oldest first."""
        return (record for record in tuple(self._records) if record.get("kind") == kind)

    def append(self, kind: str, **values: Any) -> None:  # noqa: ANN401 -- whatever JSON can hold
        """Add a record; it is on disk when this returns.

        Raises:
            StoreError: the file cannot be written.
        """
        record = {"kind": kind, **values}
        # ASCII, so that any text (lone surrogates too) comes back as it was.
        line = (json.dumps(record, ensure_ascii=True) + "\n").encode("ascii")
        if self._file is not None:
            try:
                self._file.write(line)
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise self._unusable(error) from error
        self._records.append(record)

    def clear(self) -> None:
        """Forget everything found so far."""
        self._records.clear()
        if self._file is not None:
            self._file.truncate(0)
            self._file.seek(0)

    def _opened(self, path: Path, restart: bool) -> BinaryIO:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = path.read_bytes() if path.exists() and not restart else b""
        whole = found[: found.rfind(b"\n") + 1]
        self._records = [self._parsed(line, number) for number, line in enumerate(whole.splitlines(), start=1)]
        file = path.open("r+b" if path.exists() else "w+b")
        file.truncate(len(whole))
        file.seek(len(whole))
        return file

    def _parsed(self, line: bytes, number: int) -> Record:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise FileFormatError(
                f"{self._path}, line {number} is damaged.", hint="Start the measurement anew (--restart)."
            )
        return record

    def _unusable(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self._path} cannot be used: {error.strerror}.",
            hint="Give another folder for the state of the measurement.",
        )
