"""How the kinds of layers of our own family scale: time to read a text, time of one more token, bytes of the cache."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from everlearn.evaluation.machine import commit, machine, versions
from everlearn.models.apertis import ApertisConfig, ApertisModel
from everlearn.models.apertis.configuration import LAYER_KINDS, STATE_KINDS
from everlearn.models.apertis.registration import DynamicCache, empty_cache
from everlearn.models.apertis.states import StateLayer

PREFILL_LENGTHS = (1_024, 2_048, 4_096, 8_192, 16_384, 32_768)
DECODE_LENGTHS = (1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536)
_STEPS = 30  # single tokens timed
_SPENT = 3.0  # seconds after which a prefill is not repeated any more

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class KindCost:
    """One kind of layer.

    Attributes:
        slope: exponent by which the time to read a text grows with its length: least squares in logarithms.
        prefill_ms: length -> milliseconds to read a text of so many tokens, the least of several runs.
        decode_ms: length -> milliseconds for one more token after so many, median.
        cache_bytes: length -> bytes that the layer keeps of so many tokens.
    """

    slope: float
    prefill_ms: Mapping[int, float]
    decode_ms: Mapping[int, float]
    cache_bytes: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class AttentionReport:
    """All kinds, measured in one run.

    Attributes:
        width: of the layer, D.
        heads: of attention, H; with `groups` of keys and values.
        groups: G.
        kinds: name -> cost.
        clock: "processor" where one thread computed and its own time was taken, else "wall".
        where: machine, versions, commit.
    """

    width: int
    heads: int
    groups: int
    kinds: Mapping[str, KindCost]
    clock: str
    where: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@torch.inference_mode()
def measure_attention(
    kinds: Sequence[str] = LAYER_KINDS,
    *,
    width: int = 256,
    prefill: Sequence[int] = PREFILL_LENGTHS,
    decode: Sequence[int] = DECODE_LENGTHS,
    runs: int = 3,
    step: Step = lambda _: None,
) -> AttentionReport:
    """Measures one layer of each kind, without its MLP, with random weights in float32.

    Lengths are gone through from short to long, and at each all kinds take their turn: so a machine that is slower for
    a while is slower for all of them.

    Args:
        kinds: which to measure.
        width: D; heads are 64 wide, and two share keys and values.
        prefill: lengths of the texts that are read.
        decode: lengths after which one more token is timed.
        runs: the least of so many counts; long ones are run once.
        step: told what is done now.
    """
    layers = {kind: _Layer(kind, width) for kind in kinds}
    prefill_ms: dict[str, dict[int, float]] = {kind: {} for kind in kinds}
    for length in prefill:
        for kind, layer in layers.items():
            step(f"{kind} reads {length:,} tokens")
            prefill_ms[kind][length] = layer.prefill_ms(length, runs)
    decode_ms: dict[str, dict[int, float]] = {kind: {} for kind in kinds}
    kept: dict[str, dict[int, int]] = {kind: {} for kind in kinds}
    for length in decode:
        for kind, layer in layers.items():
            step(f"{kind} writes after {length:,} tokens")
            decode_ms[kind][length], kept[kind][length] = layer.decode_ms(length)
    costs = {kind: KindCost(slope(prefill_ms[kind]), prefill_ms[kind], decode_ms[kind], kept[kind]) for kind in kinds}
    config = layers[kinds[0]].config
    where = {"machine": machine(), "versions": versions(), "commit": commit()}
    clock = "processor" if torch.get_num_threads() == 1 else "wall"
    return AttentionReport(width, config.num_attention_heads, config.num_key_value_heads, costs, clock, where)


def slope(times: Mapping[int, float]) -> float:
    """Returns the exponent p of time ~ length^p by least squares over the logarithms; nan for fewer than two."""
    if len(times) < 2:
        return math.nan
    logs = [(math.log(length), math.log(ms)) for length, ms in times.items()]
    return float(statistics.linear_regression(*zip(*logs, strict=True)).slope)


class _Layer:
    """One layer of one kind, with what surrounds it."""

    def __init__(self, kind: str, width: int) -> None:
        torch.manual_seed(0)
        heads = max(width // 64, 1)
        self.kind = kind
        # One thread's own time does not count what other processes take from it; of several threads it would be a part.
        self.clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
        self.config = ApertisConfig(
            vocab_size=8,
            hidden_size=width,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=heads,
            num_key_value_heads=max(heads // 2, 1),
            layer_types=[kind],
            max_position_embeddings=2**20,
        )
        self.model = ApertisModel(self.config).eval()
        self.layer = self.model.layers[0]

    def prefill_ms(self, length: int, runs: int) -> float:
        """Least milliseconds of several runs over random tokens; one more run before warms the memory."""
        hidden = torch.randn(1, length, self.config.hidden_size)
        around = self.model.surroundings(hidden, None, torch.arange(length)[None], None)
        times: list[float] = []
        while len(times) <= runs and (len(times) < 2 or sum(times) < _SPENT):
            begun = self.clock()
            self.layer.mix(hidden, around)
            times.append(self.clock() - begun)
        return min(times[1:]) * 1000

    def decode_ms(self, length: int) -> tuple[float, int]:
        """Median milliseconds of one more token, and the bytes kept of those before."""
        cache = self._filled(length)
        kept = _bytes(cache)
        times = []
        for place in range(length, length + _STEPS):
            hidden = torch.randn(1, 1, self.config.hidden_size)
            begun = self.clock()
            around = self.model.surroundings(hidden, None, torch.tensor([[place]]), cache)
            self.layer.mix(hidden, around, cache)
            times.append(self.clock() - begun)
        return statistics.median(times) * 1000, kept

    def _filled(self, length: int) -> DynamicCache:
        """Returns a cache as it is after `length` tokens; keys and values are random, a state is really read."""
        cache = empty_cache(self.config)
        if self.kind in STATE_KINDS:
            hidden = torch.randn(1, length, self.config.hidden_size)
            around = self.model.surroundings(hidden, None, torch.arange(length)[None], cache)
            self.layer.mix(hidden, around, cache)
            return cache
        if self.kind == "latent":
            kept = torch.randn(1, 1, length, self.config.kv_lora_rank + self.config.qk_rope_head_dim)
            cache.update(kept, kept[..., :0], 0)
        else:
            shape = (1, self.config.num_key_value_heads, length, self.config.head_dim)
            cache.update(torch.randn(shape), torch.randn(shape), 0)
        return cache


def _bytes(cache: DynamicCache) -> int:
    layer = cache.layers[0]
    if isinstance(layer, StateLayer):
        return layer.nbytes
    tensors: tuple[Tensor, Tensor] = (layer.keys, layer.values)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
