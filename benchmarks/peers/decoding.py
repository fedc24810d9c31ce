"""Asking a bare transformers model in batches: greedy and free, or with the wanted answer fed in.

Prompts are padded on the left, so that the last prompt token of every row stands in the same column; an editor that
changes the model at that token needs to know one number. Rows that are finished stay in the batch: its shape, and with
it the rounding of bfloat16, is the same whatever the others answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, nn

from everlearn.evaluation.asking import Given
from everlearn.text.chat import ChatText
from peers.memo import Memo, key_of

BATCH = 32
Ids = Sequence[int]
AtColumn = Callable[[Sequence[int], int], AbstractContextManager[Any]]
"""Makes the context in which a batch of prompts is read: numbers of its rows, and the column of their last token."""
Reading = Callable[[int], AbstractContextManager[Any]]
Said = tuple[list[int], list[float]]


@dataclass(frozen=True, slots=True)
class Forced:
    """What a model says at each step of an answer that is fed in.

    Attributes:
        tokens: [A] the arg-max at each step, the stop token's step last.
        losses: [A] nats that the wanted token costs at each step; () where they were not computed.
    """

    tokens: tuple[int, ...]
    losses: tuple[float, ...]


@final
class Decoder:
    """Asks a causal language model in batches.

    Args:
        module: transformers model; hooks and adapters that hang in it take part.
        text: its tokenizer.
        batch_size: rows that run together.
        memo: keeps answers that were read in no special context; only for a model that never changes.
    """

    def __init__(self, module: nn.Module, text: ChatText, batch_size: int = BATCH, memo: Memo | None = None) -> None:
        self.module = module
        self.text = text
        self._size = batch_size
        self._memo = memo

    def free(self, prompts: Sequence[Ids], most: int, at: AtColumn | None = None) -> list[Given]:
        """Greedy answers of at most `most` tokens.

        Args:
            prompts: token ids of each prompt.
            most: an answer that reaches it ends for "length".
            at: context in which the prompts are read.
        """
        keys = [key_of("free", p, [most]) for p in prompts]
        found = self._known(keys, at)
        for rows in self._batches({r: len(p) for r, p in enumerate(prompts) if r not in found}):
            answers = self._free_batch([prompts[r] for r in rows], most, at and partial(at, rows))
            found.update(zip(rows, answers, strict=True))
            self._keep({keys[r]: found[r] for r in rows}, at)
        return [self._given(found[row]) for row in range(len(prompts))]

    def forced(self, pairs: Sequence[tuple[Ids, Ids]], at: AtColumn | None = None) -> list[Forced]:
        """What is said at each step of given answers.

        Args:
            pairs: token ids of each prompt and of its answer, the stop token last.
            at: context in which the prompts are read.
        """
        keys = [key_of("forced", *pair) for pair in pairs]
        found = self._known(keys, at)
        for rows in self._batches({r: len(p) + len(a) for r, (p, a) in enumerate(pairs) if r not in found}):
            said = self._forced_batch([pairs[r] for r in rows], at and partial(at, rows))
            found.update(zip(rows, said, strict=True))
            self._keep({keys[r]: found[r] for r in rows}, at)
        return [Forced(*map(tuple, found[row])) for row in range(len(pairs))]

    def _known(self, keys: Sequence[str], at: AtColumn | None) -> dict[int, Any]:
        """What the memo holds for the numbered questions."""
        if self._memo is None or at is not None:
            return {}
        return {row: value for row, key in enumerate(keys) if (value := self._memo.get(key)) is not None}

    def _keep(self, found: dict[str, Any], at: AtColumn | None) -> None:
        if self._memo is not None and at is None:
            for key, value in found.items():
                self._memo.put(key, value)

    def _batches(self, lengths: Mapping[int, int]) -> Iterator[list[int]]:
        """Numbers of the rows of each batch: those of like length together."""
        order = sorted(lengths, key=lambda row: (lengths[row], row))
        for first in range(0, len(order), self._size):
            yield order[first : first + self._size]

    @torch.inference_mode()
    def _free_batch(self, prompts: Sequence[Ids], most: int, at: Reading | None) -> list[list[int]]:
        ids, mask = left_padded(prompts)
        with (at or _nothing)(ids.shape[1] - 1):
            out = self._forward(ids, mask, positions(mask), keep=1)
        answers: list[list[int]] = [[] for _ in prompts]
        running = set(range(len(prompts)))
        for step in range(most):
            tokens = out.logits[:, -1].argmax(dim=-1).tolist()
            for row in sorted(running):
                answers[row].append(tokens[row])
                if tokens[row] in self.text.stop_ids:
                    running.discard(row)
            if not running or step == most - 1:
                break
            mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], dim=1)
            fed, place = torch.tensor(tokens)[:, None], positions(mask)[:, -1:]
            out = self._forward(fed, mask, place, keep=1, cache=out.past_key_values)
        return answers

    @torch.inference_mode()
    def _forced_batch(self, pairs: Sequence[tuple[Ids, Ids]], at: Reading | None) -> list[Said]:
        ids, mask = left_padded([p for p, _ in pairs])
        longest = max(len(a) for _, a in pairs)
        fed = [[*a[:-1], *[0] * (longest - len(a))] for _, a in pairs]
        seen = [[1] * (len(a) - 1) + [0] * (longest - len(a)) for _, a in pairs]
        width = ids.shape[1]
        ids = torch.cat([ids, torch.tensor(fed, dtype=torch.long).view(len(pairs), -1)], dim=1)
        mask = torch.cat([mask, torch.tensor(seen, dtype=torch.long).view(len(pairs), -1)], dim=1)
        with (at or _nothing)(width - 1):
            logits = self._forward(ids, mask, positions(mask), keep=longest).logits.float()
        return [_forced(logits[row, : len(a)], a) for row, (_, a) in enumerate(pairs)]

    def _forward(self, ids: Tensor, mask: Tensor, place: Tensor, *, keep: int, cache: Any = None) -> Any:  # noqa: ANN401
        return self.module(
            input_ids=ids,
            attention_mask=mask,
            position_ids=place,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
        )

    def _given(self, tokens: list[int]) -> Given:
        ended = bool(tokens) and tokens[-1] in self.text.stop_ids
        return Given(self.text.decode(tokens).strip(), "stop" if ended else "length")


def left_padded(prompts: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """Token ids [B, T] and their mask [B, T], padded on the left."""
    width = max(len(p) for p in prompts)
    ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    return ids, mask


def positions(mask: Tensor) -> Tensor:
    """Place [B, T] of each token in its own row; padding stands at 0."""
    return (mask.cumsum(dim=1) - 1).clamp(min=0)


def _forced(logits: Tensor, answer: Ids) -> Said:
    """Arg-max and loss at each step, from logits [A, V] float32."""
    losses = nn.functional.cross_entropy(logits, torch.tensor(list(answer)), reduction="none")
    return logits.argmax(dim=-1).tolist(), [round(loss, 5) for loss in losses.tolist()]


def _nothing(_column: int) -> AbstractContextManager[None]:
    return nullcontext()
