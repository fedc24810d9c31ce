"""How evenly experts are used, with and without the rule that moves the router's bias by the sign of the load.

Usage: python benchmarks/expert_balance.py [--steps N] [--out FILE]

The same small language model (two layers, each with 8 of 32 or 6 of 64 experts and a shared one) is trained twice on
the same bytes: this repository's documents. Violation = most loaded expert / mean load - 1 over the last
fifth of the steps, worst layer; 0 is balance. Idle = experts that no token of those steps chose.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from everlearn.evaluation.machine import commit, machine, versions
from everlearn.models.apertis import ApertisConfig, ApertisForCausalLM, balance_experts, expert_loads

ROOT = Path(__file__).parents[1]
ROWS, TOKENS = 8, 128


def text() -> torch.Tensor:
    """Bytes of the documents, [N] long."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    return torch.tensor(list("\n".join(page.read_text("utf-8") for page in pages).encode()), dtype=torch.long)


def config(experts: int, chosen: int) -> ApertisConfig:
    return ApertisConfig(
        vocab_size=256,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        mlp_layer_types=["experts", "experts"],
        num_experts=experts,
        num_experts_per_tok=chosen,
        moe_intermediate_size=32,
    )


def run(experts: int, chosen: int, rate: float, steps: int) -> dict[str, Any]:
    """Trains once; the bias moves at first by `rate`, and over the second half ever less, so that it settles."""
    torch.manual_seed(0)
    model = ApertisForCausalLM(config(experts, chosen)).train()
    data, draw = text(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    counted = {load.layer: torch.zeros(experts) for load in expert_loads(model)}
    begun, losses = time.perf_counter(), []
    for step in range(steps):
        starts = torch.randint(0, len(data) - TOKENS, (ROWS,), generator=draw).tolist()
        ids = torch.stack([data[n : n + TOKENS] for n in starts])
        optimizer.zero_grad()
        loss = model(ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        late = step >= steps * 4 // 5
        for name, module in model.named_modules():
            if late and f"{name}".endswith(".mlp"):
                counted[name] += module.gate.load
        balance_experts(model, rate * min(1.0, 2 * (1 - step / steps)))
    violations = [float(load.max() / load.mean() - 1) for load in counted.values()]
    return {
        "experts": experts,
        "chosen": chosen,
        "rate": rate,
        "max_violation": max(violations),
        "idle": int(sum((load == 0).sum() for load in counted.values())),
        "choices_counted": int(sum(load.sum() for load in counted.values())),
        "choices_made": ROWS * TOKENS * chosen * 2 * (steps - steps * 4 // 5),
        "loss": sum(losses[-20:]) / len(losses[-20:]),
        "seconds": time.perf_counter() - begun,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    runs = []
    for experts, chosen in ((32, 8), (64, 6)):
        for rate in (0.0, args.rate):
            runs.append(run(experts, chosen, rate, args.steps))
            print(json.dumps(runs[-1]), flush=True)
    report = {"runs": runs, "where": {"machine": machine(), "versions": versions(), "commit": commit()}}
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
