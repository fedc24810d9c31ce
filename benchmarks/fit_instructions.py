"""Fit the model that tells text which orders a language model about from text that informs.

Logistic regression over words and pairs of words, most weights 0 (L1), shipped as plain JSON that can be read: which
words speak for an order, and how strongly. Fitted on one half of deepset's prompt injections and of texts that inform
(answers of counsellors, solutions of school problems, questions and passages), which sets the threshold, too; figures
come from the other half. Sentences are judged, since an order is hidden in a text that is otherwise harmless.

    python benchmarks/fit_instructions.py --data FOLDER_OF_ALL_SETS [--write]
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from everlearn.safety.instructions import InstructionModel, grams, sentences
from harm_data import grouped_half, half, lines

TARGET = Path(__file__).parents[1] / "src" / "everlearn" / "safety" / "instructions.json"
FALSE_ALARMS = 0.001  # of texts that inform, at the threshold


def injections(data: Path) -> dict[int, list[tuple[str, int]]]:
    rows = lines(data / "safety" / "injection_train.jsonl")
    halves: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for row, where in zip(rows, grouped_half([r["text"] for r in rows]), strict=True):
        halves[where].append((row["text"], row["label"]))
    return halves


def informing(data: Path) -> dict[str, list[str]]:
    squad = lines(data / "knowledge" / "squad_passages.jsonl")
    counsel = lines(data / "domains" / "psychology" / "counsel_chat.jsonl")
    return {
        "counsel-chat answers": [r["answerText"] for r in counsel if r["answerText"]],
        "gsm8k solutions": [r["answer"] for r in lines(data / "domains/math/gsm8k_train.jsonl")[:1500]],
        "squad passages": [r["context"] for r in squad],
        "squad answers": [q["answer"] for r in squad for q in r["questions"]],
        "zsre prompts": [r["prompt"] for r in lines(data / "editing/zsre.jsonl")],
        "zsre answers": [r["target"] for r in lines(data / "editing/zsre.jsonl")],
        "qaedit answers": [r["target"] for r in lines(data / "editing/qaedit.jsonl")],
        "unrelated questions": [r["prompt"] for r in lines(data / "editing/unrelated_questions.jsonl")],
        "humaneval code": [r["prompt"] + r["canonical_solution"] for r in lines(data / "domains/code/humaneval.jsonl")],
    }


def training_rows(pairs: list[tuple[str, int]], inform: dict[str, list[str]]) -> tuple[list[str], list[int]]:
    """Sentences: each of a text that informs; of an injection the whole text and each of its sentences that orders."""
    texts, labels = [], []
    for text, label in pairs:
        parts = [text] if label else sentences(text)
        texts += parts
        labels += [label] * len(parts)
    for name, some in inform.items():
        parts = [p for text in some if half(text) == 0 for p in sentences(text)]
        texts += parts[:6000] if name == "counsel-chat answers" else parts[:3000]
        labels += [0] * (len(texts) - len(labels))
    return texts, labels


def fit(texts: list[str], labels: list[int], c: float) -> dict[str, float]:
    counts = CountVectorizer(analyzer=grams, binary=True, min_df=3)
    x = counts.fit_transform(texts)
    weight = {0: 1.0, 1: 0.5 * labels.count(0) / max(labels.count(1), 1) / 4}
    model = LogisticRegression(C=c, l1_ratio=1, solver="liblinear", class_weight=weight, max_iter=500).fit(x, labels)
    names = counts.get_feature_names_out()
    kept = {str(names[n]): round(float(model.coef_[0, n]), 3) for n in np.flatnonzero(np.abs(model.coef_[0]) > 0.05)}
    return {"": round(float(model.intercept_[0]), 3)} | dict(sorted(kept.items(), key=lambda pair: -pair[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--strength", type=float, default=0.3, help="inverse of the L1 penalty")
    parser.add_argument("--write", action="store_true", help=f"write {TARGET.name} into the package")
    args = parser.parse_args()
    halves, inform = injections(args.data), informing(args.data)
    weights = fit(*training_rows(halves[0], inform), args.strength)
    model = InstructionModel(weights, 0.0)
    held = {name: [t for t in some if half(t) == 1] for name, some in inform.items()}
    quiet = np.array([model.log_odds(t)[0] for some in inform.values() for t in some if half(t) == 0])
    threshold = round(float(np.quantile(quiet, 1 - FALSE_ALARMS)), 3)
    orders = [t for t, label in halves[1] if label]
    harmless = [t for t, label in halves[1] if not label]
    print(f"{len(weights)} weights, threshold {threshold}; held out:")
    print(f"  orders found: {np.mean([model.log_odds(t)[0] >= threshold for t in orders]):.3f} of {len(orders)}")
    for name, some in {**held, "harmless of the same set": harmless}.items():
        print(f"  {name}: {np.mean([model.log_odds(t)[0] >= threshold for t in some]):.4f} of {len(some)}")
    if args.write:
        data = {"version": "2026-11-25", "threshold": threshold, "weights": weights}
        TARGET.write_text(json.dumps(data, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
