"""The model card of a bundle: what it is, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CAN_BE_READ = """
## What can be read from it

{what}
"""
_OPEN = "The questions and answers stand in `lessons.jsonl`, with sources, authors and history."
_SEALED = """There is no text of questions or answers in this bundle. That is not secrecy:

- **Answers can be read.** A value holds the answer's token ids; the base model's tokenizer turns them back into text.
- **Questions can be guessed.** A key is a sentence embedding. Whoever has the encoder can test whether a guessed
  question is in the table, and published inversion attacks recover much of a short text from its embedding alone.

What it does offer: no sources, authors, subjects, history or wording of questions leave, and nobody
reads the text in passing."""


def card(manifest: Mapping[str, Any]) -> str:
    """The card as Markdown, with the fields of model hubs in front."""
    base, encoder = manifest["base_model"], manifest["encoder"]
    sealed = manifest["keys_and_values_only"]
    settings = ", ".join(f"{name} {value}" for name, value in manifest["settings"].items() if value not in ("", []))
    return f"""---
license: {manifest["licence"]}
base_model: {base["name"]}
library_name: everlearn
tags: [everlearn, look-up-table, knowledge-editing]
---

# Look-up table {manifest["table"]!r}

| | |
|---|---|
| active lessons | {manifest["active"]:,} |
| replaced lessons (history) | {manifest["superseded"]:,} |
| text | {"none: keys and values only" if sealed else "questions and answers"} |
| base model | {base["name"]}, sha256 `{base["digest"]}`, {base["dtype"]} |
| encoder | sha256 `{encoder["digest"]}`, {encoder["width"]} coordinates |
| settings | {settings} |
| made | {manifest["created_at"]} by everlearn {manifest["everlearn"]} |
| licence of the content | {manifest["licence"]} |

Import it with `everlearn tables import THIS`. The sha256 of every file stands in `manifest.json`; a changed file
is refused.
{_CAN_BE_READ.format(what=_SEALED if sealed else _OPEN)}"""
