"""Questions to fit and judge the gate with: each against the nearest entries of a table, as recall meets them.

Label 1: asks the same (a rephrase and its own entry). 0: does not (a locality prompt, an unrelated question, a message
of a chat, a rephrase and another subject's entry). None, left out of fitting: a rephrase against another entry of its
own subject, since zsRE asks the same question several times with different answers.

Made, since the sets hold none: a number changed; the question of another record asked of this subject.
"""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from everlearn.memory.evidence import evidence
from everlearn.memory.key import Key, KeyMaker
from everlearn.memory.phrase import pack, unit, unpack
from everlearn.memory.recall import readings

NEAREST = 8
_SAME_RELATION = 0.45
_PAIR = re.compile(r"first sentence: (.*)\nsecond sentence: (.*)", re.S)


@dataclass(frozen=True)
class Asked:
    """A question for a table. `own` is the entry it was made for, or -1; `fold` keeps a subject on one side."""

    text: str
    kind: str
    own: int
    fold: int


@dataclass(frozen=True)
class Row:
    """A question under one reading against one entry: evidence and what it should say."""

    set: str
    question: int
    kind: str
    entry: int
    label: int | None
    fold: int
    cosine: float
    evidence: np.ndarray
    product: np.ndarray | None  # of what is left on both sides, coordinate by coordinate


def lines(path: Path, most: int | None = None) -> list[dict]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file][:most]


class Reader:
    """Keys of texts, with word states as they come back from disk; encodes each text once."""

    def __init__(self, maker: KeyMaker) -> None:
        self.maker = maker
        self._vectors: dict[str, np.ndarray] = {}
        self._states: dict[str, bytes] = {}

    def take(self, texts: Iterable[str]) -> None:
        """Encode those that are new."""
        fresh = [t for t in dict.fromkeys(texts) if t not in self._vectors]
        for start in range(0, len(fresh), 512):
            part = fresh[start : start + 512]
            for text, encoded in zip(part, self.maker.read(part), strict=True):
                self._vectors[text], self._states[text] = encoded.vector, pack(encoded.states)

    def vectors(self, texts: list[str]) -> np.ndarray:
        """Embeddings [N, K]."""
        self.take(texts)
        return np.stack([self._vectors[t] for t in texts])

    def key(self, text: str) -> Key:
        """The key of a text, with its phrase."""
        self.take([text])
        return self.maker.key_of(text, self._vectors[text], unpack(self._states[text], self.maker.width))


def fold_of(subject: str) -> int:
    return zlib.crc32(subject.casefold().encode()) % 2


def table_rows(name: str, reader: Reader, records: list[dict], asked: list[Asked], plain: np.ndarray) -> Iterator[Row]:
    """Each question under each reading against its nearest entries of the table of `records`."""
    prompts = [r["prompt"] for r in records]
    subjects = [r.get("subject", "").casefold() for r in records]
    matrix = reader.vectors(prompts)
    texts = {n: readings(a.text, (), reader.maker.rarity) for n, a in enumerate(asked)}
    reader.take(t for several in texts.values() for t in several)
    entries: dict[int, Key] = {}
    for number, a in enumerate(asked):
        for text in texts[number]:
            query = reader.key(text)
            if not query.phrase.words:
                continue
            scores = matrix @ query.vector
            most = min(NEAREST, len(scores))
            for entry in np.argpartition(-scores, most - 1)[:most]:
                if entry not in entries:
                    entries[int(entry)] = reader.key(prompts[entry])
                label: int | None = int(a.kind == "rephrase" and entry == a.own)
                if not label and a.kind == "rephrase" and subjects[entry] == subjects[a.own]:
                    label = None
                yield row((name, number, int(entry)), a, label, query, entries[int(entry)], plain)


def row(at: tuple[str, int, int], a: Asked, label: int | None, query: Key, key: Key, plain: np.ndarray) -> Row:
    """A row `at` (set, question, entry)."""
    name, number, entry = at
    cosine = float(query.vector @ key.vector)
    found = np.array(evidence(query.phrase, key.phrase, cosine, plain), np.float32)
    return Row(name, number, a.kind, entry, label, a.fold, cosine, found, left_product(query, key))


def left_product(query: Key, entry: Key) -> np.ndarray | None:
    """What `left_relation` sums up, before it is weighed."""
    these = [
        n for n, s in enumerate(query.phrase.stems) if s not in entry.phrase.stems and query.phrase.rarity[n] > 0.2
    ]
    other = [
        n for n, s in enumerate(entry.phrase.stems) if s not in query.phrase.stems and entry.phrase.rarity[n] > 0.2
    ]
    if not these or not other:
        return None
    product = unit(query.phrase.states[these].mean(0)) * unit(entry.phrase.states[other].mean(0))
    return product.astype(np.float16)


def questions(
    records: list[dict], others: list[tuple[str, str]], rephrases: int, locality: int, seed: int
) -> list[Asked]:
    """Rephrases and locality prompts of records, and texts that have nothing to do with them: (kind, text)."""
    chance = random.Random(seed)
    asked: list[Asked] = []
    for own, record in enumerate(records):
        fold = fold_of(record.get("subject", record["prompt"]))
        texts = [t for t in record["rephrases"] if len(t.strip()) > 3]
        asked += [Asked(t, "rephrase", own, fold) for t in chance.sample(texts, min(rephrases, len(texts)))]
        asked += [Asked(item["prompt"], "locality", own, fold) for item in record["locality"][:locality]]
    return asked + [Asked(text, kind, -1, fold_of(text)) for kind, text in others]


def other_relations(reader: Reader, records: list[dict], seed: int) -> list[Asked]:
    """The question of another record, asked of this record's subject; only where it plainly asks something else."""
    chance = random.Random(seed)
    made: list[tuple[int, str, str, str]] = []
    for own, record in enumerate(records):
        other = chance.choice(records)
        text = chance.choice([other["prompt"], *other["rephrases"]])
        if other["subject"] in text and record["subject"] in record["prompt"]:
            bare = (record["prompt"].replace(record["subject"], "it"), text.replace(other["subject"], "it"))
            made.append((own, text.replace(other["subject"], record["subject"]), *bare))
    first, second = reader.vectors([m[2] for m in made]), reader.vectors([m[3] for m in made])
    alike = (first * second).sum(1)
    return [
        Asked(text, "relation", own, fold_of(records[own]["subject"]))
        for (own, text, _, _), near in zip(made, alike, strict=True)
        if near < _SAME_RELATION
    ]


def pair_rows(reader: Reader, pairs: list[dict], prompts: list[str], seed: int, plain: np.ndarray) -> Iterator[Row]:
    """Pairs labelled by people, and prompts with one number changed."""
    chance = random.Random(seed)
    both = [
        (m[1].strip('"'), m[2].strip('"'), int(p["label"] == "True"), "pair")
        for p in pairs
        if (m := _PAIR.match(p["sentence"]))
    ]
    numbered = [p for p in prompts if re.search(r"\d+", p)]
    changed = [re.sub(r"\d+", lambda m: str(int(m[0]) + chance.randint(1, 9)), p, count=1) for p in numbered]
    both += [(a, b, 0, "number") for a, b in zip(changed, numbered, strict=True)]
    reader.take(t for b in both for t in b[:2])
    for number, (text, entry, label, kind) in enumerate(both):
        query, key = reader.key(text), reader.key(entry)
        if query.phrase.words and key.phrase.words:
            a = Asked(text, kind, number, fold_of(text))
            yield row(("pairs", number, number), a, label, query, key, plain)
