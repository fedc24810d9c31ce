"""LoRA fine-tuning (PEFT): on all facts in batches, or on one fact after another."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from everlearn.evaluation.asking import Given
from everlearn.evaluation.edits import Edit
from everlearn.evaluation.questions import Question
from everlearn.models.base import BaseModel
from peers.decoding import Decoder, Forced
from peers.editor import prompt_of

MLP = ("gate_proj", "up_proj", "down_proj")
Example = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class LoraOptions:
    """What may be chosen.

    Attributes:
        each: train on one fact after another instead of on all in batches.
        rank: of the adapter.
        modules: linear layers that get one.
        rate: of AdamW.
        batch: facts of a step, where they are trained together.
        rounds: most epochs over all facts, or most steps on one.
        enough: mean loss in nats at which training ends.
        seed: draws first weights and order.
    """

    each: bool = False
    rank: int = 16
    modules: tuple[str, ...] = MLP
    rate: float = 1e-3
    batch: int = 8
    rounds: int = 20
    enough: float = 0.02
    seed: int = 0


@final
class Lora:
    """The editor. While it has been taught, the base model carries its adapter; `begin` and `close` take it off.

    Source: Hu et al. 2021, LoRA, arXiv 2106.09685.

    Args:
        model: base model.
        decoder: asks that model; without a memo.
        options: what may be chosen.
    """

    own_bare = True

    def __init__(self, model: BaseModel, decoder: Decoder, options: LoraOptions | None = None) -> None:
        self.options = options or LoraOptions()
        self.name = "lora-each" if self.options.each else "lora-batch"
        self._model, self._decoder = model, decoder
        self._adapted: PeftModel | None = None
        self.rounds_taken: list[int] = []

    def begin(self) -> None:
        """Take the adapter off."""
        if self._adapted is not None:
            self._adapted.unload()
            self._model.module.requires_grad_(False)
            self._adapted = None
        self.rounds_taken = []

    def teach(self, edits: Sequence[Edit]) -> list[float]:
        """Train a new adapter."""
        self.begin()
        torch.manual_seed(self.options.seed)
        config = LoraConfig(
            r=self.options.rank,
            lora_alpha=2 * self.options.rank,
            target_modules=list(self.options.modules),
            task_type="CAUSAL_LM",
        )
        self._adapted = get_peft_model(self._model.module, config)
        rows = [self._example(edit) for edit in edits]
        if self.options.each:
            return [self._timed([row]) for row in rows]
        return [self._timed(rows) / len(rows)] * len(rows)

    def touches(self, questions: Sequence[Question]) -> list[bool]:
        """Always, once it is trained."""
        return [self._adapted is not None] * len(questions)

    def free(self, questions: Sequence[Question], most: int) -> list[Given]:
        """Greedy answers."""
        return self._decoder.free([prompt_of(self._decoder.text, q.text) for q in questions], most)

    def forced(self, questions: Sequence[Question]) -> list[Forced]:
        """What is said at each step of the wanted answers."""
        text = self._decoder.text
        return self._decoder.forced([(prompt_of(text, q.text), text.answer_ids(q.wanted)) for q in questions])

    def settings(self) -> dict[str, Any]:
        """The options, and how long it took."""
        rounds = sum(self.rounds_taken) / max(1, len(self.rounds_taken))
        return {**asdict(self.options), "mean_rounds": round(rounds, 1)}

    def close(self) -> None:
        """Take the adapter off."""
        self.begin()

    def _example(self, edit: Edit) -> Example:
        """Tokens [T] and labels [T]: only the answer and its stop token are learned."""
        prompt, answer = prompt_of(self._decoder.text, edit.prompt), self._decoder.text.answer_ids(edit.target)
        return torch.tensor(prompt + answer), torch.tensor([-100] * len(prompt) + answer)

    def _timed(self, rows: Sequence[Example]) -> float:
        """Train on some facts until they are known; milliseconds."""
        start = time.perf_counter()
        assert self._adapted is not None
        self._adapted.train()
        optimizer = torch.optim.AdamW([p for p in self._adapted.parameters() if p.requires_grad], lr=self.options.rate)
        chance = random.Random(self.options.seed)
        self.rounds_taken.append(0)
        for _ in range(self.options.rounds):
            losses = []
            order = chance.sample(range(len(rows)), len(rows))
            for first in range(0, len(order), self.options.batch):
                losses.append(self._step(optimizer, [rows[i] for i in order[first : first + self.options.batch]]))
            self.rounds_taken[-1] += 1
            if sum(losses) / len(losses) < self.options.enough:
                break
        self._adapted.eval()
        return (time.perf_counter() - start) * 1000

    def _step(self, optimizer: torch.optim.Optimizer, some: Sequence[Example]) -> float:
        assert self._adapted is not None
        ids = pad_sequence([i for i, _ in some], batch_first=True)
        labels = pad_sequence([la for _, la in some], batch_first=True, padding_value=-100)
        mask = pad_sequence([torch.ones_like(i) for i, _ in some], batch_first=True)
        loss = self._adapted(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.item())
