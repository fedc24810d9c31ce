"""How a pre-training goes: one dial, the size, from which everything else is derived unless it is given."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, final, get_args

import yaml

from everlearn.errors import FileFormatError, SettingsError
from everlearn.learning.schedule import Shape, rate_at
from everlearn.models.apertis.presets import SIZES, VARIANTS

Optimizer = Literal["adamw", "muon"]
Precision = Literal["auto", "bf16", "float32"]

_TOKENS_PER_PARAMETER = 20
_AT_ONCE = 4_096  # tokens of a micro-batch where nobody says how many rows
_RATE_AT_128 = 3e-3
_UNITS = {"k": 1e3, "m": 1e6, "b": 1e9}
_UPDATE = {"1m": 8_192, "15m": 16_384, "small": 262_144, "base": 524_288, "large": 2_097_152}
_SEQUENCE = {"1m": 256, "15m": 256, "small": 2_048, "base": 2_048, "large": 4_096}


@final
@dataclass(frozen=True, slots=True)
class PretrainingSettings:
    """Settings of a pre-training; 0 or "" = derived from the size.

    Attributes:
        data: files and folders of text.
        size: of the model: 1m, 15m, small, base, large.
        variant: of the model: dense, hybrid, full-feature.
        model: fields of the model's configuration that replace those of the preset.
        tokenizer: folder of a tokenizer; "" = one is learned from the data.
        field: of JSONL and Parquet, where the text stands.
        tokens: predicted in the whole training; 0 = 20 for each parameter.
        sequence: tokens of a row.
        update_tokens: predicted between two updates; gradients of so many are added up.
        micro_batch: rows that are computed at once; 0 = about 4,096 tokens.
        optimizer: adamw, or muon (for matrices inside the layers; AdamW for the rest).
        rate: highest learning rate; falls with the root of the width.
        schedule: cosine, wsd or constant.
        warm_up: share of the updates over which the rate rises.
        weight_decay: of matrices; norms, biases and embeddings have none.
        clip: largest norm of a gradient; 0 = off.
        precision: auto = bf16 where the processor has it, else float32; weights and optimiser are float32 always.
        gradient_checkpointing: layers are computed again on the way back, so that less is held.
        separate_documents: documents of a row do not see each other; else they are read on from one into the next.
        ema: decay of the averaged weights that are evaluated and exported; 0 = off.
        held_out: share of the text that is judged by and not trained on.
        evaluate_every: updates; 0 = twenty times in all.
        evaluate_tokens: at most.
        prompts: that are continued at each evaluation.
        save_every: updates between two checkpoints; 0 = ten times in all.
        keep: how many of the newest checkpoints stay, besides the best.
        seed: of the weights, and of the order of the text.
    """

    data: tuple[str, ...] = ()
    size: str = "15m"
    variant: str = "dense"
    model: dict[str, Any] = dataclasses.field(default_factory=dict)
    tokenizer: str = ""
    field: str = "text"
    tokens: int = 0
    sequence: int = 0
    update_tokens: int = 0
    micro_batch: int = 0
    optimizer: Optimizer = "adamw"
    rate: float = 0.0
    schedule: Shape = "cosine"
    warm_up: float = 0.05
    weight_decay: float = 0.1
    clip: float = 1.0
    precision: Precision = "auto"
    gradient_checkpointing: bool = False
    separate_documents: bool = True
    ema: float = 0.0
    held_out: float = 0.02
    evaluate_every: int = 0
    evaluate_tokens: int = 32_768
    prompts: tuple[str, ...] = ("The",)
    save_every: int = 0
    keep: int = 2
    seed: int = 0

    def derived(self, parameters: int, width: int, positions: int) -> PretrainingSettings:
        """These settings with everything filled in that was left to the size.

        Args:
            parameters: of the model.
            width: of its hidden states, D.
            positions: the longest row that it can read.

        Raises:
            SettingsError: a value is out of its range.
        """
        sequence = min(self.sequence or _SEQUENCE[self.size], positions)
        update = self.update_tokens or _UPDATE[self.size]
        rows = max(1, round(update / (sequence - 1))) if sequence > 1 else 1
        full = dataclasses.replace(
            self,
            tokens=self.tokens or _TOKENS_PER_PARAMETER * parameters,
            sequence=sequence,
            update_tokens=rows * (sequence - 1),
            micro_batch=min(self.micro_batch or max(1, _AT_ONCE // sequence), rows),
            rate=self.rate or float(f"{_RATE_AT_128 * math.sqrt(128 / width):.2g}"),
        )
        steps = full.steps
        full = dataclasses.replace(
            full,
            evaluate_every=self.evaluate_every or max(1, math.ceil(steps / 20)),
            save_every=self.save_every or max(1, math.ceil(steps / 10)),
        )
        return full.checked()

    @property
    def rows(self) -> int:
        """Rows of an update."""
        return max(1, self.update_tokens // max(self.sequence - 1, 1))

    @property
    def steps(self) -> int:
        """Updates in all."""
        return max(1, math.ceil(self.tokens / max(self.update_tokens, 1)))

    def checked(self) -> PretrainingSettings:
        """These settings.

        Raises:
            SettingsError: one is out of its range.
        """
        _check_choice("size", self.size, tuple(SIZES))
        _check_choice("variant", self.variant, VARIANTS)
        _check_choice("optimizer", self.optimizer, get_args(Optimizer))
        _check_choice("precision", self.precision, get_args(Precision))
        least = {"sequence": 8, "tokens": 1, "update_tokens": 1, "micro_batch": 1, "keep": 1, "save_every": 1}
        least |= {"evaluate_every": 1, "evaluate_tokens": 1, "clip": 0, "weight_decay": 0}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise SettingsError(f"{name} is {getattr(self, name)}.", hint=f"Wanted: {low} or more.")
        if not self.rate > 0 or not 0 <= self.ema < 1 or not 0 < self.held_out < 1:
            raise SettingsError(
                f"rate is {self.rate:g}, ema {self.ema:g}, held_out {self.held_out:g}.",
                hint="Wanted: a rate above 0, an ema of 0 or more, below 1, a held_out between 0 and 1.",
            )
        rate_at(0, 1, shape=self.schedule, warm_up=self.warm_up)
        return self

    def to_yaml(self) -> str:
        """As YAML that `read_settings` reads."""
        plain = dataclasses.asdict(self) | {"data": list(self.data), "prompts": list(self.prompts)}
        return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110))


def settings_from(values: dict[str, Any], base: PretrainingSettings | None = None) -> PretrainingSettings:
    """Settings out of plain values, over those of `base`.

    Raises:
        SettingsError: an unknown name (the nearest known one is named), or a value of another kind.
    """
    base = base or PretrainingSettings()
    known = {f.name for f in fields(PretrainingSettings)}
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Known are: {', '.join(sorted(known))}."
            raise SettingsError(f"There is no setting {name!r} of a pre-training.", hint=hint)
    taken = {name: _as_kind(name, value, getattr(base, name)) for name, value in values.items()}
    return dataclasses.replace(base, **taken)


def read_settings(path: Path) -> dict[str, Any]:
    """The values of a YAML file.

    Raises:
        FileFormatError: it cannot be read, or is no list of names and values.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise FileFormatError(f"{path} cannot be read: {cause}.", hint="It is YAML: name: value.") from cause
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise FileFormatError(f"{path} holds no settings.", hint="It is YAML: name: value, one a line.")
    return {str(name): value for name, value in values.items()}


def _as_kind(name: str, value: Any, like: Any) -> Any:  # noqa: ANN401
    """The value as the setting's own kind; YAML and a command line write the same number in several ways."""
    read = next(read for kind, read in _READERS.items() if isinstance(like, kind))
    try:
        return read(value)
    except (TypeError, ValueError) as cause:
        wanted = {bool: "true or false", int: "a whole number", float: "a number", dict: "names and values"}
        kind = wanted.get(type(like), "a list of texts")
        raise SettingsError(f"{name} is {value!r}.", hint=f"Wanted: {kind}.") from cause


def _truth(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "on", "yes", "1"):
        return True
    if str(value).lower() in ("false", "off", "no", "0"):
        return False
    raise ValueError(value)


def _whole(value: object) -> int:
    digits = str(value).strip().lower().replace("_", "").replace(",", "")
    number = float(digits.rstrip("kmb")) * _UNITS[digits[-1:]] if digits[-1:] in _UNITS else float(digits)
    if number != int(number):
        raise ValueError(value)
    return int(number)


def _texts(value: Any) -> tuple[str, ...]:  # noqa: ANN401
    return tuple(map(str, [value] if isinstance(value, str) else value))


_READERS: dict[type, Callable[[Any], Any]] = {
    bool: _truth, int: _whole, float: float, tuple: _texts, dict: dict, str: str,
}  # fmt: skip


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SettingsError(f"{name} is {value!r}.", hint=f"Wanted: {', '.join(known)}.")
