"""From settings to a running pre-training: tokenizer, model and text are made or found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch

from everlearn.corpus.training_text import Block, blocks_of, documents_in, training_files
from everlearn.errors import InputError, SettingsError, StoreFullError
from everlearn.learning.pretrainer import Pretrainer
from everlearn.learning.pretraining_settings import PretrainingSettings
from everlearn.learning.pretraining_state import Checkpoints
from everlearn.learning.together import Together
from everlearn.learning.token_stream import TokenBlocks, split_blocks
from everlearn.models.apertis.configuration import ApertisConfig
from everlearn.models.apertis.modeling import ApertisForCausalLM
from everlearn.models.apertis.presets import preset
from everlearn.text.tokenizer_training import load_tokenizer, save_tokenizer, train_tokenizer

CONFIG, TOKENIZER, TOKENS = "config.yaml", "tokenizer", "tokens"


@final
@dataclass(frozen=True, slots=True)
class Opened:
    """A pre-training that is ready to go.

    Attributes:
        trainer: does it.
        settings: all of them.
        parameters: of the model.
        text_bytes: of all files.
        blocks: to train on, and to judge by.
        done: updates that were done before.
    """

    trainer: Pretrainer
    settings: PretrainingSettings
    parameters: int
    text_bytes: int
    blocks: tuple[int, int]
    done: int


def open_pretraining(
    settings: PretrainingSettings,
    folder: Path,
    *,
    resume: bool = False,
    together: Together | None = None,
    tensorboard: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Opened:
    """Make everything ready.

    Args:
        settings: the given ones; the others are derived.
        folder: of the training; made where it is not there.
        resume: go on from the newest checkpoint in it.
        together: of which processes this is one.
        tensorboard: write events, too.
        tell: called with what is being done, where it takes a while.

    Raises:
        InputError: no text, or too little; the folder holds another training and `resume` is not asked for.
        SettingsError: a setting is out of its range.
        FileFormatError: a file cannot be read.
        StoreFullError: the folder cannot be written.
    """
    together, tell = together or Together(), tell or (lambda _what: None)
    files = training_files([Path(path) for path in settings.data])
    blocks = blocks_of(files)
    train, held_out = split_blocks(blocks, settings.held_out)
    if Checkpoints(folder, 1).all() and not resume:
        raise InputError(
            f"{folder} holds a training already.", hint="Go on with it: --resume. Or name another folder: --out."
        )
    _make(folder)
    tokenizer = _tokenizer(settings, train, folder, together, tell)
    config = _model_config(settings, tokenizer)
    torch.manual_seed(settings.seed)
    module = ApertisForCausalLM(config).float()
    parameters = sum(p.numel() for p in module.parameters())
    full = settings.derived(parameters, int(config.hidden_size), int(config.max_position_embeddings))
    if full.micro_batch * together.size > full.rows and together.size > 1:
        full = replace(full, micro_batch=max(1, full.rows // together.size))
    if together.first:
        (folder / CONFIG).write_text(full.to_yaml(), encoding="utf-8")
    parts = [TokenBlocks(some, tokenizer, folder / TOKENS, settings.field) for some in (train, held_out)]
    trainer = Pretrainer(
        module, tokenizer, full, parts[0], parts[1], folder, together=together, tensorboard=tensorboard
    )
    done = trainer.resume() if resume else 0
    size = sum(path.stat().st_size for path in files)
    return Opened(trainer, full, parameters, size, (len(train), len(held_out)), done)


def _tokenizer(
    settings: PretrainingSettings,
    blocks: Sequence[Block],
    folder: Path,
    together: Together,
    tell: Callable[[str], None],
) -> Any:  # noqa: ANN401
    """The given tokenizer, that of this folder, or a new one that is learned from the text."""
    place = Path(settings.tokenizer) if settings.tokenizer else folder / TOKENIZER
    if not settings.tokenizer:
        if together.first and not (place / "tokenizer.json").exists():
            vocabulary = int(settings.model.get("vocab_size", preset(settings.size).vocab_size))
            tell(f"learning a tokenizer of {vocabulary:,} tokens")
            save_tokenizer(train_tokenizer(texts_of(blocks, settings.field), vocabulary), place)
        # All wait, whether they find one or not: who comes late finds the new one, and the first would wait for ever.
        together.wait()
    return load_tokenizer(place)


def texts_of(blocks: Sequence[Block], field: str) -> Iterator[str]:
    """Documents of blocks, spread over all of them: where only the first part is read it stands for the whole."""
    step = max(1, len(blocks) // 16)
    for start in range(step):
        for block in blocks[start::step]:
            yield from documents_in(block, field)


def _model_config(settings: PretrainingSettings, tokenizer: Any) -> ApertisConfig:  # noqa: ANN401
    end = int(tokenizer.eos_token_id)
    fields = {"vocab_size": len(tokenizer), "eos_token_id": end, "bos_token_id": end, "pad_token_id": None}
    try:
        return preset(settings.size, settings.variant, **(fields | {**settings.model, "vocab_size": len(tokenizer)}))
    except TypeError as cause:
        raise SettingsError(f"The model cannot have these fields: {cause}.", hint="See docs/apertis.md.") from cause


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise StoreFullError(f"{folder} cannot be made: {cause}.", hint="Choose another folder.") from cause


def read_log(folder: Path) -> list[dict[str, float]]:
    """Figures of all updates of a training, in order."""
    path = folder / "steps.jsonl"
    return [json.loads(line) for line in path.read_text("ascii").splitlines()] if path.exists() else []
