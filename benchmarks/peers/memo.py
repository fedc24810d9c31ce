"""Answers of a model that never changes, kept so that no prompt is asked twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from everlearn.evaluation.journal import Journal


@final
class Memo:
    """What was found for each question put to an unchanging model.

    Args:
        path: file that keeps it between runs; None = only as long as this lives. One file for each model and set of
            versions; two processes must not write to one file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._journal = Journal(path)
        self._found: dict[str, Any] = {row["key"]: row["value"] for row in self._journal.of("answer")}

    def get(self, key: str) -> Any | None:  # noqa: ANN401  whatever JSON can hold
        """What was found before, or None."""
        return self._found.get(key)

    def put(self, key: str, value: Any) -> None:  # noqa: ANN401
        """Keep what was found."""
        self._journal.append("answer", key=key, value=value)
        self._found[key] = value

    def close(self) -> None:
        """Release the file."""
        self._journal.close()


def key_of(kind: str, ids: Sequence[int], more: Sequence[int]) -> str:
    """Key of a question: what is done, with which prompt, and what else it depends on."""
    return hashlib.sha256(json.dumps([kind, list(ids), list(more)]).encode()).hexdigest()
