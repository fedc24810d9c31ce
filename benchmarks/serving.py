"""How many tokens a second does the batcher give at 1, 4 and 16 rows, and how long do first tokens and teaching take?

    python benchmarks/serving.py --threads 1 --json benchmarks/results/DATE-serving-1-thread.json

Every round asks one, four and sixteen questions in turn, so that a machine that is busy at times slows all alike.
Answers are sampled without a stop (the stop token is forbidden), so each has the same number of tokens.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from everlearn import Learner, wiring
from everlearn.engine.batcher import Batcher
from everlearn.engine.engine import Engine
from everlearn.engine.ticket import Ticket
from everlearn.evaluation.machine import commit, machine, versions
from everlearn.records import Lesson, Sampling
from everlearn.store.in_memory import InMemoryDerivedStore, InMemoryLessonStore

TOPICS = [
    "harbours",
    "bread",
    "glaciers",
    "violins",
    "bees",
    "lighthouses",
    "canals",
    "comets",
    "tea",
    "bridges",
    "owls",
    "salt",
    "kites",
    "maps",
    "ferns",
    "clocks",
]


def main() -> None:
    args = _arguments()
    parts = wiring.load_parts(wiring.load_settings(dtype=args.dtype, threads=args.threads))
    engine = wiring.engine_over(parts, InMemoryLessonStore(), InMemoryDerivedStore())
    result: dict[str, Any] = {
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "dtype": str(parts.model.dtype),
    }
    result |= {"threads": args.threads, "tokens": args.tokens, "load_average": os.getloadavg()}
    stops = tuple((token, -100.0) for token in sorted(engine.text.stop_ids))
    sampling = Sampling(max_new_tokens=args.tokens, logit_bias=stops)
    rows: dict[int, list[dict[str, float]]] = {1: [], 4: [], 16: []}
    asked(engine, 2, sampling)
    for _ in range(args.rounds):
        for count, found in rows.items():
            found.append(asked(engine, count, sampling))
    result["rows"] = {str(count): _medians(found) for count, found in rows.items()}
    one, many = (result["rows"][n]["decode_tokens_per_second"] for n in ("1", "16"))
    result["ratio_16_to_1"] = round(many / one, 2)
    result["joining"] = {str(n): joining(engine, sampling, n) for n in (128, 512)}
    result["teaching"] = teaching(engine, sampling)
    result["next_turn"] = next_turn(engine)
    result["load_average_after"] = os.getloadavg()
    text = json.dumps(result, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")


def asked(engine: Engine, count: int, sampling: Sampling) -> dict[str, float]:
    """Ask `count` questions at once; tokens a second of all, from the first question and while all are decoded."""
    batcher = Batcher(engine.model, kept_bytes=0)
    begun = time.perf_counter()
    tickets = [batcher.submit(engine, _question(n), sampling=sampling) for n in range(count)]
    firsts = [_first(ticket) - begun for ticket in tickets]  # in the order in which they were asked
    since, before = time.perf_counter(), batcher.load().counts["generated_tokens"]
    tickets[0].answer()
    until, after = time.perf_counter(), batcher.load().counts["generated_tokens"]
    tokens = sum(ticket.answer().usage.completion_tokens for ticket in tickets)
    ended = time.perf_counter()
    batcher.close()
    return {
        "tokens_per_second": tokens / (ended - begun),
        "decode_tokens_per_second": (after - before) / (until - since),  # while all rows are decoded
        "first_token_ms": 1000 * statistics.median(firsts),
        "last_first_token_ms": 1000 * max(firsts),
    }


def joining(engine: Engine, sampling: Sampling, prefill_tokens: int) -> dict[str, float]:
    """Four answers are running when one with a prompt of about 1,500 tokens comes."""
    batcher = Batcher(engine.model, prefill_tokens=prefill_tokens, kept_bytes=0)
    running = [batcher.submit(engine, _question(n), sampling=sampling) for n in range(4)]
    for ticket in running:
        next(ticket.pieces())
    stamps: list[float] = []
    running[0].listen(lambda _: stamps.append(time.perf_counter()))
    asked_at = time.perf_counter()
    late = batcher.submit(engine, "The ferry left the harbour at dawn. " * 180, sampling=Sampling(max_new_tokens=2))
    late.answer()
    first = time.perf_counter() - asked_at
    batcher.close()
    gaps = [b - a for a, b in itertools.pairwise(stamps) if b > asked_at]
    return {"longest_stall_ms": 1000 * max(gaps, default=0.0), "answer_ms": 1000 * first}


def teaching(engine: Engine, sampling: Sampling) -> dict[str, float]:
    """Teach while nothing and while eight answers are decoded; how long it takes, and what the answers lose."""
    learner = Learner(engine, background=False)
    learner.teach(Lesson("Who keeps the first gate?", "Ann"))
    idle = _teach(learner, "idle", 10)
    batcher = Batcher(engine.model, kept_bytes=0)
    endless = Sampling(max_new_tokens=2000, logit_bias=sampling.logit_bias)
    running = [batcher.submit(engine, _question(n), sampling=endless) for n in range(8)]
    for ticket in running:
        next(ticket.pieces())
    before = _gaps(running[0], 3.0)
    taught: list[float] = []
    thread = threading.Thread(target=lambda: taught.extend(_teach(learner, "busy", 10)))
    thread.start()
    during = _gaps(running[0], 3.0, thread)
    thread.join()
    batcher.close()
    learner.close()
    return {
        "teach_idle_ms": statistics.median(idle),
        "teach_busy_ms": statistics.median(taught),
        "teach_busy_worst_ms": max(taught),
        "step_ms": statistics.median(before),
        "step_while_teaching_ms": statistics.median(during),
        "step_while_teaching_worst_ms": max(during),
    }


def next_turn(engine: Engine) -> dict[str, float]:
    """The second turn of a conversation of about 500 tokens, with its first turn's cache and without."""
    talk: list[dict[str, str]] = [{"role": "user", "content": "The ferry left the harbour at dawn. " * 55 + "Why?"}]
    short = Sampling(max_new_tokens=8)
    found: dict[str, float] = {}
    for name, kept in (("kept", 2**28), ("anew", 0)):
        batcher = Batcher(engine.model, kept_bytes=kept)
        first = batcher.submit(engine, talk, sampling=short).answer()
        more = [*talk, {"role": "assistant", "content": first.text}, {"role": "user", "content": "And then?"}]
        usage = batcher.submit(engine, more, sampling=short).answer().usage
        found |= {f"{name}_prefill_ms": usage.prefill_ms, f"{name}_cached_tokens": float(usage.cached_tokens)}
        batcher.close()
    return found


def _teach(learner: Learner, name: str, count: int) -> list[float]:
    took = []
    for n in range(count):
        begun = time.perf_counter()
        learner.teach(Lesson(f"Who keeps the {name} lock number {n} of the canal?", f"Keeper {n}"))
        took.append(1000 * (time.perf_counter() - begun))
    return took


def _gaps(ticket: Ticket, seconds: float, thread: threading.Thread | None = None) -> list[float]:
    stamps: list[float] = []
    ended = threading.Event()

    def note(_said: object) -> None:
        if not ended.is_set():
            stamps.append(time.perf_counter())

    ticket.listen(note)
    if thread is None:
        time.sleep(seconds)
    else:
        thread.join()
    ended.set()
    gaps = [1000 * (b - a) for a, b in itertools.pairwise(stamps)]
    return [gap for gap in gaps if gap > 1.0]  # what was said before is told at once


def _first(ticket: Ticket) -> float:
    next(ticket.pieces())
    return time.perf_counter()


def _question(n: int) -> str:
    return f"Tell me everything that you know about {TOPICS[n]}, in many words, please." + " Take your time." * n


def _medians(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(each[name] for each in found), 2) for name in found[0]}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
