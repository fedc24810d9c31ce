"""Writes docs/parameters.md and its plots from the newest results of benchmarks/ablation.py.

A test sees that the page is up to date.

python docs/generate_parameters.py
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results"
TARGET = DOCS / "parameters.md"
PLOTS = DOCS / "plots"
KINDS = ("values", "residual", "threshold", "indirect", "cost")
Result = Mapping[str, Any]

HEAD = """# The parameters of a table

Made from the files in `benchmarks/results` by `python docs/generate_parameters.py`; do not edit. How to measure it all
again: `python benchmarks/ablation.py --help`. What follows: [decision 3](decisions/0003-corrections.md).

Each look-up table has its own settings: `everlearn tables set NAME --residual 0.5`, or in Python
`learner.put_table(NAME, TableSettings(residual=0.5))`.
"""
VALUES = """## `blocks`, `sparsity`, `values`, `output`: what is added, and where

The right entry is given, so values are measured apart from the gate, on {edits}.

**exact**: free greedy decoding gives the taught answer word for word and stops (WILD, judged by tokens);
**tokens**: share of the answer's tokens, stop token included, that are arg-max while the answer is fed;
**sampled**: chance that the whole answer comes out at temperature 0.7. The output correction is *off* in these
columns; with it (the default) every row is exact by construction, as the last column shows. Bytes are those of a
whole entry's value on disk. `ms` is the time of one core to make it{busy}.
"""
NOTES = """
- *plain differences*: each block's own difference is added, as if no other were corrected; otherwise each block
  adds what those below it left to do.
- *learned*: at most {steps} steps of Adam from the difference, a vector for each answer token, until each is as
  certain as the output correction would make it; *at the prompt*: one vector at the prompt's last token only, where
  GRACE and HoReN put theirs.
- *lesson in the prompt*: what reading the taught pair before the question gives, for comparison.
"""
RESIDUAL = """## `residual`: how strongly an entry speaks

Through the engine, gate included, on {edits} edits and a rephrase of each: share of answers that are the taught
one, that begin with it, and that are what the base model says without memory. 0 is the base model, bit for bit; the
log-odds of the taught token rise in a straight line from the model's own to those of 0.999. An answer that only
begins as taught goes on in the model's own words: the stop token was not raised enough.

![residual](plots/parameters-residual.png)

"""
STRENGTH = """Chance that the whole taught answer is sampled at temperature 0.7 on a rephrase, the right entry given:

"""
THRESHOLD = """## `threshold`: from which probability an entry may speak

Each edit is taught, its rephrases are asked, questions about something near it (the data's locality questions), and
questions about something else. An entry should speak for the first kind only.

![threshold](plots/parameters-threshold.png)

"""
INDIRECT = """## Where a correction does not help: answers that are not the taught one

Greedy answers of at most {tokens} tokens. *Inside another answer*: questions that rest on the lesson but ask for
something else (the data's portability questions). *In a sentence*: a rephrase, and "Answer in one full sentence."
**holds**: the wanted answer stands in what was said; **sentence**: and three words more; **taught instead**: what
was said holds the taught answer in place of the wanted one; **tokens**: as above, of the wanted answer.

"""
COST = """## What a corrected token costs

CPU time of one decoding step with an entry speaking over the same step without, token by token in turn ({tokens}
tokens, output correction and cursor included). Where nothing speaks no hook is registered, and the step is the bare
model's.

"""


def newest(kind: str) -> Result | None:
    """The latest result of a measurement, by the date in its name."""
    files = sorted(RESULTS.glob(f"*-ablation-{kind}.json"))
    return json.loads(files[-1].read_text("utf-8")) if files else None


def found() -> dict[str, Result]:
    """The newest result of each measurement that has one."""
    return {kind: result for kind in KINDS if (result := newest(kind))}


def page(results: Mapping[str, Result]) -> str:
    """The whole page."""
    makers = {"values": _values, "residual": _residual, "threshold": _threshold, "indirect": _indirect, "cost": _cost}
    parts = [
        HEAD,
        *(makers[kind](results[kind]) for kind in KINDS if kind in results),
        _provenance(results),
    ]
    if "values" in results and "residual" in results:
        parts.insert(3, _strength(results["values"]))
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _sets(result: Result) -> dict[str, Result]:
    """Name of a data set -> what was found on it."""
    return {name: found for name, found in result.items() if name not in {"what", "settings", "where"}}


def _values(result: Result) -> str:
    sets = _sets(result)
    counts = ", ".join(f"{next(iter(f.values()))['edits']} {name} edits" for name, f in sets.items())
    learned = min(f["learned"]["edits"] for f in sets.values())
    text = VALUES.format(edits=f"{counts}\n({learned} of each where values are learned)", busy=" on a busy machine")
    text += "\n![blocks](plots/parameters-blocks.png)\n![sparsity](plots/parameters-sparsity.png)\n"
    columns = (
        "value",
        "bytes",
        "ms",
        "taught: exact",
        "tokens",
        "rephrase: exact",
        "95 %",
        "tokens",
        "sampled",
        "exact, output on",
    )
    for name, found in sets.items():
        rows = [
            _value_row(label, row)
            for label, row in found.items()
            if not label.startswith(("residual", "learned, residual"))
        ]
        text += f"\n### {name}\n\n{table(columns, rows)}"
    return text + NOTES.format(steps=30)


def _value_row(label: str, row: Result) -> list[str]:
    taught, asked = row["taught"], row["rephrase"]
    low, high = asked["exact_95"]
    made = [f"{row['bytes']:,.0f}" if row["bytes"] else "", f"{row['cpu_ms']:,.0f}" if row["cpu_ms"] else ""]
    shares = [share(taught["exact"]), share(taught["tokens"]), share(asked["exact"]), f"{share(low)}-{share(high)}"]
    label = "output only (with it off: the bare model)" if label == "output only" else label
    return [label, *made, *shares, share(asked["tokens"]), share(asked["sampled"]), share(asked["exact_raised"])]


def _residual(result: Result) -> str:
    rows = []
    for name, found in result["residual"].items():
        strength, warmth = (part.split()[-1] for part in name.split(", "))
        keys = [(kind, key) for kind in ("taught", "rephrase") for key in ("taught", "begins as taught", "base")]
        rows.append([strength, warmth, *(share(found[kind][key]) for kind, key in keys)])
    columns = ("as taught", "begins so", "the base's own")
    return RESIDUAL.format(edits=result["edits"]) + table(
        ("residual", "temperature", *columns, *(f"rephrase: {name}" for name in columns)), rows
    )


def _strength(result: Result) -> str:
    """Strength against the ways of making and using values: chance that a whole answer is sampled on a rephrase."""
    text = STRENGTH
    for name, found in _sets(result).items():
        rows = []
        for level in ("0", "0.25", "0.5", "0.75", "1"):
            block, output, fitted = (_at(found, way, level) for way in ("block 25", "output only", "learned"))
            shares = [block["sampled"], fitted["sampled"] if fitted else None, output["sampled_raised"]]
            shares += [block["sampled_raised"], fitted["sampled_raised"] if fitted else None]
            rows.append([level, *("" if s is None else share(s) for s in shares)])
        columns = ("residual", "block", "learned", "output", "block and output", "learned and output")
        text += f"### {name}\n\n{table(columns, rows)}\n"
    return text


def _at(found: Result, way: str, level: str) -> Result | None:
    """What a way of correcting does to rephrases at a strength."""
    names = {
        "block 25": (way, f"residual {level}"),
        "output only": (way, f"residual {level}, output only"),
        "learned": (way, f"learned, residual {level}"),
    }
    row = found.get(names[way][level != "1"])
    return row["rephrase"] if row else None


def _threshold(result: Result) -> str:
    text = THRESHOLD
    for name, found in result["threshold"].items():
        kinds = [kind for kind in ("rephrase", "locality", "unrelated") if kind in found]
        columns = ["threshold", "rephrase: right entry", *(f"{kind}: spoke" for kind in kinds if kind != "rephrase")]
        rows = [
            [level, share(found["rephrase"][level]["right"]), *(share(found[k][level]["spoke"]) for k in kinds[1:])]
            for level in found["rephrase"]
        ]
        text += f"### {name}, {found['edits']} edits\n\n{table(columns, rows)}\n"
    return text


def _indirect(result: Result) -> str:
    keys = ("holds", "sentence", "taught instead", "tokens")
    text = INDIRECT.format(tokens=result["settings"]["tokens"])
    for name, found in result["indirect"].items():
        rows = [[way, *(share(row[key]) for key in keys)] for way, row in found.items() if way != "questions"]
        text += f"### {name}: {found['questions']} questions\n\n{table(('', *keys), rows)}\n"
    return text


def _cost(result: Result) -> str:
    rows = [
        [name, f"{r['bare_ms']:.1f}", f"{r['corrected_ms']:.1f}", f"{r['ratio']:.3f}"]
        for name, r in result["cost"].items()
    ]
    return COST.format(tokens=result["tokens"]) + table(("value", "bare, ms", "corrected, ms", "ratio"), rows)


def _provenance(results: Mapping[str, Result]) -> str:
    rows = [
        [
            kind,
            r["where"]["commit"],
            r["where"]["machine"]["processor"],
            r["where"]["machine"]["threads"],
            r["settings"]["data"],
        ]
        for kind, r in results.items()
    ]
    return "## Where it was measured\n\n" + table(("measurement", "commit", "processor", "threads", "data"), rows)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def share(value: float) -> str:
    """A share as the other pages print it."""
    return f"{value:.2f}" if value not in {0, 1} else str(int(value))


def main() -> None:
    """Write the page, and draw the plots."""
    results = found()
    TARGET.write_text(page(results), encoding="utf-8")
    from plot_parameters import draw  # matplotlib is needed for drawing only

    draw(results, PLOTS)


if __name__ == "__main__":
    main()
