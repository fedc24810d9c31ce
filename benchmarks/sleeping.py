"""What does a sleep on real weights learn, and what does it change? The figures that a sleep has to reach.

Pairs of an editing set are taught to the look-up table, one sleep moves them into an adapter, and then:

* the adapter alone (tables off) answers the taught questions, and wordings of the set that no training saw;
* forced on everywhere it follows the base model's own answers to unrelated prompts (share of equal likeliest tokens),
  and reads text it never saw (perplexity beside the base's);
* behind the router, unrelated prompts are answered as the base model answers them, letter by letter;
* a harmful candidate (trained without anything that holds the base, far too fast) is refused.

Exact answers are judged as greedy decoding would give them, the stop token included.

    python benchmarks/sleeping.py --data qaedit.jsonl --unrelated unrelated_questions.jsonl --text wikitext.txt
        [--pairs 100] [--epochs 6] [--rate 4e-3] [--rank 8] [--wordings 4] [--general 400] [--share 1]
        [--hold 4] [--null-space 0.5] [--write]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from everlearn.engine.engine import Engine
from everlearn.evaluation.edits import Edit, read_edits
from everlearn.evaluation.latency import where
from everlearn.evaluation.metrics import wilson
from everlearn.learning.examples import Example, encoded
from everlearn.learning.learner import Learner
from everlearn.learning.probing import drift_of
from everlearn.learning.scoring import exact_answers, perplexity
from everlearn.learning.self_distillation import own_answers
from everlearn.learning.sleep_settings import SleepSettings
from everlearn.records import Lesson, Sampling, Verdict
from everlearn.specialists.settings import AdapterSettings
from everlearn.wiring import engine_over, load_parts, load_settings, open_derived, open_store

RESULTS = Path(__file__).parent / "results"
TEXT_TOKENS = 16_384
ANSWER = Sampling(max_new_tokens=32)


def told(what: str, done: int, total: int) -> None:
    if done == total or done % 50 == 0:
        print(f"  {what}: {done} of {total}", file=sys.stderr, flush=True)


def settings_of(arguments: argparse.Namespace) -> SleepSettings:
    plain = SleepSettings()
    training = replace(plain.training, epochs=arguments.epochs, rate=arguments.rate)
    shape = AdapterSettings(rank=arguments.rank, alpha=2.0 * arguments.rank, frozen_blocks=arguments.frozen)
    return replace(
        plain,
        training=training,
        adapter=shape,
        wordings=arguments.wordings,
        general=arguments.general,
        general_share=arguments.share,
        hold=arguments.hold,
        null_space=arguments.null_space,
    )


def harmful(settings: SleepSettings) -> SleepSettings:
    """Nothing holds the base model, and the steps are far too long."""
    training = replace(settings.training, epochs=2, rate=2e-2)
    return replace(settings, training=training, general_share=0.0, fresh=True)


def share(hits: Sequence[bool]) -> dict[str, Any]:
    part = sum(hits) / len(hits)
    return {"share": part, "of": len(hits), "interval": list(wilson(part, len(hits)))}


def asked(engine: Engine, pairs: Sequence[tuple[str, str]], adapter: str) -> list[bool]:
    assert engine.specialists is not None
    rows = [encoded(engine.text, Example(prompt, answer)) for prompt, answer in pairs]
    adapters = engine.specialists.adapters
    return exact_answers(engine.model, rows, adapters=adapters, worn=[adapter] * len(rows))


def behind_router(engine: Engine, prompts: Sequence[str], adapter: str) -> dict[str, Any]:
    """Unrelated prompts as an ordinary request is answered, beside the bare base model."""
    bare = engine.answer_many(prompts, tables=(), adapter="", sampling=ANSWER)
    now = engine.answer_many(prompts, sampling=ANSWER)
    same = [a.text == b.text for a, b in zip(bare, now, strict=True)]
    return {**share(same), "routed": sum(a.receipt.adapter == adapter for a in now)}


def measured(
    engine: Engine, edits: Sequence[Edit], unrelated: Sequence[str], text: str, adapter: str
) -> dict[str, Any]:
    assert engine.specialists is not None
    adapters = engine.specialists.adapters
    adapters.load(adapter)
    found: dict[str, Any] = {"taught": share(asked(engine, [(e.prompt, e.target) for e in edits], adapter))}
    unseen = [(question, e.target) for e in edits for question in e.rephrases]
    found["other_words"] = share(asked(engine, unseen, adapter))
    rows = own_answers(engine, unrelated)
    agreement, drift = drift_of(adapters, adapter, rows)
    found["agreement"], found["drift"] = sum(agreement) / len(agreement), sum(drift) / len(drift)
    ids = engine.text.plain_ids(text)[:TEXT_TOKENS]
    for name, worn in (("perplexity_base", nullcontext()), ("perplexity_worn", adapters.worn([adapter]))):
        with worn:
            found[name] = perplexity(engine.model, ids)
    found["behind_router"] = behind_router(engine, unrelated, adapter)
    questions = [(e.prompt, e.target) for e in edits]
    said = engine.answer_many([prompt for prompt, _ in questions], sampling=ANSWER)
    right = [a.text == target for a, (_, target) in zip(said, questions, strict=True)]
    found["asked_as_usual"] = {**share(right), "by_adapter": sum(a.receipt.adapter == adapter for a in said)}
    return found


def told_of(verdict: Verdict) -> dict[str, Any]:
    kept = {"accepted": verdict.accepted, "reasons": list(verdict.reasons), "figures": dict(verdict.figures)}
    return {**kept, "seconds": verdict.seconds, "retired": len(verdict.retired), "adapter": verdict.adapter}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--unrelated", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--asked", type=int, default=200, help="unrelated prompts")
    for name, kind in (("epochs", int), ("rate", float), ("rank", int), ("wordings", int), ("general", int)):
        plain = SleepSettings()
        usual = {"epochs": plain.training.epochs, "rate": plain.training.rate, "rank": plain.adapter.rank}
        parser.add_argument(f"--{name}", type=kind, default=usual.get(name, getattr(plain, name, None)))
    parser.add_argument("--share", type=float, default=SleepSettings().general_share)
    parser.add_argument("--hold", type=float, default=SleepSettings().hold, help="weight of an unrelated prompt")
    parser.add_argument("--null-space", type=float, default=SleepSettings().null_space, help="share of directions")
    parser.add_argument(
        "--frozen",
        type=float,
        default=SleepSettings().adapter.frozen_blocks,
        help="share of the lowest blocks without an adapter",
    )
    parser.add_argument("--harmful", action="store_true", help="also a candidate that has to be refused")
    parser.add_argument("--write", action="store_true", help="keep the result under benchmarks/results")
    arguments = parser.parse_args()
    edits = read_edits(arguments.data)[: arguments.pairs]
    with arguments.unrelated.open(encoding="utf-8") as file:
        unrelated = [json.loads(line)["prompt"] for line in file][: arguments.asked]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        settings = load_settings(state=folder)
        parts = load_parts(settings)
        engine = engine_over(parts, open_store(settings), open_derived(settings), settings.adapters_folder)
        learner = Learner(engine, background=False)
        learner.teach_many([Lesson(e.prompt, e.target, domain="facts") for e in edits])
        night = settings_of(arguments)
        begun = time.perf_counter()
        report: dict[str, Any] = {"benchmark": "sleep", "date": f"{datetime.now(UTC):%Y-%m-%d}", **where()}
        report["settings"] = {k: str(v) if isinstance(v, Path) else v for k, v in vars(arguments).items()}
        if arguments.harmful:
            (verdict,) = learner.sleep("facts", settings=harmful(night), progress=told)
            report["harmful"] = told_of(verdict)
            print(json.dumps(report["harmful"], indent=1), flush=True)
        (verdict,) = learner.sleep("facts", settings=night, progress=told)
        report["verdict"] = told_of(verdict)
        print(json.dumps(report["verdict"], indent=1), flush=True)
        if verdict.accepted:
            text = arguments.text.read_text(encoding="utf-8")
            report["found"] = measured(engine, edits, unrelated, text, verdict.adapter)
        report["seconds"] = time.perf_counter() - begun
        learner.close()
        engine.close()
    print(json.dumps(report, indent=1))
    if arguments.write:
        path = RESULTS / f"{report['date']}-sleep.json"
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
