"""Makes docs/gate.md and its plot from the newest `benchmarks/results/DATE-gate.json`.

python docs/generate_gate.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
PLOT = ROOT / "docs" / "plots" / "gate-reliability.png"
SETS = ("qaedit", "zsre", "counterfact", "counterfact-10k")
TABLES = {"counterfact": "counterfact, 1,000 entries", "counterfact-10k": "counterfact, 10,000 entries"}
HEAD = """# The gate

Made from `benchmarks/results/{file}` by `python docs/generate_gate.py`; do not edit. Fit it again with
`benchmarks/fit_gate.py`, which says how questions were drawn.

The gate gives the probability that a question asks what an entry was taught for. It is boosted trees over 40 kinds of
evidence (`memory/evidence.py`): the cosine of the two sentence vectors; late interaction of word states in both
directions, weighted by rarity; which rare words and names are covered on each side; what is *left over* when shared
words are taken away, compared in context and out of it, since that is mostly the relation asked for; numbers,
negation, opposites, the kind of thing asked for. One gate for all data, shipped as plain arrays ({bytes:,} bytes).
Word states of entries are kept with a byte for each coordinate; at most {most} candidates of each reading are judged.
Each pair is judged by itself, so a probability does not depend on what else a table holds.

## How well it decides

Two folds by subject: these questions are about subjects that the trees have not seen. For each question the nearest
entry that reaches the threshold speaks. **right**: the taught entry; **same subject**: another entry of the same
subject, mostly one of zsRE's several answers to one question; **false**: an entry spoke though the question asks
something else (locality prompts, unrelated questions, messages of chats).

| set | threshold | right | same subject | wrong | locality: false | unrelated: false | chat: false |
|---|---|---:|---:|---:|---:|---:|---:|
"""
TAIL = """
CounterFact's locality prompts at 10,000 entries include 225 that are taught themselves, word for word, and more in
other words: there a "false" recall is what a user would want. zsRE's locality prompts ask for another relation of the
*same* subject, and some of them ask the same after all.

## What a probability means

![reliability](plots/gate-reliability.png)

| said | were the same | pairs |
|---:|---:|---:|
"""


def main() -> None:
    """Write the page and the plot."""
    file = max((ROOT / "benchmarks" / "results").glob("????-??-??-gate.json"))
    found = json.loads(file.read_text("utf-8"))
    rows = [line(found, threshold, name) for name in SETS for threshold in ("0.4", "0.5", "0.6", "0.8")]
    calibrated = [f"| {b['said']:.3f} | {b['were']:.3f} | {b['pairs']:,} |" for b in found["reliability"]]
    page = HEAD.format(file=file.name, bytes=found["settings"]["bytes"], most=8)
    page += "\n".join(rows) + "\n" + TAIL + "\n".join(calibrated) + "\n"
    (ROOT / "docs" / "gate.md").write_text(page, encoding="utf-8")
    draw(found)


def line(found: Mapping[str, Any], threshold: str, name: str) -> str:
    """A row of the table."""
    kinds = found["judged"][threshold][name]
    rephrase = kinds["rephrase"]
    shares = [rephrase.get(k, 0.0) for k in ("right", "same subject", "wrong")]
    shares += [kinds[k].get("wrong", 0.0) for k in ("locality", "unrelated", "chat")]
    return f"| {TABLES.get(name, name)} | {threshold} | " + " | ".join(f"{s:.3f}" for s in shares) + " |"


def draw(found: Mapping[str, Any]) -> None:
    """The reliability diagram: of pairs said to be the same with probability p, how many are."""
    figure, axes = plt.subplots(figsize=(4.6, 4.2))
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--", label="perfectly calibrated")
    said, were = zip(*((b["said"], b["were"]) for b in found["reliability"]), strict=True)
    axes.plot(said, were, marker="o", color="#1b6ca8", label="the gate, held-out subjects")
    axes.set(xlabel="probability said", ylabel="share that ask the same", xlim=(0, 1), ylim=(0, 1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    figure.tight_layout()
    figure.savefig(PLOT, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
