"""Training files of fine-tuning, in OpenAI's form, as examples."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from everlearn.errors import InputError, StoreFullError
from everlearn.learning.distilling import TRAIN, VALIDATION
from everlearn.learning.examples import Example

LEAST, MOST = 2, 100_000
_HELD_OUT = 10  # one in so many, where no validation file is given


def read_examples(content: bytes, name: str, domain: str) -> list[Example]:
    """Examples of a JSON Lines file: `messages` that are one question and its answer, or `prompt` and `completion`.

    Raises:
        InputError: a line that is neither; the message names the first.
    """
    found = []
    for number, row in enumerate(content.splitlines(), 1):
        if row.strip():
            try:
                prompt, answer = _pair(json.loads(row))
            except (ValueError, RecursionError) as cause:
                why = str(cause) if isinstance(cause, InputError) else "it is no JSON."
                raise InputError(
                    f"{name}, line {number}: {why}", hint="Mend the line and upload the file again."
                ) from cause
            found.append(Example(prompt, answer, domain, source=f"{name}:{number}"))
    if not LEAST <= len(found) <= MOST:
        raise InputError(f"{name} holds {len(found):,} examples.", hint=f"Wanted: {LEAST} to {MOST:,}.")
    return found


def parted(train: list[Example], validation: list[Example]) -> tuple[list[Example], list[Example]]:
    """Examples to train on and to judge by: one in ten is held out where nothing was given to judge by."""
    if validation:
        return train, validation
    held_out = train[_HELD_OUT - 1 :: _HELD_OUT] or train[-1:]
    return [example for example in train if example not in held_out], held_out


def write(folder: Path, train: list[Example], validation: list[Example]) -> None:
    """Put them where the trainer reads them.

    Raises:
        StoreFullError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, examples in ((TRAIN, train), (VALIDATION, validation)):
            part = folder / f".{name}.part"
            with part.open("w", encoding="utf-8") as out:
                out.writelines(f"{json.dumps(e.to_row(), ensure_ascii=False)}\n" for e in examples)
                out.flush()
                os.fsync(out.fileno())
            part.replace(folder / name)
    except OSError as cause:
        raise StoreFullError(f"{folder} cannot be written: {cause}.", hint="Free some room.") from cause


def _pair(row: object) -> tuple[str, str]:
    if not isinstance(row, Mapping):
        raise InputError("it is no object.")
    if "messages" not in row:
        return _text(row, "prompt"), _text(row, "completion")
    messages = row["messages"]
    roles = [m.get("role") for m in messages if isinstance(m, Mapping)] if isinstance(messages, list) else []
    if roles != ["user", "assistant"]:
        raise InputError(f"its messages are from {roles}; this trainer learns one question and its answer.")
    return _text(messages[0], "content"), _text(messages[1], "content")


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name} is no text, or empty.")
    return value
