"""The kinds of layers side by side: the same text, tokenizer, tokens and optimiser; bits per byte of held-out text.

python benchmarks/kinds.py --data TEXT --out FOLDER [--size 1m] [--tokens 1M] [--kinds full,linear]

Each kind is a pre-training in a folder of its own, so a run that was killed goes on, and kinds can be added later.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from everlearn.evaluation.machine import commit, machine
from everlearn.learning.pretraining import TOKENIZER, open_pretraining
from everlearn.learning.pretraining_settings import PretrainingSettings, settings_from
from everlearn.models.apertis.presets import preset
from everlearn.models.silence import no_progress_bars

REPORT = "report.json"


def kinds_of(layers: int) -> dict[str, dict[str, Any]]:
    """Name of a kind -> what distinguishes its model from the plain one; "full" is the plain Llama-style model."""
    hybrid = ["full" if (n + 1) % 4 == 0 else "linear" for n in range(layers)]
    return {
        "full": {},
        "block_sparse": {"layer_types": ["block_sparse"] * layers, "block_size": 16, "selected_blocks": 4},
        "linear": {"layer_types": ["linear"] * layers},
        "recurrent": {"layer_types": ["recurrent"] * layers},
        "latent": {"layer_types": ["latent"] * layers},
        "experts": {"mlp_layer_types": ["dense", *["experts"] * (layers - 1)]},
        "hybrid": {"layer_types": hybrid, "qk_norm": True, "attention_gate": True},
        "hybrid + mtp": {"layer_types": hybrid, "qk_norm": True, "attention_gate": True, "mtp_depth": 1},
    }


def train_kind(name: str, settings: PretrainingSettings, folder: Path) -> dict[str, Any]:
    """Train one kind, or read what an earlier run found."""
    done = folder / REPORT
    if done.exists():
        return dict(json.loads(done.read_text()))
    begun = time.process_time()
    with no_progress_bars():
        run = open_pretraining(settings, folder, resume=True)
        outcome = run.trainer.train(
            lambda step: (
                print(f"{name:>14} {step.step}/{step.steps} {step.figures['loss']:.3f}", flush=True)
                if "bits_per_byte" in step.figures
                else None
            )
        )
    report = {
        "kind": name,
        "parameters": run.parameters,
        "bits_per_byte": outcome.bits_per_byte,
        "best": outcome.best,
        "loss": outcome.loss,
        "tokens": outcome.tokens,
        "cpu_seconds": round(time.process_time() - begun, 1),
    }
    done.write_text(json.dumps(report))
    return report


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Train all kinds, one after another."""
    torch.set_num_threads(options.threads)
    base = {
        "data": options.data,
        "size": options.size,
        "tokens": options.tokens,
        "sequence": options.sequence,
        "update_tokens": options.update_tokens,
        "optimizer": "muon",
        "schedule": "wsd",
        "evaluate_tokens": 65_536,
        "evaluate_every": 1_000_000,
        "save_every": 100,
        "prompts": [],
    }
    wanted = kinds_of(int(preset(options.size).num_hidden_layers))
    names = options.kinds.split(",") if options.kinds else list(wanted)
    fields = {"vocab_size": options.vocabulary}
    tokenizer = options.out / "full" / TOKENIZER
    reports = []
    for name in dict.fromkeys(["full", *names]):
        model = {**fields, **wanted[name]}
        own = {} if name == "full" else {"tokenizer": str(tokenizer)}
        settings = settings_from({**base, **own, "model": model})
        reports.append(train_kind(name, settings, options.out / name.replace(" ", "-")))
    return {"kinds": reports, "size": options.size, "commit": commit(), "machine": machine()}


def table_of(report: dict[str, Any]) -> str:
    """The comparison as Markdown."""
    plain = report["kinds"][0]["bits_per_byte"]
    lines = ["| kind | parameters | bits a byte | against full | processor time |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['kind']} | {row['parameters']:,} | {row['bits_per_byte']:.4f} "
        f"| {row['bits_per_byte'] / plain - 1:+.1%} | {row['cpu_seconds']:,.0f} s |"
        for row in report["kinds"]
    ]
    return "\n".join(lines)


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", default="1m")
    parser.add_argument("--tokens", default="1M")
    parser.add_argument("--sequence", type=int, default=256)
    parser.add_argument("--update-tokens", type=int, default=4080)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = options_of(arguments)
    report = compare(options)
    print(table_of(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
