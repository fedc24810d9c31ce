"""What a pre-training is judged by on the way: bits per byte of held-out text, and texts that it writes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from everlearn.errors import InputError
from everlearn.learning.token_stream import TokenBlocks, document_positions, evaluation_rows
from everlearn.learning.weights import copied, put_back

_NEW_TOKENS = 48
_SAMPLE_SEED = 7


@final
class HeldOut:
    """Text that is not trained on.

    Args:
        blocks: of it.
        length: tokens of a row.
        tokens: how many are predicted at most.
        tokenizer: of transformers; says how many bytes the tokens stand for.
        separate: whether documents of a row do not see each other.

    Raises:
        InputError: it is shorter than one row.
    """

    def __init__(self, blocks: TokenBlocks, length: int, tokens: int, tokenizer: Any, *, separate: bool) -> None:  # noqa: ANN401
        self._rows = evaluation_rows(blocks, length, tokens)
        if not self._rows:
            raise InputError(
                f"The held-out text is shorter than one row of {length} tokens.",
                hint="Give more text, a larger held_out, or a shorter sequence.",
            )
        self._end = blocks.end if separate else None
        ids = [int(t) for row in self._rows for t in row[0, 1:] if int(t) != blocks.end]
        self.bytes = len(tokenizer.decode(ids, clean_up_tokenization_spaces=False).encode("utf-8"))
        self.tokens = sum(row.shape[1] - 1 for row in self._rows)

    @torch.no_grad()
    def bits_per_byte(self, module: nn.Module, at_once: int) -> float:
        """How many bits the model needs for a byte of the text; it does not depend on the tokenizer.

        Args:
            module: the model.
            at_once: rows of a forward pass.
        """
        was_training, total = module.training, 0.0
        module.eval()
        for begin in range(0, len(self._rows), at_once):
            rows = torch.cat(self._rows[begin : begin + at_once])
            arguments = {} if self._end is None else {"position_ids": document_positions(rows, self._end)[:, :-1]}
            logits: Tensor = module(input_ids=rows[:, :-1], use_cache=False, **arguments).logits
            total += float(cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten(), reduction="sum"))
        module.train(was_training)
        return total / math.log(2) / max(self.bytes, 1)


@torch.no_grad()
def written(module: Any, tokenizer: Any, prompts: Sequence[str], longest: int) -> list[str]:  # noqa: ANN401
    """Goes on with each prompt, at temperature 0.8, always with the same chance; training's own is left alone."""
    was_training, texts = module.training, []
    module.eval()
    with torch.random.fork_rng(devices=[]):
        for prompt in prompts:
            torch.manual_seed(_SAMPLE_SEED)
            ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids[:, -longest // 2 :]
            count = min(_NEW_TOKENS, longest - ids.shape[1])
            out = module.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=count,
                do_sample=True,
                temperature=0.8,
                top_k=50,
                pad_token_id=tokenizer.eos_token_id,
            )
            texts.append(tokenizer.decode(out[0], skip_special_tokens=True))
    module.train(was_training)
    return texts


@final
class Average:
    """A running average of weights, which is smoother than the last ones.

    Args:
        parameters: weights by name.
        decay: of the average; at the begin it follows more quickly.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters, self._decay = parameters, decay
        self.values = copied(parameters)

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take in the weights after an update."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, parameter in self._parameters.items():
            self.values[name].lerp_(parameter.detach().to(self.values[name].dtype), 1 - decay)

    @contextmanager
    def worn(self) -> Iterator[None]:
        """Within this context the model has the averaged weights."""
        own = copied(self._parameters)
        put_back(self._parameters, self.values)
        try:
            yield
        finally:
            put_back(self._parameters, own)
