"""A byte-level BPE tokenizer from text, in memory that a setting bounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from everlearn.errors import CorruptWeightsError, InputError, SettingsError, StoreFullError

END, USER, ASSISTANT = "<|end|>", "<|user|>", "<|assistant|>"
LEAST_VOCABULARY = 256 + 3
PIECE = 1 << 14  # characters that are counted at once
_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ '<|assistant|>\n' }}{% else %}{{ '<|user|>\n' }}"
    "{% endif %}{{ m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocabulary: int, *, most_bytes: int = 100_000_000) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE tokenizer: any text can be written with it and comes back to the byte.

    Args:
        texts: to learn from, in any order; read as a stream, never held together.
        vocabulary: V, tokens at most, the 256 bytes and three special ones included.
        most_bytes: how much is read; more text hardly changes the tokens, and what is counted stays in memory.

    Raises:
        InputError: no text, or a vocabulary that cannot hold the bytes.
    """
    if vocabulary < LEAST_VOCABULARY:
        raise InputError(f"A vocabulary of {vocabulary} is too small.", hint=f"Wanted: {LEAST_VOCABULARY} or more.")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, USER, ASSISTANT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=24,
        show_progress=False,
    )
    pieces = _bounded(texts, most_bytes)
    first = next(pieces, None)
    if first is None:
        raise InputError("There is no text to learn a tokenizer from.", hint="Give some text with --data.")
    tokenizer.train_from_iterator(_chained(first, pieces), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        bos_token=END,
        pad_token=END,
        extra_special_tokens=[USER, ASSISTANT],
        chat_template=_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a tokenizer as transformers reads it.

    Raises:
        StoreFullError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save_pretrained(folder)
    except OSError as cause:
        raise StoreFullError(f"{folder} cannot be written: {cause}.", hint="Choose another folder.") from cause


def load_tokenizer(folder: Path) -> Any:  # noqa: ANN401  transformers has no types
    """Read a tokenizer for training.

    Raises:
        CorruptWeightsError: there is none, or a damaged one.
        SettingsError: it cannot say where a document ends.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as cause:
        raise CorruptWeightsError(
            f"The tokenizer in {folder} cannot be read: {cause}.", hint="Make one: everlearn train tokenizer"
        ) from cause
    if tokenizer.eos_token_id is None or not tokenizer.is_fast:
        raise SettingsError(
            f"The tokenizer in {folder} names no end-of-text token.", hint="Set eos_token in tokenizer_config.json."
        )
    tokenizer.model_max_length = int(1e30)  # rows are cut by us: a warning about long documents would be wrong
    return tokenizer


def _bounded(texts: Iterable[str], most_bytes: int) -> Iterator[str]:
    """Pieces of the texts until so many bytes have gone by."""
    left = most_bytes
    for text in texts:
        for begin in range(0, len(text), PIECE):
            piece = text[begin : begin + PIECE]
            if left <= 0:
                return
            left -= len(piece.encode("utf-8", "replace"))
            yield piece


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest
