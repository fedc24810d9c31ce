"""Fit the gate: when do two prompts ask the same?

Two folds by subject: the figures are of questions whose subjects the trees have not seen. What is written is fitted on
both. Data: development halves of zsRE, CounterFact, QAEdit, question pairs; `gate_data.py` says how questions are made
of them. One gate for all: no set has a threshold of its own.

    python benchmarks/fit_gate.py --data FOLDER_OF_EDITING_SETS --encoder FOLDER [--cache FILE] [--write] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import pickle
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from everlearn.evaluation.latency import where
from everlearn.memory.evidence import FEATURES
from everlearn.memory.key import KeyMaker
from everlearn.memory.trees import Trees
from everlearn.models.encoder import SentenceEncoder
from everlearn.models.sources import ModelFiles
from gate_data import Asked, Reader, Row, lines, other_relations, pair_rows, questions, table_rows

TARGET = Path(__file__).parents[1] / "src" / "everlearn" / "memory" / "gate.safetensors"
VERSION = "2026-11-25"
LEFT = FEATURES.index("left_relation")
# How much a question counts. Made ones are noisy (some ask the same after all), question pairs are labelled loosely;
# QAEdit's are the ones that sound like what people ask, and few.
KIND_WEIGHTS = {"pair": 0.3, "relation": 0.5, "locality": 1.5, "rephrase": 1.2}
SET_WEIGHTS = {"qaedit": 6.0, "qaedit-10": 6.0}
CHATS = {
    "math/gsm8k_train.jsonl": "question",
    "code/code_alpaca_2k.jsonl": "instruction",
    "psychology/counsel_chat.jsonl": "questionText",
}
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def gather(args: argparse.Namespace) -> list[Row]:
    maker = KeyMaker(SentenceEncoder.from_folder(ModelFiles("minilm", args.encoder, "fit")))
    reader, plain = Reader(maker), np.zeros(maker.width, np.float32)
    far = [("unrelated", r["prompt"]) for r in lines(args.data / "unrelated_questions.jsonl", 600)]
    far += [("chat", text) for text in chats(args.data.parent / "domains", 120)]
    zsre, counterfact = lines(args.data / "zsre.jsonl"), lines(args.data / "counterfact.jsonl")
    qaedit = lines(args.data / "qaedit.jsonl")
    plan = [
        ("zsre", zsre, questions(zsre, far, 3, 2, 0) + other_relations(reader, zsre, 0)),
        ("counterfact", counterfact[:1000], questions(counterfact[:1000], far, 1, 1, 0)),
        (
            "counterfact-10k",
            counterfact,
            sampled(counterfact, far, 2000),
        ),
        ("qaedit", qaedit, questions(qaedit, far, 1, 1, 0)),
    ]
    plan += [
        (f"{n}-10", rs[k : k + 10], questions(rs[k : k + 10], far[::60], 1, 1, k))
        for n, rs in (("zsre", zsre), ("qaedit", qaedit))
        for k in range(0, 470, 10)
    ]
    rows: list[Row] = []
    for name, records, asked in plan:
        begun = time.perf_counter()
        rows += table_rows(name, reader, records, asked, plain)
        if not name.endswith("-10"):
            print(
                f"{name}: {len(asked)} questions, {len(rows)} rows so far, {time.perf_counter() - begun:.0f} s",
                flush=True,
            )
    temporal = [c[0]["query"] for c in lines(args.data / "temporal_chains.jsonl")]
    prompts = temporal + [r["prompt"] for r in zsre]
    rows += pair_rows(reader, lines(args.data / "question_pairs.jsonl"), prompts, 0, plain)
    return rows


def sampled(records: list[dict], far: list[tuple[str, str]], most: int) -> list[Asked]:
    """Questions about `most` records from the end of a full table."""
    first = len(records) - most
    asked = questions(records[first:], far, 1, 1, 1)
    return [Asked(a.text, a.kind, a.own + first if a.own >= 0 else -1, a.fold) for a in asked]


def chats(folder: Path, most: int) -> list[str]:
    """Messages as people write them to an assistant: tasks, code, worries."""
    found: list[str] = []
    for file, key in CHATS.items():
        found += [str(r[key]) for r in lines(folder / file, most) if str(r.get(key) or "").strip()]
    return found


def relation_of(rows: list[Row]) -> np.ndarray:
    """Weights of coordinates in `left_relation`: do the words that are left on both sides mean the same?"""
    known = [r for r in rows if r.label is not None and r.product is not None]
    x = np.stack([r.product for r in known]).astype(np.float32)
    model = LogisticRegression(C=0.3, max_iter=300, class_weight="balanced")
    model.fit(x * 20.0, [r.label for r in known])
    return (model.coef_[0] * 20.0).astype(np.float16)


def table_of(rows: list[Row], relation: np.ndarray) -> np.ndarray:
    x = np.stack([r.evidence for r in rows])
    weights = relation.astype(np.float32)
    for n, r in enumerate(rows):
        if r.product is not None:
            x[n, LEFT] = float(r.product.astype(np.float32) @ weights)
    return x


def fit(rows: list[Row], trees: int, leaves: int) -> tuple[Trees, np.ndarray]:
    """Trees and relation weights. The relation sees half of the questions only, lest the trees trust it too much."""
    relation = relation_of([r for r in rows if r.question % 2])
    known = [r for r in rows if r.label is not None]
    model = HistGradientBoostingClassifier(
        max_iter=trees, max_leaf_nodes=leaves, learning_rate=0.1, min_samples_leaf=40, l2_regularization=2.0
    )
    weight = [KIND_WEIGHTS.get(r.kind, 1.0) * SET_WEIGHTS.get(r.set, 1.0) for r in known]
    model.fit(table_of(known, relation), [r.label for r in known], sample_weight=weight)
    return arrays(model), relation


def arrays(model: HistGradientBoostingClassifier) -> Trees:
    """scikit-learn's trees as `Trees`, numbers as they are after packing."""
    trees = [preorder(p[0].nodes) for p in model._predictors]
    shape = (len(trees), max(map(len, trees)))
    feature, right = np.full(shape, 255, np.uint8), np.zeros(shape, np.uint8)
    number = np.zeros(shape, np.float32)
    for n, nodes in enumerate(trees):
        for m, (asks, value, child) in enumerate(nodes):
            feature[n, m], number[n, m], right[n, m] = asks, np.float16(value), child
    return Trees(feature, number, right, float(model._baseline_prediction[0, 0]))


def preorder(nodes: np.ndarray) -> list[tuple[int, float, int]]:
    """Nodes (feature or 255, threshold or value, right child), each left child right after its parent."""
    found: list[tuple[int, float, int]] = []

    def walk(at: int) -> None:
        node, place = nodes[at], len(found)
        if node["is_leaf"]:
            found.append((255, node["value"], 0))
            return
        found.append((0, 0.0, 0))
        walk(node["left"])
        found[place] = (node["feature_idx"], node["num_threshold"], len(found))
        walk(node["right"])

    walk(0)
    return found


def probabilities(rows: list[Row], fitted: tuple[Trees, np.ndarray]) -> np.ndarray:
    trees, relation = fitted
    return 1.0 / (1.0 + np.exp(-trees(table_of(rows, relation))))


def judge(rows: list[Row], p: np.ndarray) -> dict:
    """By set: what recall would do with each question at several thresholds."""
    by_question: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for n, r in enumerate(rows):
        by_question[(r.set.removesuffix("-10"), r.kind, r.question if not r.set.endswith("-10") else n // 8)].append(n)
    told: dict[str, dict] = {}
    for threshold in THRESHOLDS:
        counts: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for (name, kind, _), ns in by_question.items():
            passed = [n for n in ns if p[n] >= threshold]
            best = max(passed, key=lambda n: rows[n].cosine, default=None)
            outcome = "none" if best is None else {1: "right", 0: "wrong", None: "same subject"}[rows[best].label]
            counts[name][kind].append(outcome)
        told[str(threshold)] = {
            name: {kind: shares(outcomes) for kind, outcomes in kinds.items()} for name, kinds in counts.items()
        }
    return told


def shares(outcomes: list[str]) -> dict[str, float]:
    return {
        o: round(outcomes.count(o) / len(outcomes), 4) for o in ("right", "same subject", "wrong") if o in outcomes
    } | {"questions": len(outcomes)}


def reliability(rows: list[Row], p: np.ndarray, bins: int = 10) -> list[dict]:
    """Of pairs said to be the same with probability p, how many are."""
    known = np.array([r.label is not None for r in rows])
    y, p = np.array([r.label or 0 for r in rows])[known], p[known]
    place = np.minimum((p * bins).astype(int), bins - 1)
    return [
        {
            "said": round(float(p[place == b].mean()), 4),
            "were": round(float(y[place == b].mean()), 4),
            "pairs": int((place == b).sum()),
        }
        for b in range(bins)
        if (place == b).any()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--trees", type=int, default=250)
    parser.add_argument("--leaves", type=int, default=15)
    parser.add_argument("--cache", type=Path, help="keep the evidence here, and take it from here the next time")
    parser.add_argument("--write", action="store_true", help=f"write {TARGET.name} into the package")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    if args.cache and args.cache.exists():
        rows = pickle.loads(args.cache.read_bytes())
    else:
        rows = gather(args)
        if args.cache:
            args.cache.write_bytes(pickle.dumps(rows))
    p = np.zeros(len(rows))
    for fold in (0, 1):
        fitted = fit([r for r in rows if r.fold != fold], args.trees, args.leaves)
        mine = [n for n, r in enumerate(rows) if r.fold == fold]
        p[mine] = probabilities([rows[n] for n in mine], fitted)
    figures = {"judged": judge(rows, p), "reliability": reliability(rows, p), "rows": len(rows)}
    for threshold, sets in figures["judged"].items():
        for name, kinds in sets.items():
            print(f"p >= {threshold} {name}:", "; ".join(f"{k} {v}" for k, v in kinds.items()))
    print(json.dumps(figures["reliability"]))
    trees, relation = fit(rows, args.trees, args.leaves)
    packed = trees.to_bytes(VERSION, relation=relation)
    print(f"{len(packed)} bytes")
    if args.write:
        TARGET.write_bytes(packed)
    if args.json:
        settings = {"trees": args.trees, "leaves": args.leaves, "version": VERSION, "bytes": len(packed)}
        args.json.write_text(json.dumps({**figures, "settings": settings, "where": where()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
