"""Kill -9 at random moments: is anything acknowledged lost, half a lesson served, or the chain of writes broken?

    PYTHONPATH=src:tests python benchmarks/kill_loop.py --rounds 500

Each round forks a process that teaches, supersedes, forgets and imports on one home, with a toy encoder, and writes an
acknowledgement to a pipe after each call; it is killed within --most-ms: in every second round of its first
acknowledgement, in the others of its start. Then the home is opened and compared with what was acknowledged. From
--large lessons on the table lies in files, so that kills meet their writing as well.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import sys
import tempfile
import time
from pathlib import Path

from everlearn import wiring
from everlearn.memory import filing
from everlearn.records import DEFAULT_TABLE, Lesson
from everlearn.store.port import EVERYTHING
from toys import engine_on_disk, toy_learner, toy_parts

_PATIENCE = 60.0  # seconds for the first acknowledgement


def work(home: Path, parts: wiring.Parts, seed: int, acknowledged: int) -> None:
    """What the process does until it is killed."""
    drawn = random.Random(seed)
    engine = engine_on_disk(home, parts)
    learner = toy_learner(engine)
    mine: list[str] = []
    for n in range(10**6):
        question, answer = f"What does r{seed}q{drawn.randrange(6)} say?", f"s{seed}n{n}"
        if drawn.random() < 0.25 and mine:
            gone = mine.pop(drawn.randrange(len(mine)))
            os.write(acknowledged, f"forgetting {gone}\n".encode())
            learner.forget(gone)
            os.write(acknowledged, f"forgot {gone}\n".encode())
        elif drawn.random() < 0.15:
            many = [Lesson(f"What is b{seed}n{n}m{m}?", f"{answer} {m}") for m in range(50)]
            ids = [taught.lesson.id for taught in learner.teach_many(many, batch_size=25)]
            os.write(
                acknowledged, "".join(f"taught {i} {le.answer}\n" for i, le in zip(ids, many, strict=True)).encode()
            )
        else:
            taught = learner.teach(Lesson(question, answer)).lesson
            mine.append(taught.id)
            os.write(acknowledged, f"taught {taught.id} {answer}\n".encode())


def one_round(home: Path, parts: wiring.Parts, seed: int, most_ms: float) -> list[str]:
    """Fork, kill, and return what was acknowledged."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            work(home, parts, seed, write)
        finally:
            os._exit(1)
    os.close(write)
    if seed % 2:  # every second round is killed at work, not while it starts, however slow the machine is
        select.select([read], [], [], _PATIENCE)
    time.sleep(random.Random(-seed).random() * most_ms / 1000)
    os.kill(child, signal.SIGKILL)
    with os.fdopen(read, encoding="utf-8") as pipe:
        lines = pipe.read().splitlines()
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, f"round {seed}: the process ended by itself ({status})"
    return lines


def check(home: Path, parts: wiring.Parts, living: dict[str, str], doubtful: set[str]) -> None:
    """Compare the home with what was acknowledged."""
    engine = engine_on_disk(home, parts)
    try:
        store = engine.memory.store
        engine.memory.refresh()
        stored = {lesson.id: lesson for lesson in store.lessons(EVERYTHING)}
        for lesson_id, answer in living.items():
            assert lesson_id in doubtful or stored[lesson_id].answer == answer, f"{lesson_id} is lost"
        report = store.audit()
        assert not report.flaws, report.flaws
        assert engine.memory.derived.ids() <= set(stored), "something derived outlived its lesson"
        active = {lesson.id for lesson in stored.values() if lesson.status == "active"}
        table = engine.memory.table(DEFAULT_TABLE)
        assert sorted(table.ids()) == sorted(active), "the index is not the store"
        if table.filed is not None:
            assert set(table.filed.saved.ids()) <= set(stored), "a forgotten lesson's row is in the files"
    finally:
        engine.close()


def run(home: Path, rounds: int, most_ms: float, large: int = filing.LARGE) -> dict[str, object]:
    filing.LARGE, filing.MOST_NEW = large, min(filing.MOST_NEW, max(large // 10, 1))
    parts, living, gone = toy_parts(), dict[str, str](), set[str]()
    counts, begun = {"taught": 0, "forgot": 0, "killed before the first": 0}, time.perf_counter()
    for seed in range(1, rounds + 1):
        lines = one_round(home, parts, seed, most_ms)
        doubtful = set()
        for verb, lesson_id, *answer in (line.split(" ", 2) for line in lines):
            if verb == "taught":
                living[lesson_id] = answer[0]
            elif verb == "forgetting":
                doubtful.add(lesson_id)
            else:
                doubtful.discard(lesson_id)
                del living[lesson_id]
                gone.add(lesson_id)
            counts[verb] = counts.get(verb, 0) + 1
        counts["killed before the first"] += not lines
        check(home, parts, living, doubtful)
        for lesson_id in doubtful:
            living.pop(lesson_id, None)
    return {"rounds": rounds, **counts, "lost": 0, "seconds": round(time.perf_counter() - begun, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--most-ms", type=float, default=400)
    parser.add_argument("--large", type=int, default=200, help="lessons from which on the table lies in files")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        json.dump(run(Path(home), given.rounds, given.most_ms, given.large), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
