"""Adapters on a base model: made, loaded side by side, worn by whole batches or row by row, kept and merged.

Outside of `worn` and `training` every adapter is off, and the base model computes what it computed before, bit for bit.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, final

import safetensors.torch
import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from everlearn.errors import AdapterMismatchError, AdapterNotFoundError, CorruptWeightsError
from everlearn.models.base import BaseModel
from everlearn.models.integrity import check_safetensors
from everlearn.specialists.adapter import Adapter
from everlearn.specialists.digest import digest_of
from everlearn.specialists.settings import AdapterSettings, targets
from everlearn.specialists.shelf import CONFIG, WEIGHTS, AdapterShelf

BASE = "__base__"  # PEFT's word for a row without an adapter
_MEND = "Delete that version, or copy it again."


@final
class Adapters:
    """The adapters that are loaded on one base model, in its own memory; none of them needs a copy of the base.

    Args:
        model: the base model. Its layers are wrapped when the first adapter comes, and never before.
        shelf: where versions are kept.
    """

    def __init__(self, model: BaseModel, shelf: AdapterShelf) -> None:
        self.model = model
        self.shelf = shelf
        self._peft: Any = None
        self._layers: list[LoraLayer] = []
        self._weights: dict[str, str] = {}  # id -> digest of what was read from the shelf
        model.wearing = self.worn

    @property
    def loaded(self) -> list[str]:
        """Ids of the loaded adapters, sorted."""
        return sorted(self._peft.peft_config) if self._peft is not None else []

    def create(self, adapter_id: str, settings: AdapterSettings, *, seed: int = 0) -> None:
        """Lay a new adapter over the model. It changes nothing until it is trained: its second factor is zero.

        Args:
            adapter_id: under which it is worn.
            settings: its shape.
            seed: draws the first factor; the same seed gives the same bits.
        """
        layers = targets(self.model, settings)
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            target_modules=sorted(layers),
            fan_in_fan_out=any(type(module).__name__ == "Conv1D" for module in layers.values()),
            task_type="CAUSAL_LM",
        )
        with torch.random.fork_rng(devices=[]), self.model.lock:
            torch.manual_seed(seed)
            self._add(adapter_id, config)

    def copy(self, adapter_id: str, to: str) -> None:
        """Lay another adapter over the model, with the shape and the weights of a loaded one."""
        self._require([adapter_id])
        with self.model.lock:
            self._add(to, copy.deepcopy(self._peft.peft_config[adapter_id]))
            self._fill(to, self.state(adapter_id))

    def load(self, spoken: str) -> str:
        """Load a version beside those that are there; nothing happens where it is loaded already.

        Args:
            spoken: "name" for its current version, or "name@step".

        Returns:
            Its id, `name@step`.

        Raises:
            AdapterNotFoundError: no such version.
            AdapterMismatchError: it was trained on another base model.
            CorruptWeightsError: its files are damaged.
        """
        adapter = self.shelf.find(spoken)
        if adapter.id in self.loaded:
            return adapter.id
        if adapter.base_digest != self.model.digest:
            raise AdapterMismatchError(
                f"{adapter.id} was trained on {adapter.base} ({adapter.base_digest[:12]}), this is {self.model.name} "
                f"({self.model.digest[:12]}).",
                hint="Load it on its own base model, or consolidate its lessons again on this one.",
            )
        folder = self.shelf.path(adapter)
        tensors = _read(folder, adapter)
        with self.model.lock:
            self._add(adapter.id, _config(folder))
            self._fill(adapter.id, tensors)
            self._weights[adapter.id] = adapter.weights
        return adapter.id

    def is_as_kept(self, adapter: Adapter) -> bool:
        """Whether what is loaded under the id of a version was read from that version's own weights."""
        return self._weights.get(adapter.id, adapter.weights) == adapter.weights

    def unload(self, adapter_id: str) -> None:
        """Take an adapter off the model's memory; on disk it stays."""
        self._require([adapter_id])
        self._weights.pop(adapter_id, None)
        with self.model.lock, _quiet():
            self._peft.delete_adapter(adapter_id)
            if not self._peft.peft_config:
                self._peft.unload()
                self._peft, self._layers = None, []
                return
            self._rest()

    def keep(self, adapter_id: str, draft: Adapter) -> Adapter:
        """Write a loaded adapter to the shelf as a new version of `draft.name`."""
        self._require([adapter_id])

        def write(folder: Path) -> str:
            tensors = self.state(adapter_id)
            self._peft.peft_config[adapter_id].save_pretrained(str(folder))
            safetensors.torch.save_file(tensors, folder / WEIGHTS, {"format": "pt"})
            return digest_of(tensors)

        return self.shelf.put(draft, write)

    def state(self, adapter_id: str) -> dict[str, Tensor]:
        """Its tensors under the names of PEFT's file, copied, on the CPU."""
        self._require([adapter_id])
        found = get_peft_model_state_dict(self._peft, adapter_name=adapter_id)
        return {name: t.detach().to("cpu", copy=True).contiguous() for name, t in sorted(found.items())}

    def restore(self, adapter_id: str, tensors: dict[str, Tensor]) -> None:
        """Set the tensors of a loaded adapter to what `state` gave."""
        self._require([adapter_id])
        self._fill(adapter_id, tensors)

    def parameters(self, adapter_id: str) -> dict[str, nn.Parameter]:
        """Its weights by a name that is the same in every version and in PEFT's file."""
        self._require([adapter_id])
        mark = f".{adapter_id}."
        named = self._peft.named_parameters()
        return {name.replace(mark, "."): p for name, p in named if "lora_" in name and mark in name}

    @contextmanager
    def worn(self, rows: Sequence[str | None]) -> Iterator[None]:
        """Every forward pass inside sees each row of its batch with that row's adapter; None = the bare base.

        The model's lock is held inside. Where no row wears any, nothing is touched.

        Raises:
            AdapterNotFoundError: one of them is not loaded.
        """
        wanted = {row for row in rows if row is not None}
        if not wanted:
            yield
            return
        self._require(wanted)
        with self.model.lock, ExitStack() as stack:
            stack.callback(self._rest)
            self._switch_on(sorted(wanted))
            if len(wanted) > 1 or None in rows:
                names = [BASE if row is None else row for row in rows]
                hook = partial(_name_rows, names=names)
                for layer in self._layers:
                    handle = layer.register_forward_pre_hook(hook, with_kwargs=True)
                    stack.callback(handle.remove)
            yield

    @contextmanager
    def training(self, adapter_id: str) -> Iterator[None]:
        """Inside, the adapter is on for every row and its weights collect gradients; the model's lock is held."""
        self._require([adapter_id])
        with self.model.lock:
            try:
                self._switch_on([adapter_id], frozen=False)
                yield
            finally:
                self._rest()

    @contextmanager
    def merged(self, adapter_id: str, probe: Tensor, *, tolerance: float = 0.02) -> Iterator[nn.Module]:
        """The base model with the adapter added into its weights, for export; afterwards the weights are the old bits.

        Subtracting again would leave rounding behind, so the old weights are kept aside and put back.

        Args:
            adapter_id: which.
            probe: [B, T] long, token ids on which merged and unmerged logits are compared.
            tolerance: largest difference, as a share of the spread of the logits.

        Raises:
            AdapterMismatchError: merging changed what the adapter says.
        """
        self._require([adapter_id])
        with self.model.lock:
            with self.worn([adapter_id] * len(probe)):
                wanted = self.model.forward(probe, self.model.new_cache())
            old = [(layer, layer.get_base_layer().weight.detach().clone()) for layer in self._layers]
            try:
                self._switch_on([adapter_id])
                self._peft.merge_adapter([adapter_id], safe_merge=True)
                _compare(wanted, self.model.forward(probe, self.model.new_cache()), tolerance, adapter_id)
                yield self.model.module
            finally:
                for layer, weight in old:
                    layer.get_base_layer().weight.data.copy_(weight)
                    layer.merged_adapters.clear()
                self._rest()

    def _add(self, adapter_id: str, config: LoraConfig) -> None:
        with _quiet():
            if self._peft is None:
                self._peft = PeftModel(self.model.module, config, adapter_name=adapter_id)
            else:
                self._peft.add_adapter(adapter_id, config)
        self._layers = [m for m in self.model.module.modules() if isinstance(m, LoraLayer)]
        self._rest()

    def _fill(self, adapter_id: str, tensors: dict[str, Tensor]) -> None:
        try:
            report = set_peft_model_state_dict(self._peft, tensors, adapter_name=adapter_id)
        except RuntimeError as cause:
            raise CorruptWeightsError(f"{adapter_id} has weights of another shape: {cause}.", hint=_MEND) from cause
        if report.unexpected_keys or set(tensors) != set(self.state(adapter_id)):
            raise CorruptWeightsError(f"{adapter_id} has weights for other layers than this model.", hint=_MEND)

    def _switch_on(self, ids: list[str], *, frozen: bool = True) -> None:
        for layer in self._layers:
            layer.enable_adapters(True)
            layer.set_adapter(ids, inference_mode=frozen)

    def _rest(self) -> None:
        """All adapters off and frozen."""
        for layer in self._layers:
            layer.enable_adapters(False)

    def _require(self, ids: Sequence[str] | set[str]) -> None:
        loaded = self.loaded
        for adapter_id in sorted(set(ids) - set(loaded)):
            raise AdapterNotFoundError(
                f"The adapter {adapter_id} is not loaded.", hint=f"Loaded are: {', '.join(loaded) or 'none'}."
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without PEFT's warnings: it asks transformers under an old name, and tells which adapter is active now (none)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*which is now deleted", category=UserWarning)
        yield


def _name_rows(_layer: nn.Module, args: Any, kwargs: Any, *, names: list[str]) -> tuple[Any, Any]:  # noqa: ANN401
    return args, {**kwargs, "adapter_names": names}


def _config(folder: Path) -> LoraConfig:
    try:
        config = LoraConfig.from_pretrained(str(folder))
    except (OSError, ValueError, TypeError) as cause:
        raise CorruptWeightsError(f"{folder / CONFIG} cannot be read: {cause}.", hint=_MEND) from cause
    assert isinstance(config, LoraConfig)
    return config


def _read(folder: Path, adapter: Adapter) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    if not path.is_file():
        raise CorruptWeightsError(f"{path} is missing.", hint=_MEND)
    check_safetensors(path, hint=_MEND)
    tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    if (got := digest_of(tensors)) != adapter.weights:
        raise CorruptWeightsError(
            f"{path} is corrupt: its tensors have sha256 {got[:12]}, the lineage says {adapter.weights[:12]}.",
            hint=_MEND,
        )
    return tensors


def _compare(wanted: Tensor, got: Tensor, tolerance: float, adapter_id: str) -> None:
    spread = float(wanted.std())
    off = float((wanted - got).abs().max()) / max(spread, 1e-12)
    if not off <= tolerance:
        raise AdapterMismatchError(
            f"Merged into the weights, {adapter_id} answers otherwise: logits differ by {off:.3f} of their spread, "
            f"allowed are {tolerance:g}.",
            hint="Use it unmerged, or merge in float32.",
        )
