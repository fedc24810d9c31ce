"""Where a sleep leaves what it leaves beside the adapter: names alone, so that forgetting needs no training library."""

from __future__ import annotations

from pathlib import Path

from everlearn.specialists.adapter import Adapter

REPLAY, VERDICTS = "replay.jsonl", "verdicts.jsonl"


def anchor_path(folder: Path, adapter: Adapter) -> Path:
    """Where the anchor of a version lies."""
    return folder / adapter.name / f"anchor-{adapter.step}.safetensors"
