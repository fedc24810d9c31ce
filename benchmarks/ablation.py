"""What each parameter of a table does: values, strength, threshold, indirect use, time. Resumable.

    python benchmarks/ablation.py values    --data qaedit.jsonl --data zsre.jsonl [--sample 100] [--learn 40]
    python benchmarks/ablation.py residual  --data ...   answers as users get them, greedy and sampled
    python benchmarks/ablation.py threshold --data ... --unrelated questions.jsonl   with the gate as packaged
    python benchmarks/ablation.py indirect  --data zsre.jsonl   the lesson inside another answer; in a sentence
    python benchmarks/ablation.py cost      what a corrected token costs over a bare one

Each takes --json OUT; run again after it was stopped, it goes on (--restart begins anew). In `values`, `residual` and
`indirect` the right entry is given, so that values are measured apart from the gate. `docs/generate_parameters.py`
makes the page.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import ablation_rows as rows
import ablation_runs as runs
from ablation_steps import noted, sample
from everlearn import memory, wiring
from everlearn.evaluation.edits import Edit
from everlearn.evaluation.journal import Journal
from everlearn.evaluation.latency import where
from everlearn.evaluation.metrics import mean, median, wilson

FORM = 1


def values(parts: wiring.Parts, args: argparse.Namespace, journal: Journal) -> dict[str, Any]:
    """Blocks, sparsity, ways of making values, strength: each on the taught question and on rephrases."""
    result = {}
    for path in args.data:
        edits = sample(path, args, lambda edit: bool(edit.rephrases))
        found = [
            noted(journal, _name(path, edit, n < args.learn), partial(_values_of, parts, edit, n < args.learn, args))
            for n, edit in enumerate(edits)
        ]
        result[path.stem] = {name: _summary(found, name) for name in dict.fromkeys(n for f in found for n in f)}
    return result


def _name(path: Path, edit: Edit, learn: bool) -> str:
    """The same edit has the same name in a larger sample, which then goes on from a smaller one."""
    return f"{path.name} line {edit.line}{', learned too' if learn else ''}"


def _values_of(parts: wiring.Parts, edit: Edit, learn: bool, args: argparse.Namespace) -> dict[str, Any]:
    made = rows.variants(parts, edit, learn=learn)
    kinds = rows.asked(parts, edit, rephrases=args.rephrases)
    found = {name: {"bytes": v.packed, "cpu_ms": v.cpu_ms} for name, v in made.items()}
    for kind, prompts in kinds.items():
        for ids in prompts:
            for name, score in zip(made, rows.scored(parts, ids, list(made.values())), strict=True):
                found[name].setdefault(kind, []).append(asdict(score))
    bare = rows.Variant(made["output only"].correction)
    texts = {"taught": [edit.prompt], "rephrase": edit.rephrases[: args.rephrases]}
    for kind, questions in texts.items():
        told = [rows.in_context(parts, edit, text) for text in questions]
        found.setdefault("lesson in the prompt", {})[kind] = [asdict(rows.scored(parts, i, [bare])[0]) for i in told]
    return found


def _summary(found: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    mine = [f[name] for f in found if name in f]
    out: dict[str, Any] = {"edits": len(mine)}
    out["bytes"] = mean([m["bytes"] for m in mine if m.get("bytes")])
    out["cpu_ms"] = median([m["cpu_ms"] for m in mine if m.get("cpu_ms")])
    for kind in ("taught", "rephrase"):
        scores = [{key: mean([s[key] for s in m[kind]]) for key in m[kind][0]} for m in mine if m[kind]]
        out[kind] = {key: round(mean([s[key] for s in scores]), 4) for key in scores[0]}
        out[kind]["exact_95"] = [round(x, 3) for x in wilson(out[kind]["exact"], len(scores))]
    return out


def gate_digest() -> str:
    """Of the data that the gate is packaged with: another gate is another measurement."""
    files = sorted(p for p in Path(memory.__file__).parent.iterdir() if p.is_file() and p.suffix != ".py")
    return hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()[:16]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["values", "residual", "threshold", "indirect", "cost"])
    parser.add_argument(
        "--data", type=Path, action="append", required=True, help="JSON Lines of edits; may be repeated"
    )
    parser.add_argument("--unrelated", type=Path, help="JSON Lines with a prompt each that no lesson answers")
    parser.add_argument("--sample", type=int, default=100, help="edits of each file")
    parser.add_argument("--learn", type=int, default=40, help="of them, how many are learned by gradient too")
    parser.add_argument("--rephrases", type=int, default=1, help="of each edit")
    parser.add_argument("--tokens", type=int, default=40, help="most tokens of a decoded answer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default=None)
    parser.add_argument("--state", type=Path, default=Path(tempfile.gettempdir()) / "everlearn-ablation")
    parser.add_argument("--restart", action="store_true")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    place = where()  # now: the checkout may move on while this runs
    parts = wiring.load_parts(wiring.load_settings(model=args.model))
    given = {n: str(v) for n, v in vars(args).items() if n not in {"state", "restart", "json"}}
    given |= {"form": str(FORM), "model": parts.model.digest, "dtype": str(parts.model.dtype), "gate": gate_digest()}
    same = {n: v for n, v in given.items() if args.what != "values" or n not in {"sample", "learn", "data"}}
    mark = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:16]
    work = {"values": values, "residual": runs.residual, "threshold": runs.threshold}
    work |= {"indirect": runs.indirect, "cost": runs.cost}
    with Journal(args.state / f"{args.what}-{mark}.jsonl", restart=args.restart) as journal:
        result = work[args.what](parts, args, journal)
    given["data"] = ", ".join(path.name for path in args.data)
    given["unrelated"] = args.unrelated.name if args.unrelated else ""
    text = json.dumps({"what": args.what, "settings": given, **result, "where": place}, indent=1)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")
    print("\n" + text)


if __name__ == "__main__":
    main()
