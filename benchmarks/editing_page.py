"""Make docs/benchmarks/editing.md and its plots from result files. What was not run is shown as not run.

    python benchmarks/editing_page.py

Reads benchmarks/results/editing (cells of editing_grid.py) and, in benchmarks/results, the files whose names hold
`multihop`, `temporal`, `latency` or `lookup` (written by `everlearn bench ... --json`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from editing_plots import cost_plot, quality_plot
from editing_results import (
    METHODS,
    PROTOCOLS,
    Grid,
    Result,
    millis_of,
    numbers_of,
    others,
    provenance,
    read_grid,
    shown,
    sizes_of,
)
from editing_words import AFTER, BEFORE, METHOD_WORDS, SET_WORDS
from everlearn.errors import EverlearnError

HERE = Path(__file__).parent
NOT_RUN = "not run"
MEASURES = ("reliability", "generality", "locality")
ALONE = "`everlearn bench editing`: the first edits of the file; how many rephrases of each were asked, its file says."
OTHER = (
    ("Several facts in one answer", "multihop", "`everlearn bench multihop`: MQuAKE-CF, all edits active at once."),
    ("Time", "temporal", "`everlearn bench temporal`: the answers of all years taught in order."),
)


def page(grid: Grid, results: Path, pictures: Path) -> str:
    """The page; its plots are written beside it."""
    parts = [BEFORE, _methods()]
    for name in ("zsre", "counterfact", "qaedit"):
        parts += [
            f"## {SET_WORDS[name][0]}",
            SET_WORDS[name][1],
            _picture(grid, name, pictures),
            _set_table(grid, name),
        ]
    parts += ["## Hallucination (SelfCheckGPT set)", SET_WORDS["hallucination"][1], _hallucination_table(grid)]
    parts += ["## The table alone, all its questions", ALONE, _alone_table(results)]
    for title, word, told in OTHER:
        parts += [f"## {title}", told, _other_tables(results, word)]
    parts += ["## What it costs", _cost_table(grid), _added(results, pictures), AFTER, _made(grid)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    ruled = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*ruled, *(f"| {' | '.join(row)} |" for row in rows)])


def _methods() -> str:
    return _table(("method", "what it does"), ((f"`{name}`", METHOD_WORDS[name]) for name in METHODS))


def _picture(grid: Grid, name: str, pictures: Path) -> str:
    path = pictures / f"editing-{name}.svg"
    if not quality_plot(grid, name, path):
        return ""
    return f"![{SET_WORDS[name][0]}: reliability, generality and locality against edits taught, WILD]({path.name})"


def _set_table(grid: Grid, name: str) -> str:
    head = ("edits", "method", *(f"WILD {m[:3]}." for m in MEASURES), *(f"forced {m[:3]}." for m in MEASURES))
    rows: list[Sequence[str]] = []
    for edits in grid.edits_of(name):
        for method in METHODS:
            pair = [grid.cell(name, edits, method, protocol) for protocol in PROTOCOLS]
            rows.append((f"{edits:,}", f"`{method}`", *_shares(pair), _scored(pair)))
    return _table((*head, "scored (draws)"), _squeezed(rows))


def _shares(pair: Sequence[Result | None]) -> list[str]:
    """Three figures of each protocol."""
    return [_figure(cell, measure) for cell in pair for measure in MEASURES]


def _figure(cell: Result | None, measure: str) -> str:
    if cell is None:
        return NOT_RUN
    value = cell.get(measure)
    return "-" if value is None else f"{value:.3f}"


def _scored(pair: Sequence[Result | None]) -> str:
    cell = next((cell for cell in pair if cell is not None), None)
    return "" if cell is None else f"{cell['scored_edits']:,} ({cell['draws']})"


def _squeezed(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Rows, where those of one number of edits in which nothing was run are named in one row."""
    kept: list[Sequence[str]] = []
    for edits in dict.fromkeys(row[0] for row in rows):
        same = [row for row in rows if row[0] == edits]
        empty = [row for row in same if set(row[2:]) <= {NOT_RUN, ""}]
        kept += [row for row in same if row not in empty]
        if empty:
            names = ", ".join(row[1] for row in empty)
            kept.append((edits, names, *[NOT_RUN] * (len(same[0]) - 3), ""))
    return kept


def _hallucination_table(grid: Grid) -> str:
    rows: list[Sequence[str]] = []
    for edits in grid.edits_of("hallucination"):
        for method in METHODS:
            wild, forced = (grid.cell("hallucination", edits, method, protocol) for protocol in PROTOCOLS)
            perplexity = forced.get("perplexity") if forced else None
            values = (perplexity["mean"], perplexity["median"]) if perplexity else None
            shown_pair = [shown(float(v)) for v in values] if values else [NOT_RUN] * 2
            free = [_figure(forced, "locality"), _figure(wild, "reliability"), _figure(wild, "locality")]
            rows.append((f"{edits:,}", f"`{method}`", *shown_pair, *free, _scored([wild, forced])))
    head = ("edits", "method", "perplexity", "median", "forced loc.", "WILD rel.", "WILD loc.", "scored (draws)")
    return _table(head, _squeezed(rows))


def _alone_table(results: Path) -> str:
    """What `everlearn bench editing` found, file by file."""
    rows = []
    for name, found in others(results, "-editing-"):
        shares = [_figure(found, measure) for measure in MEASURES]
        data, commit = found["settings"]["data"], found["where"]["commit"]
        rows.append(
            (name[:10], data, f"{found['edits']:,}", found["protocol"], *shares, f"{found['sampled']:,}", commit)
        )
    if not rows:
        return "Not run."
    return _table(("date", "set", "edits", "protocol", *MEASURES, "scored", "commit"), rows)


def _other_tables(results: Path, word: str) -> str:
    found = others(results, word)
    if not found:
        return f"Not run yet: there is no result file named `*{word}*.json`."
    return "\n\n".join(f"`{name}`:\n\n{_table(('figure', 'value'), numbers_of(result))}" for name, result in found)


def _cost_table(grid: Grid) -> str:
    head = ("method", *(f"{name}, {edits:,} edits" for name, edits in _COSTED))
    rows = [(f"`{m}`", *(_teach(grid.cell(name, edits, m, "wild")) for name, edits in _COSTED)) for m in METHODS[:-1]]
    return "Milliseconds to teach one edit (median; trained together: the whole divided).\n\n" + _table(head, rows)


_COSTED = (("zsre", 10), ("zsre", 100), ("zsre", 1000), ("counterfact", 10000))


def _teach(cell: Result | None) -> str:
    if cell is None:
        return NOT_RUN
    return "-" if cell.get("teach_ms") is None else f"{cell['teach_ms']:,.1f}"


def _added(results: Path, pictures: Path) -> str:
    """What memory adds to a question as the table grows: from the newest file of each kind."""
    lines, names = {}, []
    for word in ("latency", "lookup"):
        for name, result in others(results, word)[-1:]:
            millis = {k: v for k, v in millis_of(sizes_of(result)).items() if k != "bare_ms"}
            lines |= {f"{k.replace('_', ' ')} ({word})": v for k, v in millis.items()}
            names += [name] if millis else []
    if not lines:
        return "Milliseconds that memory adds against entries: not run."
    path = pictures / "lookup-cost.svg"
    sizes = sorted({n for line in lines.values() for n, _ in line})
    rows = [
        (name, *(next((f"{ms:.2f}" for n, ms in line if n == size), "") for size in sizes))
        for name, line in lines.items()
    ]
    drawn = f"![Milliseconds against entries]({path.name})\n\n" if cost_plot(lines, path) else ""
    told = f"Milliseconds against entries, from {' and '.join(f'`{n}`' for n in names)}:"
    return f"{drawn}{told}\n\n{_table(('figure', *(f'{n:,}' for n in sizes)), rows)}"


def _made(grid: Grid) -> str:
    lines = provenance(grid.cells.values())
    return "## Where the cells come from\n\n" + ("\n".join(f"- {line}" for line in lines) or "No cell was run yet.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of result files")
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "benchmarks" / "editing.md")
    args = parser.parse_args()
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        text = page(read_grid(args.results / "editing"), args.results, args.out.parent)
    except EverlearnError as error:
        sys.exit(f"{error}")
    args.out.write_text(text, encoding="utf-8")
    print(args.out)


if __name__ == "__main__":
    main()
