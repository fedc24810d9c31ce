"""Fit the passage gate: when does a passage of a document answer a question?

Trained on SQuAD passages with their questions (development half) and on questions that none of them answers. For each
question the rows are what recall meets in use: its own passage; candidates of the same articles that do not hold its
answer (not the same, at a weight below 1: a passage about the right thing does little harm, one about another thing
does); the candidates of an unrelated question. Judged with each article left out of training in turn, and on unrelated
questions of the other half.

    python benchmarks/fit_passage_gate.py --data FOLDER --encoder FOLDER [--write] [--json RESULT]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from everlearn.memory.key import KeyMaker
from everlearn.memory.passage_gate import FEATURES, PassageGate, features
from everlearn.memory.passages import Passages, window_vectors
from everlearn.models.encoder import SentenceEncoder
from everlearn.models.sources import ModelFiles
from everlearn.records import Lesson

TARGET = Path(__file__).parents[1] / "src" / "everlearn" / "memory" / "passage_gate.json"
SAME_ARTICLE_WEIGHT = 0.3
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass
class Row:
    """A question against a candidate: evidence, whether it answers, own|other|unrelated, its article and number."""

    x: np.ndarray
    y: int
    kind: str  # own, other, unrelated
    article: str
    question: int


def lines(path: Path, most: int | None = None) -> list[dict]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file][:most]


def rows_of(data: Path, maker: KeyMaker, unrelated: list[str]) -> list[Row]:
    records = lines(data / "knowledge" / "squad_passages.jsonl")
    passages = Passages(maker, PassageGate((0.0,) * len(FEATURES), 0.0, "none"))
    lessons = [
        Lesson(r["title"], r["context"], kind="passage", id=f"{n:04}", source=r["title"]) for n, r in enumerate(records)
    ]
    for lesson, vectors in zip(lessons, window_vectors(maker, lessons), strict=True):
        passages.add(lesson, vectors)
    asked = [(q["question"], q["answer"], n) for n, r in enumerate(records) for q in r["questions"]]
    asked += [(text, "", -1) for text in unrelated]
    vectors = maker.vectors([text for text, _, _ in asked])
    rows: list[Row] = []
    for number, ((text, answer, own), vector) in enumerate(zip(asked, vectors, strict=True)):
        article = records[own]["title"] if own >= 0 else ""
        key = maker.key_of(text, vector)
        for lesson in (lessons[int(i)] for i in passages.candidates(key)):
            x = features(key, passages.evidence(key, lesson.id))
            if int(lesson.id) == own:
                rows.append(Row(x, 1, "own", article, number))
            elif own < 0:
                rows.append(Row(x, 0, "unrelated", "", number))
            elif answer.casefold() not in lesson.answer.casefold():
                rows.append(Row(x, 0, "other", article, number))
    return rows


def fitted(rows: list[Row]) -> LogisticRegression:
    weights = [SAME_ARTICLE_WEIGHT if r.kind == "other" else 1.0 for r in rows]
    x, y = np.stack([r.x for r in rows]), [r.y for r in rows]
    return LogisticRegression(C=10, max_iter=5000).fit(x, y, sample_weight=weights)


def share(rows: list[Row], p: np.ndarray, kind: str, threshold: float, total: int) -> float:
    """Share of the questions of a kind that have a passage at or above the threshold."""
    return len({r.question for r, each in zip(rows, p, strict=True) if r.kind == kind and each >= threshold}) / total


def report(rows: list[Row], p: np.ndarray, asked: int, unrelated: int) -> dict:
    y = np.array([r.y for r in rows])
    found = {
        "pairs": len(rows),
        "auc": round(float(roc_auc_score(y, p)), 4),
        "brier": round(float(brier_score_loss(y, p)), 4),
        "own_among_candidates": round(sum(r.kind == "own" for r in rows) / asked, 4),
    }
    for threshold in THRESHOLDS:
        found[f"p>={threshold}"] = {
            "recall": round(share(rows, p, "own", threshold, asked), 4),
            "another_passage_of_the_same_article": round(share(rows, p, "other", threshold, asked), 4),
            "false_recall": round(share(rows, p, "unrelated", threshold, unrelated), 4),
        }
    bins = np.clip((p * 10).astype(int), 0, 9)
    weight = np.array([SAME_ARTICLE_WEIGHT if r.kind == "other" else 1.0 for r in rows])
    found["reliability"] = [
        {"p": round(float(np.average(p[bins == b], weights=weight[bins == b])), 3),
         "true": round(float(np.average(y[bins == b], weights=weight[bins == b])), 3), "pairs": int((bins == b).sum())}
        for b in range(10) if (bins == b).any()
    ]  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with knowledge/ and editing/")
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=800, help="unrelated questions; half train, half judge")
    parser.add_argument("--write", action="store_true", help=f"write {TARGET.name} into the package")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    maker = KeyMaker(SentenceEncoder.from_folder(ModelFiles("minilm", args.encoder, "fit")))
    unrelated = [r["prompt"] for r in lines(args.data / "editing" / "unrelated_questions.jsonl", args.questions)]
    rows = rows_of(args.data, maker, unrelated)
    asked = sum(len(r["questions"]) for r in lines(args.data / "knowledge" / "squad_passages.jsonl"))
    training = [r for r in rows if r.kind != "unrelated" or r.question % 2 == 0]
    judged = [r for r in rows if r.kind != "unrelated" or r.question % 2 == 1]
    p = np.zeros(len(judged))
    for article in sorted({r.article for r in judged}):
        model = fitted([r for r in training if r.article != article or not article])
        here = [n for n, r in enumerate(judged) if r.article == article]
        p[here] = model.predict_proba(np.stack([judged[n].x for n in here]))[:, 1]
    found = report(judged, p, asked, sum(n % 2 for n in range(asked, asked + len(unrelated))))
    model = fitted(training)
    gate = {
        "version": f"{datetime.now(UTC):%Y-%m-%d}",
        "features": list(FEATURES),
        "weights": [round(float(w), 4) for w in model.coef_[0]],
        "bias": round(float(model.intercept_[0]), 4),
    }
    print(json.dumps(found, indent=1))
    print(json.dumps(gate))
    if args.json:
        args.json.write_text(json.dumps({"gate": gate, **found}, indent=1) + "\n", encoding="utf-8")
    if args.write:
        TARGET.write_text(json.dumps(gate, indent=2) + "\n", encoding="utf-8")
        assert PassageGate.packaged().weights == tuple(gate["weights"])


if __name__ == "__main__":
    main()
