"""Which kinds of layers can follow what alternates: parity of bits, at lengths that were never trained on.

Usage: python benchmarks/parity.py [--steps N] [--out FILE]

Each kind is trained from nothing, two layers of 64, to say after each bit whether the ones so far were odd or even, on
rows of 2 to 40 bits. Asked are rows of 40, 200 and 1,000 bits; chance is .5 at every place. All seeds are told.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812

from everlearn.evaluation.machine import commit, machine, versions
from everlearn.models.apertis import ApertisConfig, ApertisForCausalLM

KINDS = ("recurrent", "linear", "full")
ASKED = (40, 200, 1_000)
ROWS, LONGEST, START = 64, 40, 2


def rows(count: int, length: int, draw: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Bits [count, 1 + length] behind a token that begins the row, and the parity after each."""
    bits = torch.randint(0, 2, (count, length), generator=draw)
    ids = F.pad(bits, (1, 0), value=START)
    return ids, F.pad(bits.cumsum(1) % 2, (1, 0))


def run(kind: str, seed: int, steps: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    config = ApertisConfig(
        vocab_size=3,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        layer_types=[kind, kind],
        initializer_range=0.1,
    )
    model = ApertisForCausalLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    draw, begun = torch.Generator().manual_seed(seed), time.perf_counter()
    for _ in range(steps):
        length = int(torch.randint(2, LONGEST + 1, (1,), generator=draw))
        ids, wanted = rows(ROWS, length, draw)
        optimizer.zero_grad()
        F.cross_entropy(model(ids, use_cache=False).logits.flatten(0, 1), wanted.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
    right = {}
    with torch.no_grad():
        for length in ASKED:
            ids, wanted = rows(32, length, torch.Generator().manual_seed(99))
            last = model(ids, use_cache=False).logits[:, -20:].argmax(-1) == wanted[:, -20:]
            right[length] = float(last.float().mean())
    return {"kind": kind, "seed": seed, "right_at_the_last_20": right, "seconds": time.perf_counter() - begun}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    runs = []
    for seed in range(args.seeds):
        for kind in KINDS:
            runs.append(run(kind, seed, args.steps))
            print(json.dumps(runs[-1]), flush=True)
    report = {"steps": args.steps, "runs": runs}
    report["where"] = {"machine": machine(), "versions": versions(), "commit": commit()}
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
