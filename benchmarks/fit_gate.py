"""Fit the first gate: when do two prompts ask the same?

Trained on zsRE, CounterFact and question pairs (development halves), judged on QAEdit, which it never sees. Pairs are
what recall meets in use: a rephrase against its nearest entry (same target = same question), a locality prompt or an
unrelated question against its nearest entry (not the same). One kind is made: a prompt with one number changed (not the
same), since the sets hold next to none and users will ask for "track 8" and "track 9".

    python benchmarks/fit_gate.py --data FOLDER_OF_EDITING_SETS --encoder FOLDER [--write]
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from everlearn.memory.gate import FEATURES, Gate, features
from everlearn.memory.key import Key, KeyMaker, words
from everlearn.models.encoder import SentenceEncoder
from everlearn.models.sources import ModelFiles

TARGET = Path(__file__).parents[1] / "src" / "everlearn" / "memory" / "gate.json"
# zsRE's locality prompts ask for another relation of the same subject. They are far denser there than in use, and at
# full weight they would move the meaning of a probability for everything else.
HARD_WEIGHT = 0.3
FIRST = re.compile(r'first sentence: "?(.*?)"?\n')
Rows = list[tuple[int, np.ndarray, str]]


def lines(path: Path, most: int | None = None) -> list[dict]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file][:most]


def keys(maker: KeyMaker, texts: list[str]) -> list[Key]:
    return [maker.key_of(t, v) for v, t in zip(maker.vectors(texts), texts, strict=True)]


def recall_rows(maker: KeyMaker, records: list[dict], unrelated: list[str]) -> Rows:
    """A rephrase, a locality prompt or an unrelated question, each against its nearest entry."""
    entries = keys(maker, [r["prompt"] for r in records])
    matrix = np.stack([k.vector for k in entries])
    asked = [(r["rephrases"][0], r["target"], "rephrase") for r in records if r["rephrases"]]
    asked += [(item["prompt"], None, "locality") for r in records for item in r["locality"][:1]]
    asked += [(text, None, "unrelated") for text in unrelated]
    rows: Rows = []
    for key, (_, target, kind) in zip(keys(maker, [a[0] for a in asked]), asked, strict=True):
        nearest = int((matrix @ key.vector).argmax())
        same = target is not None and records[nearest]["target"] == target
        rows.append((int(same), features(key, entries[nearest]), kind))
    return rows


def pair_rows(maker: KeyMaker, pairs: list[dict]) -> Rows:
    form = re.compile(r"first sentence: (.*)\nsecond sentence: (.*)", re.S)
    found = [
        (m[1].strip('"'), m[2].strip('"'), p["label"] == "True") for p in pairs if (m := form.match(p["sentence"]))
    ]
    first, second = keys(maker, [f[0] for f in found]), keys(maker, [f[1] for f in found])
    return [(int(f[2]), features(a, b), "pair") for a, b, f in zip(first, second, found, strict=True)]


def made_rows(maker: KeyMaker, prompts: list[str], seed: int) -> Rows:
    """One changed number makes it another question."""
    chance = random.Random(seed)
    numbered = [p for p in prompts if re.search(r"\d+", p)]
    changed = [re.sub(r"\d+", lambda m: str(int(m[0]) + chance.randint(1, 9)), p, count=1) for p in numbered]
    return [(0, features(a, b), "number") for a, b in zip(keys(maker, numbered), keys(maker, changed), strict=True)]


def same_question_table(maker: KeyMaker, sets: dict[str, list[dict]], pairs: list[dict]) -> None:
    """Prints how often `Gate.same_question` says yes to true rephrases and to different questions.

    Different are the three nearest prompts about another subject, and a locality prompt of zsRE with a word that
    neither the prompt nor any rephrase of it has (the others ask the same: "X mother").
    """
    asked: list[tuple[str, str, str]] = []
    for name, records in sets.items():
        asked += [(f"{name} rephrase", r["prompt"], text) for r in records for text in r.get("rephrases", [])[:2]]
        vectors = maker.vectors([r["prompt"] for r in records])
        for record, row in zip(records, np.argsort(-(vectors @ vectors.T), axis=1)[:, :60], strict=True):
            others = [records[n] for n in row if records[n]["subject"].casefold() != record["subject"].casefold()]
            asked += [(f"{name} nearest other", record["prompt"], other["prompt"]) for other in others[:3]]
    for r in sets["zsre"]:
        known = {w[:5] for text in [r["prompt"], r["subject"], *r["rephrases"]] for w in words(text)}
        for text in [item["prompt"] for item in r["locality"][:2]]:
            if any(w[:5] not in known and maker.rarity(w) > 0.15 for w in words(text)):
                asked.append(("zsre other relation", r["prompt"], text))
    form = re.compile(r"first sentence: (.*)\nsecond sentence: (.*)", re.S)
    for p in pairs:
        if m := form.match(p["sentence"]):
            asked.append((f"pair labelled {p['label']}", m[1].strip('"'), m[2].strip('"')))
    texts = list(dict.fromkeys(text for _, *both in asked for text in both))
    made = dict(zip(texts, keys(maker, texts), strict=True))
    gate, said = Gate.packaged(), defaultdict(list)
    for kind, first, second in asked:
        said[kind].append(gate.same_question(made[first], made[second]))
    for kind, answers in said.items():
        print(f"same question, {kind}: {sum(answers)} of {len(answers)} ({np.mean(answers):.2%})")


def report(name: str, rows: Rows, model: LogisticRegression) -> None:
    p = model.predict_proba(np.stack([r[1] for r in rows]))[:, 1]
    y = np.array([r[0] for r in rows])
    print(f"{name}: {len(rows)} pairs", end="")
    if 0 < y.mean() < 1:
        print(f", AUC {roc_auc_score(y, p):.4f}, Brier {brier_score_loss(y, p):.4f}", end="")
    print()
    for threshold in (0.3, 0.4, 0.5, 0.6, 0.7, 0.9, 0.95):
        kinds = sorted({r[2] for r in rows})
        shares = {k: np.mean([p[n] >= threshold for n, r in enumerate(rows) if r[2] == k]) for k in kinds}
        print(f"  p >= {threshold}:", ", ".join(f"{k} {s:.3f}" for k, s in shares.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help=f"write {TARGET.name} into the package")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    maker = KeyMaker(SentenceEncoder.from_folder(ModelFiles("minilm", args.encoder, "fit")))
    questions = [r["prompt"] for r in lines(args.data / "unrelated_questions.jsonl")]
    sets = {n: lines(args.data / f"{n}.jsonl", 1000) for n in ("zsre", "counterfact", "qaedit")}
    rows = {n: recall_rows(maker, r, questions[:500]) for n, r in sets.items()}
    rows["pairs"] = pair_rows(maker, lines(args.data / "question_pairs.jsonl"))
    temporal = [c[0]["query"] for c in lines(args.data / "temporal_chains.jsonl")]
    asked = [m[1] for p in lines(args.data / "question_pairs.jsonl") if (m := FIRST.match(p["sentence"]))]
    rows["made"] = made_rows(maker, temporal + asked + [r["prompt"] for r in sets["zsre"]], args.seed)
    training = [r for n in ("zsre", "counterfact", "pairs", "made") for r in rows[n]]
    x, y = np.stack([r[1] for r in training]), np.array([r[0] for r in training])
    hard = {id(r) for r in rows["zsre"] if r[2] == "locality"}
    weights = [HARD_WEIGHT if id(r) in hard else 1.0 for r in training]
    model = LogisticRegression(C=10, max_iter=1000).fit(x, y, sample_weight=weights)
    for name, part in rows.items():
        report(name, part, model)
    most = {"qaedit": None, "zsre": None, "counterfact": 2000, "hallucination": None}
    occurring = {name: lines(args.data / f"{name}.jsonl", count) for name, count in most.items()}
    same_question_table(maker, occurring, lines(args.data / "question_pairs.jsonl"))
    gate = {
        "version": "2026-11-22",
        "features": list(FEATURES),
        "weights": [round(float(w), 4) for w in model.coef_[0]],
        "bias": round(float(model.intercept_[0]), 4),
    }
    print(json.dumps(gate))
    if args.write:
        TARGET.write_text(json.dumps(gate, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
