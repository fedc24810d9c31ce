"""Does the claim check tell right answers from altered ones?

    python benchmarks/claims.py --data FOLDER_OF_ALL_SETS [--write]

Taught pairs of QAEdit, zsRE and CounterFact: the right answer, alone and in a sentence, and the same with the answer of
another pair in its place. Passages of SQuAD: sentences of the passage, the same with a number or a name of another
passage put in, and sentences of other passages. Nothing was fitted; the bounds of `safety/claims.py` were set before.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import defaultdict
from pathlib import Path

import numpy as np

import harm_data
from everlearn import wiring
from everlearn.memory.key import words
from everlearn.safety.claims import ClaimCheck, Source
from everlearn.safety.harm import units

RESULT = Path(__file__).parent / "results" / "2026-11-25-claims.json"
EACH = 40
MOST_PASSAGES = 50
NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{3,}")
NUMBER = re.compile(r"\b\d{2,4}\b")


def flagged(check: ClaimCheck, cases: list[tuple[str, str, str]]) -> dict:
    """Share of answers of which some statement is marked. Cases: (question, answer, lesson)."""
    marked = [
        any(not each.supported for each in check.check(question, answer, [Source("1", lesson)]))
        for question, answer, lesson in cases
    ]
    return {"of": len(marked), "marked": round(float(np.mean(marked)), 4)}


def pairs(check: ClaimCheck, path: Path, chance: random.Random) -> dict:
    rows = [r for r in chance.sample(harm_data.lines(path), EACH) if r["rephrases"]]
    cases: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for row in rows:
        question, lesson = row["rephrases"][0], f"{row['prompt']}\n{row['target']}"
        other = chance.choice([o["target"] for o in rows if o["target"] != row["target"]])
        for name, target in (("right", row["target"]), ("altered", other)):
            sentence = f"The answer to the question about {row['subject']} is {target}."
            cases[name].append((question, target, lesson))
            cases[f"{name}, in a sentence"].append((question, sentence, lesson))
    return {name: flagged(check, some) for name, some in cases.items()}


def passages(check: ClaimCheck, data: Path, chance: random.Random) -> dict:
    rows = harm_data.lines(data / "knowledge/squad_passages.jsonl")[:MOST_PASSAGES]
    names = [n for r in rows for n in NAME.findall(r["context"])]
    cases: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for n, row in enumerate(rows):
        text, title = row["context"], row["title"]
        sentence = chance.choice([text[a:b].strip() for a, b in units(text) if b - a > 60])
        cases["own sentence"].append((title, sentence, text))
        if found := NUMBER.search(sentence):
            other = str(int(found[0]) + chance.randint(1, 9))
            cases["number altered"].append((title, replaced(sentence, found, other), text))
        if found := NAME.search(sentence):
            other = chance.choice([name for name in names if name not in text])
            cases["name altered"].append((title, replaced(sentence, found, other), text))
        cases["sentence of another passage"].append((title, sentence, rows[(n + 7) % len(rows)]["context"]))
    return {name: flagged(check, some) for name, some in cases.items()}


def replaced(text: str, found: re.Match[str], other: str) -> str:
    return text[: found.start()] + other + text[found.end() :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="write the result file")
    args = parser.parse_args()
    keys, chance = wiring.load_parts(wiring.load_settings(threads=1)).keys, random.Random(7)
    check = ClaimCheck(keys.vectors, words, keys.rarity)
    found = {
        name: pairs(check, args.data / f"editing/{name}.jsonl", chance) for name in ("qaedit", "zsre", "counterfact")
    }
    found["squad passages"] = passages(check, args.data, chance)
    print(json.dumps(found, indent=1))
    if args.write:
        RESULT.write_text(
            json.dumps({"command": "python benchmarks/claims.py --data FOLDER --write", **found}, indent=1) + "\n",
            "utf-8",
        )


if __name__ == "__main__":
    main()
