"""What do fewer bits and fewer weights cost, and what do they bring? Bytes, speed and quality beside the whole model.

Number formats: float32, bfloat16, float16, int8 (outlier-aware), nf4; and pruning by synaptic flow and by magnitude, to
the shares given, without any training afterwards. Quality is perplexity on text that is read in windows, and the share
of steps of bfloat16's own answers at which the likeliest token is the same. Speed is the median of several decodings
and prefills of one prompt, the formats in turn within each repetition.

    python benchmarks/smaller.py --text wikitext.txt [--tokens 8192] [--repeats 5] [--threads 1] [--write]
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from everlearn.evaluation.latency import where
from everlearn.learning.examples import Encoded
from everlearn.learning.general_prompts import general_prompts
from everlearn.learning.losses import answer_logits, batch_of
from everlearn.learning.scoring import perplexity
from everlearn.models.base import BaseModel
from everlearn.models.pruning import magnitude, prune, synaptic_flow
from everlearn.models.sources import resolve
from everlearn.records import Message
from everlearn.text.chat import ChatText
from everlearn.wiring import load_settings

RESULTS = Path(__file__).parent / "results"
FORMATS = ("float32", "bfloat16", "float16", "int8", "nf4")
STEPS, PROMPT, ANSWERS = 24, 256, 24


def size_of(model: BaseModel) -> int:
    tensors = {t.data_ptr(): t for t in (*model.module.parameters(), *model.module.buffers())}
    extra = 0
    for module in model.module.modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        extra += sum(v.nbytes for v in vars(state).values() if isinstance(v, torch.Tensor)) if state is not None else 0
    return sum(t.nbytes for t in tensors.values()) + extra


@torch.inference_mode()
def greedy(model: BaseModel, ids: list[int], steps: int) -> tuple[list[int], float, float]:
    """Token ids said, seconds of the prompt, seconds a token."""
    cache, said = model.new_cache(), []
    begun = time.perf_counter()
    logits = model.forward(torch.tensor([ids]), cache)
    read = time.perf_counter() - begun
    begun = time.perf_counter()
    for _ in range(steps):
        said.append(int(logits[0, -1].argmax()) if logits.dim() == 3 else int(logits[0].argmax()))
        logits = model.forward(torch.tensor([[said[-1]]]), cache)
    return said, read, (time.perf_counter() - begun) / steps


@torch.inference_mode()
def agreement(model: BaseModel, rows: list[Encoded]) -> float:
    same = [
        float(
            (answer_logits(model, batch_of([row], model.device))[0].argmax(-1) == torch.tensor(row.answer))
            .float()
            .mean()
        )
        for row in rows
    ]
    return sum(same) / len(same)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shares", default="0.1,0.3,0.5")
    parser.add_argument("--write", action="store_true", help="keep the result under benchmarks/results")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = load_settings()
    files = resolve(settings.model, settings.home)
    text = ChatText.from_folder(files.folder)
    ids = text.plain_ids(arguments.text.read_text(encoding="utf-8"))[: arguments.tokens]
    prompts = [text.prompt_ids([Message("user", prompt)]) for prompt in general_prompts()[:ANSWERS]]
    models = {name: BaseModel.from_folder(files, device="cpu", dtype=name) for name in FORMATS}
    rows = [Encoded(p, greedy(models["bfloat16"], p, STEPS)[0]) for p in prompts]
    found: dict[str, dict[str, Any]] = {}
    for name, model in models.items():
        found[name] = {
            "bytes": size_of(model),
            "perplexity": perplexity(model, ids),
            "agreement": agreement(model, rows),
        }
        print(name, json.dumps(found[name]), flush=True)
    speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    for _ in range(arguments.repeats):
        for name, model in models.items():
            _, read, step = greedy(model, ids[:PROMPT], STEPS)
            speeds[name].append((read, step))
    for name, several in speeds.items():
        found[name]["prefill_tokens_per_second"] = PROMPT / statistics.median(read for read, _ in several)
        found[name]["tokens_per_second"] = 1 / statistics.median(step for _, step in several)
    del models, model
    gc.collect()
    for label, score in (("synflow", synaptic_flow), ("magnitude", magnitude)):
        for share in map(float, arguments.shares.split(",")):
            pruned = BaseModel.from_folder(files, device="cpu", dtype="float32")
            gone = prune(pruned, share, score=score)
            one = {"zero": gone, "perplexity": perplexity(pruned, ids), "agreement": agreement(pruned, rows)}
            found[f"{label} {share:g}"] = one
            print(label, share, json.dumps(one), flush=True)
    report = {"benchmark": "smaller", "date": f"{datetime.now(UTC):%Y-%m-%d}", **where(), "model": settings.model}
    report |= {"tokens": len(ids), "threads": arguments.threads, "repeats": arguments.repeats, "found": found}
    print(json.dumps(report, indent=1))
    if arguments.write:
        path = RESULTS / f"{report['date']}-smaller.json"
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
