"""What reading lessons as context does to answers: does it help, and does it harm?

passages: SQuAD questions are asked of the bare model, with what recall finds, and with the right passage (the ceiling),
in several forms of the prompt. An answer counts where it holds a gold answer of the question, normalised.

pairs: edits are taught, their rephrases and locality questions asked. Between `context_threshold` and `threshold` an
entry is read as context: rephrases that are rescued speak for it, locality answers that change against it.

    python benchmarks/context_quality.py passages --data FOLDER [--questions 100] [--json RESULT]
    python benchmarks/context_quality.py pairs --data FOLDER [--edits 200] [--json RESULT]
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from everlearn import Learner, wiring
from everlearn.engine.context import told
from everlearn.engine.engine import Engine
from everlearn.evaluation.metrics import normalised
from everlearn.records import Lesson, Sampling, TableSettings
from everlearn.store.port import LessonQuery

SHORT = Sampling(max_new_tokens=32)
FORMS: dict[str, Callable[[str, str], str]] = {
    "plain": lambda text, question: f"{text}\n\n{question}",
    "instructed": lambda text, question: f"{text}\n\nUse the text above to answer: {question}",
    "question first": lambda text, question: f"{question}\n\n{text}",
}


def lines(path: Path) -> list[dict]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def holds(answer: str, golds: set[str]) -> bool:
    said = f" {normalised(answer)} "
    return any(f" {normalised(gold)} " in said for gold in golds)


def passages(engine: Engine, data: Path, count: int, seed: int) -> dict:
    learner = Learner(engine, background=False)
    records = lines(data / "knowledge" / "squad_passages.jsonl")
    for n, record in enumerate(records):
        learner.learn_from_text(record["context"], title=record["title"], source=f"squad {n}")
    own = {le.source: le for le in engine.memory.store.lessons(LessonQuery(kind="passage", limit=10_000))}
    golds: dict[str, set[str]] = {}
    for record in records:
        for q in record["questions"]:
            golds.setdefault(q["question"], set()).add(q["answer"])
    asked = [(q["question"], f"squad {n}") for n, record in enumerate(records) for q in record["questions"]]
    asked = random.Random(seed).sample(list(dict.fromkeys(asked)), count)
    questions = [question for question, _ in asked]

    def score(answers: list) -> float:
        return sum(holds(a.text, golds[q]) for a, q in zip(answers, questions, strict=True)) / count

    found: dict = {"questions": count}
    found["bare"] = score(engine.answer_many(questions, tables=(), sampling=SHORT))
    recalled = engine.answer_many(questions, sampling=SHORT)
    found["recalled"] = score(recalled)
    found["read_something"] = sum(bool(a.receipt.context) for a in recalled) / count
    sources = {le.id: le.source for le in own.values()}
    right = [
        any(sources.get(r.lesson_id) == s for r in a.receipt.context) for a, (_, s) in zip(recalled, asked, strict=True)
    ]
    found["read_the_right_passage"] = sum(right) / count
    found["recalled_where_right"] = sum(
        holds(a.text, golds[q]) for a, q, r in zip(recalled, questions, right, strict=True) if r
    ) / max(sum(right), 1)
    print(json.dumps(found), flush=True)
    for name, form in FORMS.items():
        prompts = [form(told(own[source]), question) for question, source in asked]
        found[f"right passage, {name}"] = score(engine.answer_many(prompts, tables=(), sampling=SHORT))
        print(json.dumps(found), flush=True)
    return found


def pairs(engine: Engine, data: Path, name: str, edits: int, lowest: float) -> dict:
    learner = Learner(engine, background=False)
    records = lines(data / "editing" / f"{name}.jsonl")[:edits]
    learner.teach_many([Lesson(r["prompt"], r["target"]) for r in records])
    engine.memory.store.put_table("default", TableSettings(context_threshold=lowest))
    rephrases = [(r["rephrases"][0], r["target"]) for r in records if r["rephrases"]]
    local = [item["prompt"] for r in records for item in r["locality"][:1]]

    def between(questions: list[str]) -> list[tuple[int, float]]:
        """Which questions read an entry, and the highest probability among those."""
        seen = [engine.recall(q) for q in questions]
        return [(n, max(c.probability for c in r.context)) for n, r in enumerate(seen) if r.context]

    near, harm = between([q for q, _ in rephrases]), between(local)
    helped = engine.answer_many([rephrases[n][0] for n, _ in near], sampling=SHORT)
    rescued = [holds(a.text, {rephrases[n][1]}) for a, (n, _) in zip(helped, near, strict=True)]
    asked = [local[n] for n, _ in harm]
    bare = engine.answer_many(asked, tables=(), sampling=SHORT)
    read = engine.answer_many(asked, sampling=SHORT)
    changed = [a.text != b.text for a, b in zip(bare, read, strict=True)]
    found: dict = {
        "set": name,
        "edits": edits,
        "rephrases": len(rephrases),
        "locality": len(local),
        "gate": engine.memory.gate.version,
    }
    for threshold in (0.1, 0.2, 0.3, 0.4):
        if threshold >= lowest:
            found[f"context_threshold {threshold}"] = {
                "rephrases_rescued": sum(r for r, (_, p) in zip(rescued, near, strict=True) if p >= threshold)
                / len(rephrases),
                "rephrases_read": sum(p >= threshold for _, p in near) / len(rephrases),
                "locality_changed": sum(c for c, (_, p) in zip(changed, harm, strict=True) if p >= threshold)
                / len(local),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["passages", "pairs"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--set", default="counterfact")
    parser.add_argument("--edits", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    settings = wiring.load_settings()
    parts = wiring.load_parts(settings)
    with tempfile.TemporaryDirectory() as folder:
        own = settings.model_copy(update={"state": Path(folder)})
        engine = wiring.engine_over(parts, wiring.open_store(own), wiring.open_derived(own))
        if args.what == "passages":
            found = passages(engine, args.data, args.questions, args.seed)
        else:
            found = pairs(engine, args.data, args.set, args.edits, 0.1)
        engine.close()
    found["date"] = datetime.now(UTC).isoformat(timespec="minutes")
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
