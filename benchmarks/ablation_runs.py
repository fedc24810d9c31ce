"""Parameters as users meet them: answers at each strength, thresholds, indirect use, and time."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ablation_rows import in_context, plain_ids
from ablation_steps import noted, sample
from corrections import fed
from everlearn.engine.decode import decode, forward, prefill
from everlearn.engine.engine import Engine
from everlearn.engine.row import Row, corrected_logits
from everlearn.engine.sampling import Sampler
from everlearn.evaluation.edits import Edit
from everlearn.evaluation.journal import Journal
from everlearn.evaluation.metrics import exact_match, mean, normalised
from everlearn.learning.learner import Learner
from everlearn.memory.correction import Correction
from everlearn.memory.cursor import Cursor
from everlearn.memory.difference import difference
from everlearn.memory.learned import learned
from everlearn.memory.recall import decide
from everlearn.memory.table import Candidate
from everlearn.models.cache import KeyValueCache
from everlearn.records import DEFAULT_TABLE, Lesson, Sampling, TableSettings
from everlearn.store.in_memory import InMemoryDerivedStore, InMemoryLessonStore
from everlearn.text.stream import TextStream
from everlearn.wiring import Parts, engine_over

RESIDUALS = (0.0, 0.25, 0.5, 0.75, 1.0)
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
SENTENCE = " Answer in one full sentence."
BATCH = 16
WARM_UP = 4


def residual(parts: Parts, args: argparse.Namespace, journal: Journal) -> dict[str, Any]:
    """Answers through the engine, gate included, at each strength: the taught one, or the base's own?"""
    edits = [edit for path in args.data for edit in sample(path, args, lambda edit: bool(edit.rephrases))]
    questions = [edit.prompt for edit in edits] + [edit.rephrases[0] for edit in edits]
    result = {}
    with _engine(parts) as engine:
        learner = Learner(engine, background=False)
        learner.teach_many([Lesson(e.prompt, e.target) for e in edits])
        for warmth in (0.0, 0.7):
            sampling = Sampling(max_new_tokens=args.tokens, temperature=warmth, seed=args.seed)
            ask = partial(_texts, engine, questions, sampling)
            bare = noted(journal, f"bare at {warmth}", partial(ask, tables=()))
            for strength in RESIDUALS:
                learner.put_table(DEFAULT_TABLE, TableSettings(residual=strength))
                given = noted(journal, f"residual {strength} at {warmth}", ask)
                name = f"residual {strength:g}, temperature {warmth:g}"
                result[name] = {
                    kind: _kinds(given[part], bare[part], edits)
                    for kind, part in (("taught", slice(len(edits))), ("rephrase", slice(len(edits), None)))
                }
    return {"edits": len(edits), "residual": result}


def _kinds(given: Sequence[str], bare: Sequence[str], edits: Sequence[Edit]) -> dict[str, float | None]:
    """Shares of the answers that are the taught one, that begin with it, and that the base model gives too."""
    return {
        "taught": mean([exact_match(g, e.target) for g, e in zip(given, edits, strict=True)]),
        "begins as taught": mean([_begins(g, e.target) for g, e in zip(given, edits, strict=True)]),
        "base": mean([g == b for g, b in zip(given, bare, strict=True)]),
    }


def _texts(
    engine: Engine, questions: Sequence[str], sampling: Sampling, tables: Sequence[str] | None = None
) -> list[str]:
    return [a.text for a in engine.answer_many(questions, sampling=sampling, tables=tables, batch_size=BATCH)]


def _begins(text: str, target: str) -> bool:
    return f"{normalised(text)} ".startswith(f"{normalised(target)} ")


def threshold(parts: Parts, args: argparse.Namespace, journal: Journal) -> dict[str, Any]:
    """Recall against false recall at each threshold, with the gate as it is packaged."""
    result: dict[str, Any] = {}
    lines = args.unrelated.read_text(encoding="utf-8").splitlines() if args.unrelated else []
    unrelated = [json.loads(line)["prompt"] for line in lines]
    for path in args.data:
        edits = sample(path, args)
        counts = noted(
            journal, path.stem, partial(_recall_counts, parts, edits, unrelated[: args.sample], args.rephrases)
        )
        result[path.stem] = {"edits": len(edits), **counts}
    return {"threshold": result}


def _recall_counts(parts: Parts, edits: Sequence[Edit], unrelated: Sequence[str], rephrases: int) -> dict[str, Any]:
    with _engine(parts) as engine:
        taught = Learner(engine, background=False).teach_many([Lesson(e.prompt, e.target) for e in edits])
        answers = {t.lesson.id: t.lesson.answer for t in taught}
        kinds = {
            "rephrase": [(text, e.target) for e in edits for text in e.rephrases[:rephrases]],
            "locality": [(probe.prompt, "") for e in edits for probe in e.locality[:1]],
            "unrelated": [(text, "") for text in unrelated],
        }
        return {kind: _at_each(engine, pairs, answers) for kind, pairs in kinds.items() if pairs}


def _at_each(engine: Engine, pairs: Sequence[tuple[str, str]], answers: dict[str, str]) -> dict[str, dict[str, float]]:
    """Threshold -> share of questions at which an entry spoke, and at which it had the wanted answer."""
    recalls = engine.memory.recall([(text, []) for text, _ in pairs])
    out = {}
    for level in THRESHOLDS:
        settings = TableSettings(threshold=level)
        hits = [
            decide([Candidate(c.lesson_id, c.table, c.score, c.probability, settings) for c in recall.recalled])[0]
            for recall in recalls
        ]
        right = [hit is not None and answers[hit.lesson_id] == want for hit, (_, want) in zip(hits, pairs, strict=True)]
        out[f"{level:g}"] = {"spoke": mean([h is not None for h in hits]) or 0.0, "right": mean(right) or 0.0}
    return out


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question whose answer rests on a lesson without being it."""

    edit: Edit
    question: str
    wanted: str


def indirect(parts: Parts, args: argparse.Namespace, journal: Journal) -> dict[str, Any]:
    """The lesson used inside another answer (the data's portability questions), and told in a sentence."""
    result = {}
    for path in args.data:
        edits = sample(path, args, lambda edit: bool(edit.rephrases))
        hops = _hops(path, edits)
        told = [_Asked(e, e.rephrases[0] + SENTENCE, e.target) for e in edits]
        for name, asked in (("inside another answer", hops), ("in a sentence", told)):
            if asked:
                rows = [
                    noted(journal, f"{path.stem} {name} {n + 1}", partial(_ways, parts, one, args.tokens))
                    for n, one in enumerate(asked)
                ]
                ways = {way: _shares([row[way] for row in rows]) for way in rows[0]}
                result[f"{path.stem}, {name}"] = {"questions": len(asked), **ways}
    return {"indirect": result}


def _hops(path: Any, edits: Sequence[Edit]) -> list[_Asked]:  # noqa: ANN401 -- a path
    """Portability questions whose answer is not the taught one itself."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = []
    for edit in edits:
        for probe in json.loads(lines[edit.line - 1]).get("portability") or []:
            if not _holds(probe["answer"], edit.target) and not _holds(edit.target, probe["answer"]):
                found.append(_Asked(edit, probe["prompt"], probe["answer"]))
    return found


def _ways(parts: Parts, asked: _Asked, most: int) -> dict[str, dict[str, Any]]:
    """Decode one question bare, corrected in several ways, and with the lesson in the prompt."""
    lesson = (parts.model, parts.text, asked.edit.prompt, asked.edit.target)
    usual = difference(*lesson, TableSettings())
    fitted = learned(*lesson, TableSettings(values="learned"))
    ids, told = plain_ids(parts, asked.question), in_context(parts, asked.edit, asked.question)
    ways: dict[str, tuple[list[int], Correction | None, bool]] = {
        "bare": (ids, None, False),
        "block": (ids, usual, False),
        "block and output": (ids, usual, True),
        "learned": (ids, fitted, False),
        "lesson in the prompt": (told, None, False),
    }
    texts = _decoded(parts, list(ways.values()), most)
    wanted, out = tuple(parts.text.answer_ids(asked.wanted)), {}
    for (way, (prompt, value, _)), text in zip(ways.items(), texts, strict=True):
        cursor = None if value is None else Cursor("x", value, 1.0)
        long = len(normalised(text).split()) >= len(normalised(asked.wanted).split()) + 3
        out[way] = {
            "text": text,
            "holds": _holds(text, asked.wanted),
            "sentence": _holds(text, asked.wanted) and long,
            "taught instead": _holds(text, asked.edit.target) and not _holds(text, asked.wanted),
            "tokens": fed(parts, prompt, wanted, cursor),
        }
    return out


def _decoded(parts: Parts, ways: Sequence[tuple[list[int], Correction | None, bool]], most: int) -> list[str]:
    rows, pieces = [], []
    for ids, value, output in ways:
        cursor = None if value is None else Cursor("x", value, 1.0, output=output)
        cache = parts.model.new_cache()
        logits = prefill(parts.model, ids, cache, cursor)
        text = TextStream(parts.text.decode, ())
        rows.append(
            Row(
                cache,
                logits,
                sampler=Sampler(Sampling(), ids),
                cursor=cursor,
                text=text,
                stop_ids=parts.text.stop_ids,
                most=most,
            )
        )
        pieces.append("")
    number = {id(row): n for n, row in enumerate(rows)}
    for row, piece in decode(parts.model, rows):
        pieces[number[id(row)]] += piece
    return [piece.strip() for piece in pieces]


def _holds(text: str, wanted: str) -> bool:
    return f" {normalised(wanted)} " in f" {normalised(text)} "


def _shares(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    return {key: round(statistics.fmean(row[key] for row in rows), 4) for key in rows[0] if key != "text"}


def cost(parts: Parts, args: argparse.Namespace, journal: Journal) -> dict[str, Any]:
    """CPU milliseconds of a corrected token over a bare one, token by token in turn, on the same caches."""
    edit = Edit("What is the long list?", " ".join(str(n) for n in range(100, 160)))
    tokens = parts.text.answer_ids(edit.target)
    every = tuple(range(parts.model.num_blocks))
    ways = {
        "usual": TableSettings(),
        "all blocks": TableSettings(blocks=every),
        "output only": TableSettings(sparsity=0.0),
    }
    out = {}
    for name, settings in ways.items():
        value = difference(parts.model, parts.text, edit.prompt, edit.target, settings)
        out[name] = noted(journal, name, partial(_token_cost, parts, plain_ids(parts, edit.prompt), value))
    return {"tokens": len(tokens), "cost": out}


def _token_cost(parts: Parts, ids: list[int], value: Correction) -> dict[str, float]:
    cursor, caches = Cursor("x", value, 1.0), [parts.model.new_cache() for _ in range(2)]
    for cache in caches:
        prefill(parts.model, ids, cache, None)
    spent: list[list[float]] = [[], []]
    for number, token in enumerate(value.tokens[:-1]):
        for side in (0, 1) if number % 2 else (1, 0):
            begun = time.thread_time()
            _step(parts, token, caches[side], cursor if side else None)
            spent[side].append((time.thread_time() - begun) * 1000)
        cursor.advance(token)
    ratios = [b / a for a, b in zip(*(side[WARM_UP:] for side in spent), strict=True)]
    bare, corrected = (statistics.median(side[WARM_UP:]) for side in spent)
    return {
        "bare_ms": round(bare, 3),
        "corrected_ms": round(corrected, 3),
        "ratio": round(statistics.median(ratios), 4),
    }


def _step(parts: Parts, token: int, cache: KeyValueCache, cursor: Cursor | None) -> int:
    logits = forward(parts.model, torch.tensor([[token]]), cache, [cursor])[0]
    return int(corrected_logits(logits, cursor).argmax())


@contextmanager
def _engine(parts: Parts) -> Iterator[Engine]:
    """An engine with a state of its own, in memory."""
    engine = engine_over(parts, InMemoryLessonStore(), InMemoryDerivedStore())
    try:
        yield engine
    finally:
        engine.close()
