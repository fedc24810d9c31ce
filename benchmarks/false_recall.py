"""How often does an entry speak for a question that it has nothing to do with?

The editing sets ask short questions only. This teaches the first T edits of one and asks recall, without decoding,
about the prompts of any other files: long ones, code, other languages.

    python benchmarks/false_recall.py --data qaedit.jsonl --edits 200 --asked gsm8k.jsonl --asked chat.jsonl
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from everlearn.engine.engine import Engine
from everlearn.evaluation.edits import read_edits
from everlearn.evaluation.latency import where
from everlearn.evaluation.metrics import wilson
from everlearn.learning.learner import Learner
from everlearn.records import Lesson
from everlearn.wiring import engine_over, load_parts, load_settings, open_derived, open_store

FIELDS = ("prompt", "question", "instruction", "questionText", "text")


def texts(path: Path, most: int) -> Iterator[str]:
    """The first prompts of a JSON Lines file, whatever it calls them."""
    with path.open(encoding="utf-8") as file:
        for _, line in zip(range(most), file, strict=False):
            row = json.loads(line)
            found = next((row[name] for name in FIELDS if isinstance(row.get(name), str) and row[name].strip()), None)
            if found is None:
                raise SystemExit(f"{path.name}: a line has none of the fields {', '.join(FIELDS)}")
            yield found


def asked(engine: Engine, path: Path, most: int) -> dict[str, Any]:
    """How often an entry speaks for the prompts of a file, and the surest cases."""
    spoken, count = [], 0
    for text in texts(path, most):
        count += 1
        spoke = engine.recall(text).spoke
        if spoke is not None:
            entry = engine.memory.store.lesson(spoke.lesson_id).prompt
            spoken.append({"probability": spoke.probability, "score": spoke.score, "asked": text[:200], "entry": entry})
    share = len(spoken) / count
    worst = sorted(spoken, key=lambda row: -row["probability"])[:5]
    return {"file": path.name, "asked": count, "false_recall": share, "interval": wilson(share, count), "worst": worst}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="JSON Lines file of edits to teach")
    parser.add_argument("--edits", type=int, default=200)
    parser.add_argument("--asked", type=Path, action="append", required=True, help="JSON Lines file of other prompts")
    parser.add_argument("--most", type=int, default=500, help="prompts of each file")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    args = parser.parse_args()
    place = where()
    settings = load_settings()
    parts = load_parts(settings)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        own = settings.model_copy(update={"home": Path(folder)})
        engine = engine_over(parts, open_store(own), open_derived(own))
        learner = Learner(engine, background=False)
        learner.teach_many([Lesson(edit.prompt, edit.target) for edit in read_edits(args.data, args.edits)])
        rows = [asked(engine, path, args.most) for path in args.asked]
        learner.close()
        engine.close()
    about = {"benchmark": "false-recall", "date": f"{datetime.now(UTC):%Y-%m-%d}", "data": args.data.name}
    result = {**about, "edits": args.edits, "files": rows, "where": place}
    print(json.dumps(result, indent=1, ensure_ascii=False))
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
