"""Values of many kinds on one question, in one batch: the slow way, step by step, is the truth in the tests.

With the wanted answer fed, all its steps can be read in one forward pass, each row with the corrections of its own
variant. An answer is "exact" here when every token is the arg-max, the stop token included: then and only then free
greedy decoding gives it, word for word, and stops.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from everlearn.evaluation.edits import Edit
from everlearn.memory.correction import Correction, kept_part, raise_target, to_bytes, told_ids
from everlearn.memory.difference import difference
from everlearn.memory.hook import recorded, rewritten
from everlearn.memory.learned import learned
from everlearn.models.cache import KeyValueCache
from everlearn.records import Message, TableSettings
from everlearn.wiring import Parts

TEMPERATURE = 0.7
DEFAULT = 5 / 6
SPARSITIES = (0.5, 0.25, 0.1, 0.05)
RESIDUALS = (0.0, 0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to make and use a value.

    Attributes:
        correction: the value; its blocks may be empty.
        residual: strength.
        packed: bytes on disk; 0 where it is not a form that is kept.
        cpu_ms: milliseconds of one core that it took to compute; None where others were computed with it.
    """

    correction: Correction
    residual: float = 1.0
    packed: int = 0
    cpu_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """What a variant does to one question.

    Attributes:
        tokens: share of the answer's tokens, stop token included, that are arg-max; output correction off.
        exact: whether all are.
        sampled: chance that the whole answer is sampled at temperature 0.7.
        exact_raised: as `exact`, output correction on.
        sampled_raised: as `sampled`, output correction on.
    """

    tokens: float
    exact: float
    sampled: float
    exact_raised: float
    sampled_raised: float


def scored(parts: Parts, ids: list[int], variants: Sequence[Variant]) -> list[Scored]:
    """Score variants of one lesson on a prompt [T], all in one batch."""
    tokens = variants[0].correction.tokens
    logits = _logits(parts, ids, tokens, [v.correction.blocks for v in variants], [v.residual for v in variants])
    return [_score(own, tokens, v.residual) for own, v in zip(logits, variants, strict=True)]


def _score(logits: Tensor, tokens: Sequence[int], residual: float) -> Scored:
    raised = torch.stack([raise_target(step, token, residual) for step, token in zip(logits, tokens, strict=True)])
    wanted = torch.tensor(tokens)
    hits = (logits.argmax(1) == wanted).float()
    return Scored(
        hits.mean().item(),
        float(hits.all()),
        _chance(logits, wanted),
        float((raised.argmax(1) == wanted).all()),
        _chance(raised, wanted),
    )


def _chance(logits: Tensor, wanted: Tensor) -> float:
    chances = (logits / TEMPERATURE).log_softmax(1)[torch.arange(len(wanted)), wanted]
    return chances.sum().exp().item()


def _logits(
    parts: Parts,
    ids: list[int],
    tokens: Sequence[int],
    blocks: Sequence[Mapping[int, Tensor]],
    residuals: Sequence[float],
) -> Tensor:
    """Logits [N, A, V] of N variants at each step of the answer."""
    model, count, steps = parts.model, len(blocks), len(tokens)
    prefix = model.new_cache()
    model.forward(torch.tensor([ids[:-1]]), prefix)
    stacked = {b: torch.zeros(count, steps, model.hidden_size) for each in blocks for b in each}
    for row, (each, residual) in enumerate(zip(blocks, residuals, strict=True)):
        for block, deltas in each.items():
            stacked[block][row, : len(deltas)] = residual * deltas
    fed = torch.tensor([[ids[-1], *tokens[:-1]]] * count)
    cache = KeyValueCache.merge([prefix] * count)

    def add(block: int, hidden: Tensor) -> Tensor:
        return hidden + stacked[block].to(hidden.dtype)

    with model.lock, torch.inference_mode(), rewritten(model.blocks, sorted(stacked), add):
        return model.traced(fed, cache, steps)


def variants(parts: Parts, edit: Edit, *, learn: bool) -> dict[str, Variant]:
    """All ways that are compared, by name."""
    last = parts.model.num_blocks - 1
    usual = min(int(parts.model.num_blocks * DEFAULT), last)
    low, middle = round(usual * 0.32), round(usual * 0.72)
    tokens = tuple(parts.text.answer_ids(edit.target))
    plain = _plain(parts, edit, tokens)
    made = {"output only": Variant(Correction(tokens, {}), packed=_size(Correction(tokens, {}), TableSettings()))}
    for block in (low, middle, last):  # alone a block adds its plain difference
        alone = Correction(tokens, {block: plain[block]})
        made[f"block {block}"] = Variant(alone, packed=_size(alone, TableSettings()))
    for blocks in ((usual,), (middle, usual), (usual, last), tuple(range(last + 1))):
        name = "all blocks" if len(blocks) > last else f"block{'s' * (len(blocks) > 1)} {'+'.join(map(str, blocks))}"
        made[name] = _timed(difference, parts, edit, TableSettings(blocks=blocks))
    for blocks in ((middle, usual), tuple(range(last + 1))):
        name = "all blocks" if len(blocks) > last else f"blocks {'+'.join(map(str, blocks))}"
        made[f"{name}, plain differences"] = Variant(Correction(tokens, {b: plain[b] for b in blocks}))
    base = made[f"block {usual}"].correction
    for share in SPARSITIES:
        made[f"sparsity {share:g}"] = _sparse(base, share)
    for residual in RESIDUALS:
        made[f"residual {residual:g}"] = Variant(base, residual)
        made[f"residual {residual:g}, output only"] = Variant(Correction(tokens, {}), residual)
    if learn:
        half = TableSettings(values="learned", blocks=(usual,), sparsity=0.1)
        made["learned"] = _timed(learned, parts, edit, TableSettings(values="learned", blocks=(usual,)))
        for residual in RESIDUALS[1:]:
            made[f"learned, residual {residual:g}"] = Variant(made["learned"].correction, residual)
        made["learned, sparsity 0.1"] = _timed(learned, parts, edit, half)
        for block in (middle, usual):
            once = TableSettings(values="learned-at-prompt", blocks=(block,))
            made[f"learned at the prompt, block {block}"] = _timed(learned, parts, edit, once)
    return made


def asked(parts: Parts, edit: Edit, *, rephrases: int) -> dict[str, list[list[int]]]:
    """Prompts by kind: the taught question, and rephrases of it."""
    texts = {"taught": [edit.prompt], "rephrase": list(edit.rephrases[:rephrases])}
    return {kind: [plain_ids(parts, text) for text in some] for kind, some in texts.items()}


def plain_ids(parts: Parts, question: str) -> list[int]:
    """Tokens [T] of a question alone."""
    return parts.text.prompt_ids([Message("user", question)])


def in_context(parts: Parts, edit: Edit, question: str) -> list[int]:
    """Tokens [T] of a question with the lesson read before it."""
    return told_ids(parts.text, question, edit.prompt, edit.target)


def _plain(parts: Parts, edit: Edit, tokens: Sequence[int]) -> dict[int, Tensor]:
    """The difference behind each block by itself [A, D], as if no other were corrected."""
    every = range(parts.model.num_blocks)
    states = []
    for ids in (in_context(parts, edit, edit.prompt), plain_ids(parts, edit.prompt)):
        with parts.model.lock, recorded(parts.model.blocks, every) as kept:
            parts.model.forward(torch.tensor([ids + list(tokens[:-1])]), parts.model.new_cache())
        states.append({b: kept[b][0, -len(tokens) :].float() for b in every})
    return {b: kept_part(states[0][b] - states[1][b], 1.0) for b in every}


def _timed(make: Callable[..., Correction], parts: Parts, edit: Edit, settings: TableSettings) -> Variant:
    begun = time.process_time()
    made = make(parts.model, parts.text, edit.prompt, edit.target, settings)
    cpu_ms = (time.process_time() - begun) * 1000
    return Variant(made, packed=_size(made, settings), cpu_ms=cpu_ms)


def _sparse(base: Correction, share: float) -> Variant:
    made = Correction(base.tokens, {b: kept_part(d, share) for b, d in base.blocks.items()})
    return Variant(made, packed=_size(made, TableSettings(sparsity=share)))


def _size(made: Correction, settings: TableSettings) -> int:
    return len(to_bytes(made, settings))
