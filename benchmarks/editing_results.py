"""Result files of the editing benchmarks, as the page needs them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from everlearn.errors import FileFormatError

METHODS = ("everlearn", "grace", "lora-each", "lora-batch", "retrieval-1", "retrieval-3", "bare")
PROTOCOLS = ("wild", "teacher-forced")
SETS: dict[str, tuple[int, ...]] = {
    "zsre": (1, 10, 100, 1000, 1304),
    "counterfact": (1, 10, 100, 1000, 10000),
    "qaedit": (1, 10, 100, 472),
    "hallucination": (1, 10, 100, 306),
}
MEASURES = ("reliability", "generality", "locality")
Result = Mapping[str, Any]
Key = tuple[str, int, str, str]


@final
@dataclass(frozen=True, slots=True)
class Grid:
    """Cells of the grid that were measured.

    Attributes:
        cells: (set, edits, method, protocol) -> result.
    """

    cells: Mapping[Key, Result]

    def cell(self, name: str, edits: int, method: str, protocol: str) -> Result | None:
        """A result, or None where it was not run."""
        return self.cells.get((name, edits, method, protocol))

    def edits_of(self, name: str) -> list[int]:
        """Numbers of edits of a set: those planned, and any others that were measured."""
        return sorted({*SETS.get(name, ()), *(edits for found, edits, _, _ in self.cells if found == name)})

    def line(self, name: str, method: str, measure: str, protocol: str = "wild") -> list[tuple[int, float]]:
        """(edits, value) of a measure, where it was run."""
        found = [(n, self.cell(name, n, method, protocol)) for n in self.edits_of(name)]
        return [(n, cell[measure]) for n, cell in found if cell is not None and cell.get(measure) is not None]


def read_json(path: Path) -> dict[str, Any]:
    """A result file.

    Raises:
        FileFormatError: it cannot be read, or holds no object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path} cannot be read as a result: {error}.", hint="Measure it again.") from error
    if not isinstance(found, dict):
        raise FileFormatError(f"{path} holds no result, but {type(found).__name__}.", hint="Measure it again.")
    return found


def read_grid(folder: Path) -> Grid:
    """All cells in a folder.

    Raises:
        FileFormatError: a file is no cell of the grid.
    """
    cells: dict[Key, Result] = {}
    for path in sorted(folder.glob("*.json")):
        found = read_json(path)
        if found.get("benchmark") != "editing-grid":
            raise FileFormatError(f"{path} is no result of editing_grid.py.", hint="Keep other results elsewhere.")
        cells[found["set"], found["edits"], found["method"], found["protocol"]] = found
    return Grid(cells)


def others(folder: Path, word: str) -> list[tuple[str, dict[str, Any]]]:
    """Other result files whose name holds a word, oldest first: (name, result)."""
    return [(path.name, read_json(path)) for path in sorted(folder.glob(f"*{word}*.json"))]


def numbers_of(result: Result) -> list[tuple[str, str]]:
    """Figures at the top of a result file, as text, with their intervals and counts where those are named alike."""
    rows = []
    for name, value in result.items():
        if (name, value) == ("complete", False):
            rows.append(("complete", "no: it was stopped"))
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, int | float):
            rows.append((name, shown(value)))
        elif isinstance(value, Mapping) and "right" in value and {"asked", "of"} & set(value):
            asked, there = value.get("asked", value.get("of")), value.get("of")
            rest = f" asked; there are {there:,}" if there not in {asked, None} else ""
            rows.append((name, f"{value['right']:,} of {asked:,}{rest}"))
    return rows


def sizes_of(result: Result) -> list[Mapping[str, Any]]:
    """The rows of a latency or look-up result that tell what a number of entries costs."""
    for value in result.values():
        if isinstance(value, Sequence) and not isinstance(value, str) and value:
            rows = [row for row in value if isinstance(row, Mapping) and isinstance(row.get("entries"), int)]
            if rows:
                return sorted(rows, key=lambda row: row["entries"])
    return []


def millis_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Name of each figure in milliseconds -> (entries, value), where it is a number."""
    names = dict.fromkeys(name for row in rows for name in row if "ms" in name.split("_"))
    lines = {n: [(row["entries"], row[n]) for row in rows if isinstance(row.get(n), int | float)] for n in names}
    return {name: line for name, line in lines.items() if line}


def shown(value: float) -> str:
    """A figure as text: shares to three places, larger ones to as many as matter."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def provenance(results: Iterable[Result]) -> list[str]:
    """When, at which commit and where results were made, each once."""
    found = {}
    for result in results:
        place = result.get("where", {})
        machine = place.get("machine", {})
        what = f"{machine.get('cores', '?')} x {machine.get('processor', '?')}, {machine.get('threads', '?')} thread(s)"
        line = f"{result.get('date', 'no date')}, commit {place.get('commit') or 'unknown'}, {what}"
        found.setdefault(line, 0)
        found[line] += 1
    return [f"{line}: {count} result{'s' if count > 1 else ''}" for line, count in sorted(found.items())]
