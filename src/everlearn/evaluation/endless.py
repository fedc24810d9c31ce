"""An endless stream: how well tokens are predicted, and how many bytes the cache takes, as a text goes on and on.

Three caches read the same text: sinks with a rolling window, the window without sinks, and all keys as far as they go.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from everlearn.errors import InputError
from everlearn.evaluation.machine import commit, machine, versions
from everlearn.models.base import BaseModel
from everlearn.models.cache import KeyValueCache
from everlearn.models.window import SINKS

PART = 1000  # tokens of a point of the curve
SPAN = 10_000  # tokens that are compared at either end
MOST_NATS = 700.0  # exp of more is no number; such a perplexity is reported as that of a model which knows nothing

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Curve:
    """One cache along the stream.

    Attributes:
        name: of the cache.
        perplexity: of each 1,000 tokens.
        cache_bytes: most bytes that keys and values took in each 1,000 tokens.
        seconds: for all of them.
        stopped: why it did not go to the end; empty where it did.
    """

    name: str
    perplexity: list[float]
    cache_bytes: list[int]
    seconds: float
    stopped: str = ""


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What came of a stream.

    Attributes:
        tokens: read with sinks.
        warm_up: tokens at the begin that no figure counts: until the window is full, in thousands.
        bytes_first, bytes_last: most bytes of the cache with sinks in the first and the last 10,000 tokens behind it.
        ppl_first, ppl_last: its perplexity there.
        recomputed_first, recomputed_last: of the same tokens, each block read behind its window from scratch; None =
            not asked for. It says how hard the text itself is, there and here.
    """

    model: str
    text: str
    tokens: int
    window: int
    sinks: int
    warm_up: int
    bytes_first: int
    bytes_last: int
    ppl_first: float
    ppl_last: float
    recomputed_first: float | None
    recomputed_last: float | None
    curves: tuple[Curve, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON, with where it was measured."""
        return {**asdict(self), "commit": commit(), "machine": machine(), "versions": versions()}


def measure_stream(
    model: BaseModel,
    ids: Sequence[int],
    *,
    window: int,
    text: str = "",
    dense_tokens: int = 0,
    recomputed: bool = False,
    progress: Progress | None = None,
) -> StreamReport:
    """Read a text three times.

    Args:
        model: base model.
        ids: [T] tokens of the text.
        window: tokens that the caches with a window hold.
        text: what it is called in the report.
        dense_tokens: how far to go without a window; 0 = not at all.
        recomputed: whether to read the first and last 10,000 tokens also with a window from scratch for each block.
        progress: called with (cache, tokens read, all).

    Raises:
        InputError: the text is too short to have a begin and an end.
        SettingsError: an impossible window.
    """
    warm_up = math.ceil(window / PART) * PART
    span = min(SPAN, (len(ids) - warm_up) // 2 // PART * PART)
    if span < PART:
        raise InputError(
            f"The text has {len(ids):,} tokens; a window of {window:,} and two spans of {PART:,} need more.",
            hint="Give a longer text, or a smaller --window.",
        )
    tell = progress or (lambda _what, _done, _all: None)
    caches = {f"{SINKS} sinks": SINKS, "no sinks": 0}
    curves = [
        _curve(model, ids, model.new_cache(model.window(window, sinks)), name, tell) for name, sinks in caches.items()
    ]
    if dense_tokens:
        curves.append(_dense_curve(model, ids[:dense_tokens], window // 8, tell))
    points = len(curves[0].perplexity)
    ends = range(warm_up, warm_up + span), range(points * PART - span, points * PART)
    truth = [_recomputed(model, ids, place, window, tell) if recomputed else None for place in ends]
    sizes, perplexities = zip(*(_summary(curves[0], place) for place in ends), strict=True)
    return StreamReport(
        model=model.name,
        text=text,
        tokens=len(ids),
        window=window,
        sinks=SINKS,
        warm_up=warm_up,
        bytes_first=sizes[0],
        bytes_last=sizes[1],
        ppl_first=perplexities[0],
        ppl_last=perplexities[1],
        recomputed_first=truth[0],
        recomputed_last=truth[1],
        curves=tuple(curves),
    )


def _curve(model: BaseModel, ids: Sequence[int], cache: KeyValueCache, name: str, tell: Progress) -> Curve:
    """Reads all tokens in pieces, a block of the window at a time, so that each token sees as much as any other."""
    window = cache.windows[0]
    assert window is not None
    begun, losses, sizes = time.perf_counter(), [torch.zeros(0)], []
    before: Tensor | None = None
    place = 0
    while place < len(ids):
        cache.roll()
        count = min(cache.room or 1, window.block, len(ids) - place)
        piece = torch.tensor([ids[place : place + count]], device=model.device)
        with torch.inference_mode():
            logits = model.traced(piece, cache, count)[0]
        losses.append(_losses(before, logits, piece[0]))
        before = logits[-1:]
        sizes += [cache.nbytes] * count
        place += count
        tell(name, place, len(ids))
    return _as_curve(name, torch.cat(losses), sizes, time.perf_counter() - begun)


@torch.inference_mode()
def _dense_curve(model: BaseModel, ids: Sequence[int], step: int, tell: Progress) -> Curve:
    """All keys are kept, beyond what the model was trained to read."""
    cache, before = model.new_cache(), None
    begun, losses, sizes, stopped = time.perf_counter(), [torch.zeros(0)], [], ""
    for place in range(0, len(ids), step):
        piece = torch.tensor([ids[place : place + step]], device=model.device)
        try:
            logits = (
                model.module(input_ids=piece, past_key_values=cache.keys_and_values, use_cache=True).logits[0].float()
            )
        except (RuntimeError, IndexError) as cause:  # out of memory, or out of positions
            stopped = str(cause).splitlines()[0]
            break
        losses.append(_losses(before, logits, piece[0]))
        before = logits[-1:]
        sizes += [cache.nbytes] * piece.shape[1]
        tell("all keys", place, len(ids))
    return _as_curve("all keys", torch.cat(losses), sizes, time.perf_counter() - begun, stopped)


@torch.inference_mode()
def _recomputed(model: BaseModel, ids: Sequence[int], place: range, window: int, tell: Progress) -> float:
    """Perplexity of some tokens, a block at a time, each block read anew behind its window: the slow truth."""
    block, total = window // 8, 0.0
    for first in range(place.start, place.stop, block):
        count = min(block, place.stop - first)
        begin = first + count - window
        piece = torch.tensor([ids[begin : first + count]], device=model.device)
        logits = model.traced(piece, model.new_cache(), count + 1)[0]
        total += float(cross_entropy(logits[:-1], piece[0, -count:], reduction="sum"))
        tell("recomputed", first - place.start, len(place))
    return math.exp(total / len(place))


def _losses(before: Tensor | None, logits: Tensor, ids: Tensor) -> Tensor:
    """Loss of each token [T] (of the first piece [T - 1]) by the logits before it."""
    rows = logits[:-1] if before is None else torch.cat([before, logits[:-1]])
    return cross_entropy(rows, ids[-len(rows) :], reduction="none").cpu() if len(rows) else torch.zeros(0)


def _as_curve(name: str, losses: Tensor, sizes: list[int], seconds: float, stopped: str = "") -> Curve:
    points = [losses[n : n + PART] for n in range(0, len(losses) - PART // 2, PART)]
    bytes_ = [max(sizes[n : n + PART]) for n in range(0, len(points) * PART, PART)]
    return Curve(name, [math.exp(min(float(p.mean()), MOST_NATS)) for p in points], bytes_, seconds, stopped)


def _summary(curve: Curve, place: range) -> tuple[int, float]:
    """Most bytes, and the perplexity of some thousands of tokens together: the geometric mean of their own."""
    part = slice(place.start // PART, place.stop // PART)
    perplexities = curve.perplexity[part]
    return max(curve.cache_bytes[part]), math.exp(sum(map(math.log, perplexities)) / len(perplexities))
