"""One small face over any transformers causal language model."""

from __future__ import annotations

import copy
import inspect
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from everlearn.errors import ConversationError, ModelNotFoundError, SettingsError, WeightsError
from everlearn.models.apertis.states import StateLayer  # its package makes our own family known to the Auto classes
from everlearn.models.blocks import find_blocks, hidden_of, text_config
from everlearn.models.cache import KeyValueCache
from everlearn.models.joined import JoinedCache
from everlearn.models.loading import INT8, NF4, QUANTISED, align, load_module, load_quantised
from everlearn.models.output_head import read_in_order
from everlearn.models.placement import choose_device, choose_dtype
from everlearn.models.sources import ModelFiles
from everlearn.models.turnings import find_turnings
from everlearn.models.window import SINKS, RollingWindow, Turning, window_of

_UNLIMITED = 2**31 - 1  # context length of models whose positions have no end
Cache = KeyValueCache | JoinedCache
Wearing = Callable[[Sequence[str | None]], AbstractContextManager[None]]


@final
class BaseModel:
    """A frozen causal language model: reads tokens, returns the logits of the last one.

    Attributes:
        name: as the user calls it.
        digest: sha256 hex that identifies the weights.
        module: the transformers model.
        blocks: decoder blocks; each returns hidden states [B, T, D], or a tuple that starts with them.
        wearing: a block in which each row of a batch is computed with an adapter; set by whoever loads adapters.
        lock: to be held by whoever hangs hooks into blocks, until they are off again.
    """

    def __init__(self, module: nn.Module, *, name: str, digest: str) -> None:
        self.name = name
        self.digest = digest
        self.module = module.eval().requires_grad_(False)
        self.blocks = find_blocks(module)
        self.lock = threading.RLock()
        self.wearing: Wearing = _nothing_worn
        self._config = text_config(module)
        self._turnings: tuple[Turning | None, ...] | None = None
        self._arguments = frozenset(inspect.signature(module.forward).parameters)
        read_in_order(module)
        _refuse_other_caches(module)
        self._probe()

    @classmethod
    def from_folder(cls, files: ModelFiles, *, device: str = "auto", dtype: str = "auto") -> BaseModel:
        """Loads the safetensors of a folder. Nothing in it is executed and no pickle is read.

        Args:
            files: where the weights lie.
            device: "auto", "cpu", "cuda", "cuda:N" or "mps".
            dtype: "auto" (bfloat16 where the device has it natively, else float32), "float32", "bfloat16" or "float16";
                "nf4" and "int8": matrices in 4 or 8 bits, for less memory (bitsandbytes).

        Raises:
            SettingsError: the device or number format is not to be had here.
            CorruptWeightsError: a file is damaged or incomplete.
            ModelNotFoundError: not a kind of model that everlearn can correct.
            WeightsError: not enough room on the device.
        """
        where = choose_device(device)
        if dtype in QUANTISED:
            return cls(load_quantised(files, dtype, where), name=files.name, digest=files.digest)
        module = load_module(files, choose_dtype(dtype, where))
        try:
            module.to(where)
        except torch.OutOfMemoryError as error:
            raise WeightsError(
                f"{files.name} does not fit on {where}.", hint="Use device cpu or a smaller model."
            ) from error
        if where.type == "cpu":
            align(module)
        return cls(module, name=files.name, digest=files.digest)

    def twin(self) -> BaseModel:
        """Returns the same model with modules of its own over the same weights, which take no further bytes.

        Adapters and hooks are laid over modules: what wraps those of the one does not show in the other. Adapters that
        are laid over already are copied, so ask a model that has none; hooks are waited for until they are off.
        """
        shared = {id(t): t for t in (*self.module.parameters(), *self.module.buffers())}
        states: list[Any] = [m.state for m in self.module.modules() if type(m).__name__ == "Linear8bitLt"]
        for state in states:
            shared |= {id(t): t for t in (state.CB, state.SCB) if t is not None}  # its bytes lie beside its parameter
        with self.lock:
            module = copy.deepcopy(self.module, shared)
        return BaseModel(module, name=self.name, digest=self.digest)

    @property
    def num_blocks(self) -> int:
        """Number of decoder blocks, L."""
        return len(self.blocks)

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream, D."""
        return int(self._config.hidden_size)

    @property
    def vocab_size(self) -> int:
        """Number of token ids, V."""
        return int(self._config.vocab_size)

    @property
    def context_length(self) -> int:
        """Most tokens that prompt and answer may have together."""
        return int(getattr(self._config, "max_position_embeddings", None) or _UNLIMITED)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.module.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        return next(self.module.parameters()).dtype

    @cached_property
    def number_format(self) -> str:
        """How the weights are kept: "torch.bfloat16" and so on, or "int8" or "nf4". What is computed differs by it."""
        kinds = {type(module).__name__ for module in self.module.modules()}
        if "Linear4bit" in kinds:
            return NF4
        return INT8 if "Linear8bitLt" in kinds else str(self.dtype)

    @property
    def sees_all(self) -> bool:
        """Whether every token attends to all before it, however far they lie back in the tensors."""
        return not getattr(self._config, "sliding_window", None)

    def takes(self, argument: str) -> bool:
        """Whether the module's forward has an argument of this name."""
        return argument in self._arguments

    def new_cache(self, window: RollingWindow | None = None) -> KeyValueCache:
        """Returns an empty cache; it takes on as many rows as the first ids have. None = it keeps all tokens."""
        return KeyValueCache(window=window)

    def window(self, tokens: int | None = None, sinks: int = SINKS) -> RollingWindow:
        """Returns a rolling window of so many tokens, sinks included; None = as many as the model reads, at most 4,096.

        Raises:
            SettingsError: an impossible size, or a model whose keys cannot be moved.
        """
        if any(isinstance(layer, StateLayer) for layer in DynamicCache(config=self._config).layers):
            raise SettingsError(
                f"Layers of {self.name} remember by a state, which has no window.", hint="Leave --context out."
            )
        if self._turnings is None:
            with self.lock:
                self._turnings = find_turnings(self.module)
        return window_of(self._turnings, self.context_length, tokens, sinks)

    @torch.inference_mode()
    def forward(self, ids: Tensor, cache: Cache) -> Tensor:
        """Reads tokens after those of the cache, which grows by them.

        Args:
            ids: [B, T] long, token ids; rows are those of the cache.
            cache: what was read before.

        Returns:
            [B, V] float32, logits of the last position.

        Raises:
            ConversationError: more tokens than the context holds, or an id outside the vocabulary.
        """
        return self._read(ids, cache, 1)[:, 0]

    def traced(self, ids: Tensor, cache: KeyValueCache, keep: int) -> Tensor:
        """Like `forward`, but gradients flow back to what hooks put into the residual stream; weights stay frozen.

        Args:
            ids: [B, T] long.
            cache: what was read before; copy it first where it is to be used again.
            keep: how many of the last positions to return, at most T.

        Returns:
            [B, keep, V] float32, logits of the last positions.

        Raises:
            ConversationError: as in `forward`.
        """
        return self._read(ids, cache, keep)

    def _read(self, ids: Tensor, cache: Cache, keep: int) -> Tensor:
        self._check(ids, cache)
        rows, count = ids.shape
        output = self.module(input_ids=ids.to(self.device), **self._arguments_for(cache, count, keep))
        cache.grow(rows, count)
        logits: Tensor = output.logits[:, -keep:]
        return logits.float()

    def logits_of_last(self, ids: Tensor, mask: Tensor, positions: Tensor, steps: int) -> Tensor:
        """Reads whole rows at once, without a cache and with a gradient where one is collected: for training.

        Args:
            ids: [B, T] long, token ids, padded on the left.
            mask: [B, T] long, 1 for real tokens.
            positions: [B, T] long, of the real tokens.
            steps: S, how many of the last places to return: [B, S, V] logits in the model's number format.
        """
        arguments: dict[str, Any] = {"attention_mask": mask, "use_cache": False}
        if "position_ids" in self._arguments:
            arguments["position_ids"] = positions
        if "logits_to_keep" in self._arguments:
            arguments["logits_to_keep"] = steps
        logits: Tensor = self.module(input_ids=ids, **arguments).logits
        return logits[:, -steps:]

    def _arguments_for(self, cache: Cache, count: int, keep: int) -> dict[str, Any]:
        """Returns what the module needs besides ids. Without padding there is no mask, as in a plain call."""
        arguments: dict[str, Any] = {"past_key_values": cache.keys_and_values, "use_cache": True}
        mask = cache.mask(count, self.device)
        if mask is not None:
            arguments["attention_mask"] = mask
        if "position_ids" in self._arguments:
            arguments["position_ids"] = cache.positions(count, self.device)
        if "logits_to_keep" in self._arguments:
            # As places, not as a number: a slice of several tokens is not contiguous, and torch would then copy the
            # whole output matrix, transposed, for this one product (docs/log.md). The bits are the same.
            whole = keep == count
            arguments["logits_to_keep"] = keep if whole else torch.arange(count - keep, count, device=self.device)
        return arguments

    def _check(self, ids: Tensor, cache: Cache) -> None:
        assert ids.ndim == 2 and ids.numel() > 0, f"ids must be [B, T] with at least one token, not {tuple(ids.shape)}"
        if (needed := cache.width + ids.shape[1]) > self.context_length:
            raise ConversationError(
                f"{needed:,} tokens do not fit into the context of {self.name}, which holds {self.context_length:,}.",
                hint="Shorten the prompt, start a new session, or ask for fewer new tokens.",
            )
        lowest, highest = (int(bound) for bound in torch.aminmax(ids))
        if lowest < 0 or highest >= self.vocab_size:
            wrong = lowest if lowest < 0 else highest
            raise ConversationError(
                f"token id {wrong} is outside the vocabulary of {self.name} (0..{self.vocab_size - 1}).",
                hint="The tokenizer must belong to this model.",
            )

    def _probe(self) -> None:
        """Reads one token, to see that the blocks were found and that their caches are keys and values."""
        widths: list[int] = []
        hooks = [
            b.register_forward_hook(lambda _m, _i, out: widths.append(hidden_of(out).shape[-1])) for b in self.blocks
        ]
        cache = self.new_cache()
        try:
            self.forward(torch.zeros(1, 1, dtype=torch.long), cache)
        finally:
            for hook in hooks:
                hook.remove()
        layers = [layer for layer in cache.keys_and_values.layers if layer.is_initialized]
        if (
            widths != [self.hidden_size] * self.num_blocks
            or not layers
            or any(la.get_seq_length() != 1 for la in layers)
        ):
            raise _unsupported(self.module)


def _nothing_worn(rows: Sequence[str | None]) -> AbstractContextManager[None]:
    assert not any(rows), "no adapters are loaded on this model"
    return nullcontext()


def _refuse_other_caches(module: nn.Module) -> None:
    """Refuses blocks that remember by other things than keys, values and our own family's states, before they run."""
    config = text_config(module)
    layers = DynamicCache(config=config).layers
    stateful = getattr(module, "_is_stateful", False) and not any(type(layer) is StateLayer for layer in layers)
    known = hasattr(config, "num_attention_heads") and all(map(_is_known, layers))
    if stateful or not known:
        raise _unsupported(module)


def _is_known(layer: object) -> bool:
    # Exact types: hybrid layers inherit from these. A dummy layer belongs to a block that borrows its keys.
    return type(layer) in (DynamicLayer, DynamicSlidingWindowLayer, StateLayer) or type(layer).__name__ == "DummyLayer"


def _unsupported(module: nn.Module) -> ModelNotFoundError:
    return ModelNotFoundError(
        f"{type(module).__name__} keeps more than keys and values; this version needs attention in every block.",
        hint="Choose a decoder-only text model such as the Llama, Qwen, Gemma, GPT-2, GPT-NeoX, OPT or Phi families.",
    )
