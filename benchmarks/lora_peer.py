"""How long does fine-tuning take to know what the table knows, and what does it break on the way?

The same pairs are taught to the table and to a LoRA adapter (PEFT, rank 16, MLP, AdamW, bfloat16), and both are asked
the same: the taught prompts, one rephrase of each, and questions that must not change (free greedy decoding, exact
match; see `everlearn bench editing`). Training stops after the epoch in which the adapter's recall of the taught
prompts reaches the table's; its seconds are training alone, without scoring.

    python benchmarks/lora_peer.py --data qaedit.jsonl [--pairs 60] [--rate 1e-3] [--write]
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM

from everlearn.engine.engine import Engine
from everlearn.evaluation.asking import Given, Wild
from everlearn.evaluation.edits import Edit, read_edits
from everlearn.evaluation.latency import where
from everlearn.evaluation.metrics import wilson
from everlearn.evaluation.questions import KINDS, Kind, Plan, batches, plan
from everlearn.learning.learner import Learner
from everlearn.memory.key import KeyMaker
from everlearn.models.base import BaseModel
from everlearn.models.sources import resolve
from everlearn.records import Lesson, Message
from everlearn.text.chat import ChatText
from everlearn.wiring import Parts, Settings, engine_over, load_parts, load_settings, open_derived, open_store

MLP = ["gate_proj", "up_proj", "down_proj"]
RANK = 16
BATCH = 8
Example = tuple[torch.Tensor, torch.Tensor]
START_UP = Lesson("Is it warm yet?", "It is.")


@contextmanager
def fresh(settings: Settings, parts: Parts) -> Iterator[tuple[Engine, Learner]]:
    """An engine and its learner on an empty state that is dropped afterwards; the weights stay where they are."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        own = settings.model_copy(update={"home": Path(folder)})
        engine = engine_over(parts, open_store(own), open_derived(own))
        learner = Learner(engine, background=False)
        try:
            yield engine, learner
        finally:
            learner.close()
            engine.close()


def asked(engine: Engine, wanted: Plan, tables: tuple[str, ...] | None, kinds: Sequence[Kind] = KINDS) -> list[Given]:
    """Answers to all questions of these kinds."""
    wild = Wild(engine, max_new_tokens=64, locality_tokens=32)
    questions = [question for kind in kinds for question in wanted.asked[kind]]
    return [given for batch in batches(questions, 16) for given in wild.ask(batch, tables or ())]


def scores(engine: Engine, wanted: Plan, bare: list[Given], given: list[Given]) -> dict[str, Any]:
    """Reliability, generality, locality with their intervals."""
    wild = Wild(engine, max_new_tokens=64, locality_tokens=32)
    taught, rephrases, locality = (wanted.asked[kind] for kind in KINDS)
    known = [wild.right(q, g) for q, g in zip([*taught, *rephrases], given, strict=False)]
    after = given[len(known) :]
    kept = [wild.unchanged(q, b, a) for q, b, a in zip(locality, bare, after, strict=True)]
    parts = {"reliability": known[: len(taught)], "generality": known[len(taught) :], "locality": kept}
    shares = {name: sum(part) / len(part) for name, part in parts.items()}
    return {**shares, "intervals": {name: wilson(share, len(wanted.sample)) for name, share in shares.items()}}


def table_arm(settings: Settings, wanted: Plan, parts: Parts) -> dict[str, Any]:
    """Teach the pairs one after another, and compute all their corrections."""
    lessons = [Lesson(edit.prompt, edit.target) for edit in wanted.edits]
    with fresh(settings, parts) as (engine, learner):
        bare = asked(engine, wanted, (), ["locality"])
        learner.forget(learner.teach(START_UP).lesson.id)
        start = time.perf_counter()
        for lesson in lessons:
            learner.teach(lesson)
        taught = time.perf_counter()
        learner.warm()
        warmed = time.perf_counter()
        result = scores(engine, wanted, bare, asked(engine, wanted, ("default",)))
    seconds = {"teach_seconds": taught - start, "corrections_seconds": warmed - taught}
    return {**result, **seconds, "dtype": str(parts.model.dtype)}


def lora_arm(settings: Settings, wanted: Plan, goal: float, args: argparse.Namespace, keys: KeyMaker) -> dict[str, Any]:
    """Train an adapter on the pairs until it knows as many of them as the table does."""
    torch.manual_seed(args.seed)
    files = resolve(settings.model, settings.home)
    text = ChatText.from_folder(files.folder)
    module = AutoModelForCausalLM.from_pretrained(files.folder, dtype=torch.bfloat16)
    model = BaseModel(module, name=files.name, digest=files.digest)
    with fresh(settings, Parts(model, text, keys)) as (engine, _):
        bare = asked(engine, wanted, (), ["locality"])
        config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=MLP, task_type="CAUSAL_LM")
        adapted = get_peft_model(module, config)  # in place: the engine now answers with the adapter
        curve = curve_of(
            adapted, [example(text, edit) for edit in wanted.edits], goal, args, lambda: recall(engine, wanted)
        )
        result = scores(engine, wanted, bare, asked(engine, wanted, ()))
    trainable = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    last = curve[-1]
    return {
        **result,
        "train_seconds": last["train_seconds"],
        "epochs": last["epoch"],
        "reached_goal": last["reliability"] >= goal,
        "parameters": trainable,
        "curve": curve,
    }


def curve_of(
    adapted: Any,  # noqa: ANN401
    rows: list[Example],
    goal: float,
    args: argparse.Namespace,
    known: Callable[[], float],
) -> list[dict[str, float]]:
    """Train epoch by epoch until the goal is reached; what was known after each."""
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=args.rate)
    seconds, curve = 0.0, []
    for epoch in range(1, args.epochs + 1):
        spent, loss = trained(adapted, optimizer, rows, random.Random(args.seed + epoch))
        seconds += spent
        curve.append({"epoch": epoch, "loss": loss, "train_seconds": seconds, "reliability": known()})
        print(curve[-1])
        if curve[-1]["reliability"] >= goal:
            break
    return curve


def recall(engine: Engine, wanted: Plan) -> float:
    """Share of the taught prompts that are answered right."""
    wild = Wild(engine, max_new_tokens=64, locality_tokens=32)
    given = asked(engine, wanted, (), ["taught"])
    return sum(wild.right(q, g) for q, g in zip(wanted.asked["taught"], given, strict=True)) / len(given)


def example(text: ChatText, edit: Edit) -> Example:
    """Tokens [T] and labels [T]: only the answer and its stop token are learned."""
    prompt, answer = text.prompt_ids([Message("user", edit.prompt)]), text.answer_ids(edit.target)
    return torch.tensor(prompt + answer), torch.tensor([-100] * len(prompt) + answer)


def trained(
    model: Any,  # noqa: ANN401
    optimizer: torch.optim.Optimizer,
    rows: list[Example],
    chance: random.Random,
) -> tuple[float, float]:
    """One epoch in place; returns its seconds and its mean loss."""
    start, losses = time.perf_counter(), []
    order = chance.sample(range(len(rows)), len(rows))
    model.train()
    for first in range(0, len(order), BATCH):
        some = [rows[i] for i in order[first : first + BATCH]]
        ids = pad_sequence([i for i, _ in some], batch_first=True).to(model.device)
        labels = pad_sequence([la for _, la in some], batch_first=True, padding_value=-100).to(model.device)
        mask = pad_sequence([torch.ones_like(i) for i, _ in some], batch_first=True).to(model.device)
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    model.eval()
    return time.perf_counter() - start, sum(losses) / len(losses)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="JSON Lines file of edits (prompt, target, ...)")
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate of the adapter")
    parser.add_argument("--epochs", type=int, default=40, help="give up after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the result to this file")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    place = where()
    settings = load_settings()
    edits = read_edits(args.data)
    chosen = random.Random(args.seed).sample(edits, args.pairs)
    wanted = plan(chosen, range(len(chosen)), {"rephrase": 1, "locality": 1})
    parts = load_parts(settings)
    table = table_arm(settings, wanted, parts)
    print({"table": table})
    lora = lora_arm(settings, wanted, table["reliability"], args, parts.keys)
    times = lora["train_seconds"] / (table["teach_seconds"] + table["corrections_seconds"])
    setup = {"pairs": len(chosen), "rank": RANK, "modules": MLP, "rate": args.rate, "batch": BATCH, "dtype": "bfloat16"}
    about = {"benchmark": "lora-peer", "date": f"{datetime.now(UTC):%Y-%m-%d}", "data": args.data.name, "setup": setup}
    result = {**about, "table": table, "lora": lora, "times_slower": times, "where": place}
    print(json.dumps(result, indent=1))
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
