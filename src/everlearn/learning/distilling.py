"""Distilling: what a teacher says to many prompts becomes examples to train on.

Every reply is on disk before the next is asked for, so a run that was killed, or a teacher that went away, costs
nothing that was paid for. What is no good to learn from is left out, with the reason counted.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, final
from uuid import uuid4

from everlearn.corpus.json_rows import json_line_rows
from everlearn.corpus.near_duplicates import NearDuplicates, jaccard, shingles
from everlearn.corpus.text_lines import text_lines
from everlearn.errors import ConflictError, FileFormatError, InputError, StoreFullError
from everlearn.evaluation.journal import Journal, Record
from everlearn.learning.examples import Example, SoftTargets
from everlearn.learning.teachers import Reply, Teacher

Progress = Callable[[int, int], None]
REPLIES, TRAIN, VALIDATION, REPORT = "replies.jsonl", "train.jsonl", "validation.jsonl", "report.json"
_PROMPT_FIELDS = ("prompt", "instruction", "question")
_TOGETHER = 8  # prompts that are asked, and kept, at once
_ECHO, _REPEATS, _ENOUGH_WORDS = 0.9, 0.5, 24
_REFUSES = re.compile(
    r"^\W*("
    r"(i('m| am) sorry|sorry)\b.{0,40}\b(can'?t|cannot|unable|not able)"
    r"|i (can'?t|cannot|am unable to|won'?t) (help|assist|answer|provide)"
    r"|as an ai (language )?model\b"
    r")",
    re.IGNORECASE | re.DOTALL,
)


@final
@dataclass(frozen=True, slots=True)
class Limits:
    """When collecting ends before all prompts are asked, and what tokens cost.

    Attributes:
        tokens: read and written together at most; 0 = no limit.
        cost: at most, in the currency of the prices; 0 = no limit.
        price_in: of a million tokens read.
        price_out: of a million tokens written.
    """

    tokens: int = 0
    cost: float = 0.0
    price_in: float = 0.0
    price_out: float = 0.0

    def cost_of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost."""
        return (prompt_tokens * self.price_in + completion_tokens * self.price_out) / 1e6


@final
@dataclass(frozen=True, slots=True)
class Distilled:
    """What came of it.

    Attributes:
        teacher: who was asked.
        prompts: how many there are.
        asked: how many were answered, in this run and before.
        train: examples to train on.
        validation: examples held out, one in ten.
        soft: of both, how many with the teacher's distributions.
        dropped: reason -> how many replies.
        prompt_tokens: that the teacher read.
        completion_tokens: that it wrote.
        cost: of both.
        stopped: why not all prompts were asked; empty where they were.
        folder: where everything lies.
    """

    teacher: str
    prompts: int
    asked: int
    train: int
    validation: int
    soft: int
    dropped: Mapping[str, int]
    prompt_tokens: int
    completion_tokens: int
    cost: float
    stopped: str = ""
    folder: Path = field(default_factory=Path)


def read_prompts(path: Path) -> list[str]:
    """Prompts of a file, each once, in their order: one a line, or JSON Lines with a prompt, instruction or question.

    Raises:
        FileFormatError: the file, or a line of it, cannot be read.
        InputError: it holds no prompt.
    """
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        found = [_prompt_of(path, row.number, row.values, row.error) for row in json_line_rows(text_lines(path))]
    else:
        found = [line.strip() for line in text_lines(path)]
    prompts = [prompt for prompt in dict.fromkeys(found) if prompt]
    if not prompts:
        raise InputError(f"{path} holds no prompt.", hint="Wanted: a prompt a line, or JSON Lines with `prompt`.")
    return prompts


def distil(
    teacher: Teacher,
    prompts: Sequence[str],
    folder: Path,
    *,
    domain: str = "general",
    settings: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    restart: bool = False,
    progress: Progress | None = None,
) -> Distilled:
    """Ask a teacher and keep what can be learned from: train.jsonl, validation.jsonl, report.json, replies.jsonl.

    Args:
        teacher: who is asked; prompts that it answered already in this folder are not asked again.
        prompts: each once.
        folder: made where it is missing.
        domain: of the examples.
        settings: how the teacher answers: noted with the replies, and a run with others does not go on with them.
        limits: when to stop, and prices.
        restart: drop what an earlier run collected.
        progress: called with (prompts answered, all).

    Raises:
        TeacherError: the teacher cannot be asked; what it said is kept.
        ConflictError: the folder holds replies of another teacher, or to other settings.
        StoreError: the folder cannot be written.
    """
    about = {"teacher": teacher.name, "settings": json.loads(json.dumps(settings or {}, default=str))}
    with Journal(folder / REPLIES, restart=restart) as journal:
        _same_run(journal, about, folder)
        collection = _Collection(teacher, journal, limits or Limits())
        stopped = collection.ask(prompts, progress)
        return _settled(collection, prompts, folder, domain, stopped)


@final
class _Collection:
    """Replies of a teacher, on disk as soon as they are there."""

    def __init__(self, teacher: Teacher, journal: Journal, limits: Limits) -> None:
        self.teacher, self.journal, self.limits = teacher, journal, limits

    @property
    def replies(self) -> dict[str, Record]:
        """Prompt -> what was said to it."""
        return {str(record["prompt"]): record for record in self.journal.of("reply")}

    def tokens(self) -> tuple[int, int]:
        """Tokens read and written so far."""
        said = list(self.journal.of("reply"))
        return sum(int(r["prompt_tokens"]) for r in said), sum(int(r["completion_tokens"]) for r in said)

    def ask(self, prompts: Sequence[str], progress: Progress | None) -> str:
        """Ask what was not asked yet; returns why it stopped before the end, or nothing."""
        known = self.replies
        todo = iter([prompt for prompt in prompts if prompt not in known])
        done = len(prompts) - sum(prompt not in known for prompt in prompts)
        while some := list(islice(todo, _TOGETHER)):
            if reason := self._limit():
                return reason
            for prompt, reply in zip(some, self.teacher.ask(some), strict=True):
                self.journal.append("reply", prompt=prompt, **_row(reply))
            done += len(some)
            if progress is not None:
                progress(done, len(prompts))
        return ""

    def _limit(self) -> str:
        read, written = self.tokens()
        if self.limits.tokens and read + written >= self.limits.tokens:
            return f"the limit of {self.limits.tokens:,} tokens is reached"
        if self.limits.cost and (cost := self.limits.cost_of(read, written)) >= self.limits.cost:
            return f"the limit of cost is reached ({cost:.4f} of {self.limits.cost:g})"
        return ""


def flaw_of(prompt: str, reply: str, finish: str = "stop") -> str:
    """Why a reply is not to be learned from; empty where nothing speaks against it."""
    words = reply.casefold().split()
    if not words:
        return "empty"
    if finish == "length":
        return "cut off"
    if finish == "content_filter" or _REFUSES.match(reply):
        return "refused"
    if jaccard(shingles(prompt), shingles(reply)) >= _ECHO:
        return "echo of the prompt"
    triples = list(zip(words, words[1:], words[2:], strict=False))
    if len(words) >= _ENOUGH_WORDS and len(set(triples)) < _REPEATS * len(triples):
        return "repeats itself"
    return ""


def is_held_out(prompt: str) -> bool:
    """Whether a prompt belongs to the tenth that is held out: its own digest says so, so it never changes sides."""
    return hashlib.sha256(prompt.encode("utf-8", "replace")).digest()[0] % 10 == 0


def read_examples(path: Path) -> list[Example]:
    """Examples that `distil` wrote.

    Raises:
        FileFormatError: the file is missing or damaged.
    """
    rows = list(json_line_rows(text_lines(path)))
    for row in rows:
        if row.values is None:
            raise FileFormatError(f"{path}, line {row.number}: {row.error}", hint="Distil it anew.")
    return [Example.from_row(row.values) for row in rows if row.values is not None]


def _settled(collection: _Collection, prompts: Sequence[str], folder: Path, domain: str, stopped: str) -> Distilled:
    """Filter what was said, split it, and write everything."""
    replies, near, dropped = collection.replies, NearDuplicates(), Counter[str]()
    parts: dict[bool, list[Example]] = {False: [], True: []}  # held out?
    for prompt in (prompt for prompt in prompts if prompt in replies):
        record = replies[prompt]
        flaw = flaw_of(prompt, str(record["text"]), str(record["finish"]))
        if flaw := flaw or ("near-duplicate of another prompt" if near.find(prompt) else ""):
            dropped[flaw] += 1
            continue
        near.add(prompt, prompt)
        soft = SoftTargets.from_text(str(record["soft"])) if record.get("soft") else None
        example = Example(prompt, str(record["text"]).strip(), domain, source=collection.teacher.name, soft=soft)
        parts[is_held_out(prompt)].append(example)
    read, written = collection.tokens()
    report = Distilled(
        teacher=collection.teacher.name,
        prompts=len(prompts),
        asked=sum(prompt in replies for prompt in prompts),
        train=len(parts[False]),
        validation=len(parts[True]),
        soft=sum(e.soft is not None for part in parts.values() for e in part),
        dropped=dict(dropped),
        prompt_tokens=read,
        completion_tokens=written,
        cost=collection.limits.cost_of(read, written),
        stopped=stopped,
        folder=folder,
    )
    for name, part in ((TRAIN, parts[False]), (VALIDATION, parts[True])):
        _write(folder / name, (json.dumps(example.to_row()) + "\n" for example in part))
    _write(folder / REPORT, [json.dumps({**asdict(report), "folder": str(folder)}, indent=1) + "\n"])
    return report


def _same_run(journal: Journal, about: Mapping[str, Any], folder: Path) -> None:
    """See that what the folder holds was said by the same teacher in the same way."""
    first = next(journal.of("about"), None)
    if first is None:
        journal.append("about", **about)
    elif {name: first.get(name) for name in about} != about:
        raise ConflictError(
            f"{folder} holds replies of {first.get('teacher')} to other settings ({first.get('settings')}).",
            hint="Choose another folder, or drop them with --restart.",
        )


def _row(reply: Reply) -> dict[str, Any]:
    return {**asdict(replace(reply, soft=None)), "soft": reply.soft.to_text() if reply.soft is not None else None}


def _prompt_of(path: Path, line: int, values: Mapping[str, object] | None, error: str) -> str:
    if values is None:
        raise FileFormatError(f"{path}, line {line}: {error}", hint="Wanted: one JSON object a line.")
    named = next((values[name] for name in _PROMPT_FIELDS if values.get(name)), None)
    if not isinstance(named, str):
        raise FileFormatError(f"{path}, line {line} has none of: {', '.join(_PROMPT_FIELDS)}.", hint="Name the prompt.")
    more = values.get("input")
    return f"{named.strip()}\n\n{more.strip()}" if isinstance(more, str) and more.strip() else named.strip()


def _write(path: Path, lines: Iterable[str]) -> None:
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        with part.open("w", encoding="ascii") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as cause:
        part.unlink(missing_ok=True)
        raise StoreFullError(f"{path} cannot be written: {cause}.", hint="Choose another folder.") from cause
