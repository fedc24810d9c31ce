"""Files of lessons that everlearn wrote: noted when written, so that forgetting reaches them too."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path

from everlearn.corpus.lesson_files import read_rows, write_rows
from everlearn.errors import EverlearnError, StoreError
from everlearn.learning import checkpoint
from everlearn.records import Backup, BackupPolicy

LEDGER = "backups.jsonl"


def note(folder: Path | None, path: Path, kind: str) -> None:
    """Note that a file of lessons was written; the note is on disk when this returns.

    Raises:
        StoreError: it cannot be written.
    """
    if folder is None:
        return
    line = json.dumps({"path": str(path.absolute()), "kind": kind, "written_at": datetime.now(UTC).isoformat()})
    try:
        with (folder / LEDGER).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as cause:
        raise StoreError(
            f"{path} was written, but cannot be noted in {folder / LEDGER}: {cause.strerror}.",
            hint="Forgetting will not reach that file; keep it in mind.",
        ) from cause


def listed(folder: Path | None) -> list[Backup]:
    """Files of lessons that everlearn wrote and that are still there, each once, oldest first."""
    ledger = None if folder is None else folder / LEDGER
    if ledger is None or not ledger.exists():
        return []
    rows = [json.loads(line) for line in ledger.read_text("utf-8").splitlines() if line.endswith("}")]
    found = {row["path"]: Backup(row["path"], row["kind"]) for row in rows}
    return [backup for backup in found.values() if Path(backup.path).exists()]


def holding(folder: Path | None, ids: Collection[str]) -> list[Backup]:
    """Those that have any of these lesson ids in them."""
    wanted = [lesson_id.encode() for lesson_id in ids]
    return [backup for backup in listed(folder) if _holds(Path(backup.path), wanted)]


def without(folder: Path | None, ids: Collection[str], policy: BackupPolicy) -> tuple[Backup, ...]:
    """Take lessons out of the files that hold them, by policy. Files outside the folder are only named.

    Raises:
        EverlearnError: a file cannot be read or written; those before it are done.
    """
    return tuple(_treated(folder, backup, ids, policy) for backup in holding(folder, ids))


def _treated(folder: Path | None, backup: Backup, ids: Collection[str], policy: BackupPolicy) -> Backup:
    path = Path(backup.path)
    if policy == "keep" or folder is None or not path.resolve().is_relative_to(folder.resolve()):
        return backup
    if policy == "remove":
        _remove(path)
        return dataclasses.replace(backup, action="removed")
    try:
        if backup.kind == "checkpoint" and checkpoint.is_archive(path):
            from everlearn.learning import checkpoint_archive  # its adapters need torch, which lessons alone do not

            checkpoint_archive.rewrite_without(path, ids)
        elif backup.kind == "checkpoint":
            checkpoint.rewrite_without(path, ids)
        else:
            write_rows(path, (row for row in read_rows(path) if row.get("id") not in ids))
    except EverlearnError as error:
        error.hint = "Nothing was forgotten yet. Mend or delete that file, or choose the policy: backups = remove."
        raise
    return dataclasses.replace(backup, action="rewritten")


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as cause:
        raise StoreError(f"{path} cannot be removed: {cause.strerror}.", hint="Nothing was forgotten yet.") from cause


def _holds(path: Path, wanted: Iterable[bytes]) -> bool:
    data = path.read_bytes()
    return any(lesson_id in data for lesson_id in wanted)
