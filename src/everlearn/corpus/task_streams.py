"""Tasks of a continual-learning stream: DIR/train/NAME.jsonl and DIR/test/NAME.jsonl."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from everlearn.corpus.json_rows import json_line_rows
from everlearn.errors import FileFormatError, InputError

_ANSWERS = ("output", "answer", "target")


@dataclass(frozen=True, slots=True)
class Case:
    """One question of a task with its right answer, and where it stands."""

    prompt: str
    answer: str
    source: str


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a stream; what is tested is never trained on."""

    name: str
    train: Sequence[Case]
    test: Sequence[Case]


def read_stream(spoken: str, *, train: int, test: int, seed: int) -> list[Task]:
    """Read tasks in their order.

    Args:
        spoken: a folder, or a folder and names: "DIR,dbpedia,amazon"; all tasks by name where none is named.
        train: most training cases of a task, drawn by the seed; 0 = all.
        test: most test cases of a task, drawn without the seed, so that every seed is scored on the same; 0 = all.
        seed: draws the training cases.

    Raises:
        InputError: no such folder or task, a training case that is also tested, or a task without cases.
        FileFormatError: a line cannot be read.
    """
    folder, *names = [part.strip() for part in spoken.split(",")]
    home = Path(folder).expanduser()
    here = sorted(p.stem for p in (home / "test").glob("*.jsonl"))
    if not here:
        raise InputError(f"{home} holds no tasks.", hint="Wanted: DIR/train/NAME.jsonl and DIR/test/NAME.jsonl.")
    for name in names:
        if name not in here:
            raise InputError(f"{home} has no task {name!r}.", hint=f"It has: {', '.join(here)}.")
    return [_task(home, name, train, test, seed) for name in names or here]


def _task(home: Path, name: str, train: int, test: int, seed: int) -> Task:
    tested = _sample(read_cases(home / "test" / f"{name}.jsonl"), test, "test")
    prompts = {case.prompt for case in read_cases(home / "test" / f"{name}.jsonl")}
    trained = [c for c in read_cases(home / "train" / f"{name}.jsonl") if c.prompt not in prompts]
    if not trained or not tested:
        raise InputError(f"The task {name!r} has {len(trained)} cases to train on and {len(tested)} to test.")
    return Task(name, _sample(trained, train, f"{seed}"), tested)


def read_cases(path: Path) -> list[Case]:
    """Read a file of cases: instruction, input and output, or prompt and answer (or target).

    Raises:
        FileFormatError: the file or a line cannot be read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            rows = list(json_line_rows(file))
    except (OSError, UnicodeDecodeError) as cause:
        raise FileFormatError(f"{path} cannot be read: {cause}.", hint="Wanted: a JSON Lines file in UTF-8.") from cause
    return [_case(path, row.number, row.values, row.error) for row in rows]


def _case(path: Path, line: int, values: Mapping[str, object] | None, error: str) -> Case:
    where = f"{path.name}:{line}"
    if values is None:
        raise FileFormatError(f"{where}: {error}", hint="Mend or remove the line.")
    prompt = values.get("prompt") or f"{values.get('instruction', '')}{values.get('input', '')}"
    answer = next((values[name] for name in _ANSWERS if values.get(name)), None)
    if not isinstance(prompt, str) or not prompt.strip() or not isinstance(answer, str) or not answer.strip():
        raise FileFormatError(
            f"{where} has no prompt or no answer.", hint="Wanted: instruction, input, output; or prompt, answer."
        )
    return Case(prompt, answer.strip(), where)


def _sample(cases: Sequence[Case], most: int, seed: str) -> list[Case]:
    if not most or len(cases) <= most:
        return list(cases)
    return random.Random(seed).sample(list(cases), most)
