"""GRACE: a codebook at one layer of a frozen model; where a prompt's activation is near a key, the layer is overruled.

Source: Hartvigsen et al. 2023, Aging with GRACE: Lifelong Model Editing with Discrete Key-Value Adaptors,
arXiv 2211.11031. As in the paper: the key is the activation that enters one linear layer at the last prompt token, the
value takes the place of what the layer puts out there, is drawn at random and learned by Adam on the answer's tokens,
and an edit is made only where the model errs. Two things are in its favour: the stop token is learned with the answer,
and an activation is always computed alone, so that rounding never moves it out of its own radius.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, final
from unittest.mock import patch

import torch
from torch import Tensor, nn

from everlearn.errors import InputError
from everlearn.evaluation.asking import Given
from everlearn.evaluation.edits import Edit
from everlearn.evaluation.questions import Question
from everlearn.models.base import BaseModel
from everlearn.models.blocks import hidden_of
from peers.codebook import Codebook, Label
from peers.decoding import Decoder, Forced
from peers.editor import prompt_of

DEPTH = 27 / 32  # the published layer of a 32-block model


@dataclass(frozen=True, slots=True)
class GraceOptions:
    """What may be chosen.

    Attributes:
        block: the decoder block, from 0; None = as deep as published for a model of 32 blocks (27).
        radius: of a new key. Activations of every model have a scale of their own; the default is the median distance
            between a question and its rephrase on SmolLM2-135M-Instruct; the published 1.0 reaches none there
            (docs/log.md).
        rate: of Adam, as published.
        steps: most steps for a value.
        enough: mean loss in nats at which a value counts as learned.
        seed: draws the first values.
    """

    block: int | None = None
    radius: float = 3.5
    rate: float = 1.0
    steps: int = 100
    enough: float = 0.02
    seed: int = 0


@final
class Grace:
    """The editor.

    Args:
        model: base model; a hook hangs in it only while it is asked or taught.
        decoder: asks that model.
        options: what may be chosen.
    """

    own_bare = False

    def __init__(self, model: BaseModel, decoder: Decoder, options: GraceOptions | None = None) -> None:
        self.name = "grace"
        self.options = options or GraceOptions()
        self._model, self._decoder = model, decoder
        chosen = self.options.block
        self.block = int(model.num_blocks * DEPTH) if chosen is None else chosen
        self._layer = edited_layer(model.blocks[self.block])
        self._queries: dict[str, Tensor] = {}
        self._values: dict[tuple[str, Label], tuple[Tensor, int, float]] = {}
        self.begin()

    def begin(self) -> None:
        """An empty codebook."""
        self.codebook = Codebook(_width_in(self._layer), self._model.hidden_size, self.options.radius)
        self.steps_taken: list[int] = []

    def teach(self, edits: Sequence[Edit]) -> list[float]:
        """One edit after another."""
        spent = []
        for edit in edits:
            self._queries.pop(edit.prompt, None)  # finding the key belongs to the cost of teaching
            start = time.perf_counter()
            saved = self._teach_one(edit)
            spent.append((time.perf_counter() - start) * 1000 + saved)
        return spent

    def touches(self, questions: Sequence[Question]) -> list[bool]:
        """Whether a key is near enough."""
        return [entry is not None for entry in self._entries(questions)]

    def free(self, questions: Sequence[Question], most: int) -> list[Given]:
        """Greedy answers."""
        prompts = [prompt_of(self._decoder.text, q.text) for q in questions]
        return self._decoder.free(prompts, most, self._overruling(questions))

    def forced(self, questions: Sequence[Question]) -> list[Forced]:
        """What is said at each step of the wanted answers."""
        text = self._decoder.text
        pairs = [(prompt_of(text, q.text), text.answer_ids(q.wanted)) for q in questions]
        return self._decoder.forced(pairs, self._overruling(questions))

    def settings(self) -> dict[str, Any]:
        """The options, and what came of them."""
        steps = sum(self.steps_taken) / max(1, len(self.steps_taken))
        return {**asdict(self.options), "block": self.block, "keys": len(self.codebook), "mean_steps": round(steps, 1)}

    def close(self) -> None:
        """Nothing hangs in the model."""

    def query(self, text: str) -> Tensor:
        """Activation [F] float32 that enters the layer at the last token of a prompt."""
        if text not in self._queries:
            ids = torch.tensor([prompt_of(self._decoder.text, text)])
            kept: list[Tensor] = []
            handle = self._layer.register_forward_pre_hook(lambda _m, inputs: kept.append(inputs[0][0, -1].float()))
            try:
                with torch.no_grad():
                    self._model.module(input_ids=ids, use_cache=False, logits_to_keep=1)
            finally:
                handle.remove()
            self._queries[text] = kept[0].clone()
        return self._queries[text]

    def _teach_one(self, edit: Edit) -> float:
        """Teach it; milliseconds that a value took when it was learned before, since it is not learned again."""
        question = Question("taught", 0, edit.prompt, edit.target)
        label = tuple(self._decoder.text.answer_ids(edit.target))
        if self.forced([question])[0].tokens == label:
            return 0.0  # the model does not err: nothing to mend
        first = self._first_value(edit.prompt, label)
        entry = self.codebook.entry_for(self.query(edit.prompt), label, first)
        # A new entry's value is a function of prompt, label and seed alone: other draws may use it again.
        fresh, saved = torch.equal(self.codebook.values[entry], first), 0.0
        if fresh and (edit.prompt, label) in self._values:
            learned, steps, saved = self._values[edit.prompt, label]
        else:
            start, ids = time.perf_counter(), prompt_of(self._decoder.text, edit.prompt)
            learned, steps = self._learned(ids, label, self.codebook.values[entry])
            if fresh:
                self._values[edit.prompt, label] = learned, steps, (time.perf_counter() - start) * 1000
        self.codebook.values[entry] = learned
        self.steps_taken.append(steps)
        return saved

    def _first_value(self, prompt: str, label: Label) -> Tensor:
        """A random value [D], always the same for this edit."""
        digest = hashlib.sha256(repr((self.options.seed, prompt, label)).encode()).digest()
        chance = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        return torch.rand(self._model.hidden_size, generator=chance)

    def _learned(self, prompt: Sequence[int], label: Sequence[int], first: Tensor) -> tuple[Tensor, int]:
        """A value [D] that makes the model give the answer, and how many steps it took."""
        value = nn.Parameter(first.clone())
        optimizer = torch.optim.Adam([value], lr=self.options.rate)
        wanted, steps = torch.tensor(label), 0
        with self.answering(prompt, label) as logits_with:
            for steps in range(self.options.steps + 1):
                loss = nn.functional.cross_entropy(logits_with(value), wanted)
                if steps == self.options.steps or loss.item() < self.options.enough:
                    break
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return value.detach(), steps

    @contextmanager
    def answering(self, prompt: Sequence[int], label: Sequence[int]) -> Iterator[Callable[[Tensor], Tensor]]:
        """Within this context, a function value [D] -> logits [A, V] float32 of the answer's steps.

        What lies below the edited block is computed once: those blocks pass on what they are given, and the edited one
        is given what it was given the first time.
        """
        ids = torch.tensor([[*prompt, *label[:-1]]])
        call = {"input_ids": ids, "use_cache": False, "logits_to_keep": len(label)}
        block, below = self._model.blocks[self.block], self._model.blocks[: self.block]
        entered: list[Tensor] = []
        handle = block.register_forward_pre_hook(
            lambda _m, inputs, named: entered.append(inputs[0] if inputs else named["hidden_states"]), with_kwargs=True
        )
        with torch.no_grad():
            self._model.module(**call)
        handle.remove()
        with ExitStack() as stack:
            for skipped in below:
                stack.enter_context(patch.object(skipped, "forward", lambda hidden_states, *_, **__: hidden_states))
            stack.callback(block.register_forward_pre_hook(_given(entered[0]), with_kwargs=True).remove)

            def logits_with(value: Tensor) -> Tensor:
                with overruled(self._layer, [0], value[None], len(prompt) - 1), torch.enable_grad():
                    logits: Tensor = self._model.module(**call).logits[0]
                return logits.float()

            yield logits_with

    def _entries(self, questions: Sequence[Question]) -> list[int | None]:
        if not len(self.codebook) or not questions:
            return [None] * len(questions)
        return self.codebook.lookup(torch.stack([self.query(q.text) for q in questions]))

    def _overruling(self, questions: Sequence[Question]) -> Callable[[Sequence[int], int], Any]:
        """Makes the context for each batch: the values of those of its rows that a key is near to."""
        entries = self._entries(questions)

        def at(rows: Sequence[int], column: int) -> Any:  # noqa: ANN401
            hit = [(place, entries[row]) for place, row in enumerate(rows) if entries[row] is not None]
            values = self.codebook.values[[entry for _, entry in hit]] if hit else torch.zeros(0, 1)
            return overruled(self._layer, [place for place, _ in hit], values, column)

        return at


@contextmanager
def overruled(layer: nn.Module, rows: Sequence[int], values: Tensor, column: int) -> Iterator[None]:
    """Within this context, what a layer puts out at one column of the given rows is replaced by values [N, D]."""

    def replace(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        changed = output.clone()
        changed[list(rows), column] = values.to(output.dtype)
        return changed

    if not rows:
        yield
        return
    handle = layer.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def edited_layer(block: nn.Module) -> nn.Module:
    """The linear layer that ends a block's MLP.

    Raises:
        InputError: the block has none under a known name.
    """
    for name in ("down_proj", "c_proj", "fc2", "dense_4h_to_h"):
        layer = getattr(getattr(block, "mlp", None), name, None)
        if isinstance(layer, nn.Module):
            return layer
    raise InputError(f"{type(block).__name__} has no MLP with a last linear layer of a known name.")


def _width_in(layer: nn.Module) -> int:
    """Width of what enters a linear layer (torch keeps it second, GPT-2's Conv1D first)."""
    weight: Any = layer.weight
    return int(weight.shape[1] if isinstance(layer, nn.Linear) else weight.shape[0])


def _given(entered: Tensor) -> Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]:
    """A hook that gives a block what it was given before, whatever comes now."""
    hidden = hidden_of(entered)

    def give(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:  # noqa: ANN401
        if inputs:
            return (hidden, *inputs[1:]), named
        return inputs, {**named, "hidden_states": hidden}

    return give
