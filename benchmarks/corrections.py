"""Which block carries a lesson to a paraphrase, and how the output correction should raise a token.

Two questions, one run, no gate involved (the right entry is given):

1. Token accuracy on the rephrase with gold tokens fed (stop token included), corrections at one block, output
   correction off; against the bare model and against reading the lesson in the prompt.
2. Share of answers that are exactly right when sampled, with the output correction as it is (log-odds to a certainty)
   and as the alternative (just above the best rival).

    python benchmarks/corrections.py --data qaedit.jsonl [--model NAME] [--sample 60] [--json OUT]
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import torch

from ablation_rows import plain_ids
from everlearn import Sampling, wiring
from everlearn.engine.decode import forward, prefill
from everlearn.engine.sampling import Sampler
from everlearn.memory.correction import Correction, raise_target
from everlearn.memory.cursor import Cursor
from everlearn.memory.difference import difference
from everlearn.records import Message, TableSettings

SHARES = (0.25, 0.6, 0.7, 0.8, 5 / 6, 0.9, 0.97)
TEMPERATURES = (0.3, 0.7, 1.0)


def fed(parts: wiring.Parts, ids: list[int], tokens: tuple[int, ...], cursor: Cursor | None) -> float:
    """Share of gold tokens that are the arg-max behind a prompt [T], the gold ones fed."""
    model, cache, right = parts.model, parts.model.new_cache(), 0
    logits = prefill(model, ids, cache, cursor)
    for token in tokens:
        right += int(logits.argmax()) == token
        if cursor is not None:
            cursor.advance(token)
        logits = forward(model, torch.tensor([[token]]), cache, [cursor])[0]
    return right / len(tokens)


def sampled(parts: wiring.Parts, prompt: str, made: Correction, temperature: float, rule: str, seed: int) -> bool:
    """Whether one sampled answer is the taught one, token by token."""
    model, cache, cursor = parts.model, parts.model.new_cache(), Cursor("x", made, 1.0)
    sampler = Sampler(Sampling(temperature=temperature, seed=seed), [])
    logits = prefill(model, parts.text.prompt_ids([Message("user", prompt)]), cache, cursor)
    for token in made.tokens:
        if rule == "log-odds":
            logits = raise_target(logits, token, 1.0)
        else:
            logits = logits.clone()
            logits[token] = torch.maximum(logits[token], logits.max() + 0.1)
        if sampler.choose(logits) != token:
            return False
        cursor.advance(token)
        logits = forward(model, torch.tensor([[token]]), cache, [cursor])[0]
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default=None)
    parser.add_argument("--sample", type=int, default=60)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with args.data.open(encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    records = random.Random(0).sample([r for r in records if r["rephrases"]], args.sample)
    parts = wiring.load_parts(wiring.load_settings(model=args.model))
    blocks = sorted({min(int(parts.model.num_blocks * s), parts.model.num_blocks - 1) for s in SHARES})
    found: dict[str, list[float]] = {}
    for n, r in enumerate(records):
        made = {
            b: difference(parts.model, parts.text, r["prompt"], r["target"], TableSettings(blocks=(b,))) for b in blocks
        }
        tokens = made[blocks[0]].tokens
        asked = r["rephrases"][0]
        found.setdefault("bare", []).append(fed(parts, plain_ids(parts, asked), tokens, None))
        told = f"{r['prompt']}\n{r['target']}\n\n{asked}"
        found.setdefault("lesson in the prompt", []).append(fed(parts, plain_ids(parts, told), tokens, None))
        for b in blocks:
            found.setdefault(f"block {b}", []).append(
                fed(parts, plain_ids(parts, asked), tokens, Cursor("x", made[b], 1.0))
            )
        for t in TEMPERATURES:
            for rule in ("log-odds", "above the rival"):
                hit = sampled(parts, asked, made[blocks[-1]], t, rule, seed=n)
                found.setdefault(f"sampled at {t}, {rule}", []).append(float(hit))
        print(f"{n + 1} of {len(records)}", end="\r", flush=True)
    means = {name: round(sum(v) / len(v), 3) for name, v in found.items()}
    print(json.dumps(means, indent=2))
    if args.json:
        args.json.write_text(json.dumps({"sample": len(records), "model": parts.model.name, **means}, indent=2) + "\n")


if __name__ == "__main__":
    main()
