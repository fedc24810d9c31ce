"""How long one update of the weights takes, how soon lessons can be asked, and what the system holds in memory.

    python benchmarks/updates.py --data counterfact.jsonl [--lessons 10000] [--updates 15] [--threads 2] [--json OUT]

Lessons are pairs of an editing set. The first 1,000 are taught alone, and the last of them is asked: they are
answerable when `teach_many` returns. Then the rest is taught, the replay buffer is filled with as many examples, three
adapters are loaded, and one of them is updated with 16 new and 16 replayed examples at a time, as a sleep does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from everlearn.evaluation.edits import read_edits
from everlearn.evaluation.latency import where
from everlearn.evaluation.machine import own_bytes, resident_bytes
from everlearn.learning.examples import Example
from everlearn.learning.learner import Learner
from everlearn.learning.replay import ReplayBuffer
from everlearn.learning.sleep_settings import SleepSettings
from everlearn.learning.trainer import Trainer
from everlearn.learning.training_log import TrainingStep
from everlearn.learning.weights import AdapterWeights
from everlearn.records import Lesson
from everlearn.wiring import engine_over, load_parts, load_settings, open_derived, open_store

SOON = 1_000
ADAPTERS = ("one", "two", "three")


def main() -> None:
    args = arguments()
    edits = read_edits(args.data)[: args.lessons]
    lessons = [Lesson(e.prompt, e.target) for e in edits]
    report: dict[str, Any] = {"benchmark": "updates", **where(), "threads": args.threads, "lessons": len(lessons)}
    report["load_average"] = os.getloadavg()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        settings = load_settings(state=folder, dtype=args.dtype, threads=args.threads)
        parts = load_parts(settings)
        engine = engine_over(parts, open_store(settings), open_derived(settings), settings.adapters_folder)
        report["dtype"] = str(parts.model.dtype)
        report["bytes"] = {"model loaded": held()}
        learner = Learner(engine, background=False)
        begun = time.perf_counter()
        learner.teach_many(lessons[:SOON])
        asked = engine.recall(lessons[SOON - 1].prompt)
        report["answerable"] = {
            "lessons": SOON,
            "seconds": round(time.perf_counter() - begun, 2),
            "the last one speaks": asked.spoke is not None,
        }
        print(json.dumps(report["answerable"]), flush=True)
        learner.teach_many(lessons[SOON:])
        report["bytes"]["lessons taught"] = held()
        buffer = ReplayBuffer(Path(folder, "replay.jsonl"))
        kept = buffer.add([Example(e.prompt, e.target, "old", source=f"{n}") for n, e in enumerate(edits)])
        report["replay"] = {
            "examples": kept,
            "bytes": buffer.bytes,
            "on disk": Path(folder, "replay.jsonl").stat().st_size,
        }
        report["bytes"]["replay filled"] = held()
        assert engine.specialists is not None
        adapters = engine.specialists.adapters
        for name in ADAPTERS:
            adapters.create(name, SleepSettings().adapter, seed=0)
        report["bytes"]["adapters loaded"] = held()
        plain = SleepSettings().training
        new = [Example(e.prompt, e.target, "new") for e in edits[: 16 * args.updates]]
        for precision in ("model", "bf16"):
            training = replace(plain, epochs=1, batch=16, replay_share=1.0, precision=precision)
            trainer = Trainer(AdapterWeights(adapters, ADAPTERS[0]), parts.text, training, replay=buffer)
            steps: list[TrainingStep] = []
            trainer.train(new, watch=steps.append)
            seconds = [step.seconds for step in steps[1:]]
            report[f"update, precision {precision}"] = {
                "median_seconds": round(statistics.median(seconds), 3),
                "least": round(min(seconds), 3),
                "most": round(max(seconds), 3),
                "tokens": round(statistics.median(step.tokens_per_second * step.seconds for step in steps[1:])),
            }
        report["bytes"]["after updates"] = held()
        report["load_average_after"] = os.getloadavg()
        buffer.close()
        learner.close()
        engine.close()
    text = json.dumps(report, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")


def held() -> dict[str, int]:
    """Bytes of this process in memory: all, and without pages of mapped files."""
    return {"resident": resident_bytes(), "own": own_bytes()}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="an editing set")
    parser.add_argument("--lessons", type=int, default=10_000)
    parser.add_argument("--updates", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
