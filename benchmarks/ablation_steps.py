"""Pieces of a long measurement that are noted as they are found."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from everlearn.evaluation.edits import Edit, read_edits
from everlearn.evaluation.journal import Journal


def noted(journal: Journal, name: str, make: Callable[[], Any]) -> Any:  # noqa: ANN401 -- what JSON holds
    """One piece: what an earlier attempt noted, or else made now and noted."""
    found = next((r["value"] for r in journal.of("piece") if r["name"] == name), None)
    if found is None:
        found = make()
        journal.append("piece", name=name, value=found)
    print(f"\r{name:60}", end="", flush=True)
    return found


def sample(path: Path, args: argparse.Namespace, fits: Callable[[Edit], bool] = lambda _: True) -> list[Edit]:
    """Edits of a file drawn by the seed, among those that fit."""
    edits = [edit for edit in read_edits(path) if fits(edit)]
    return random.Random(args.seed).sample(edits, min(args.sample, len(edits)))
