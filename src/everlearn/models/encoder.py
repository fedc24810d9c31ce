"""Meaning of a sentence as a unit vector: mean-pooled token states of a small BERT-like encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModel

from everlearn.errors import CorruptWeightsError, ModelNotFoundError
from everlearn.models.integrity import check_safetensors
from everlearn.models.loading import mending_hint, refuse_gaps
from everlearn.models.placement import choose_device
from everlearn.models.silence import no_progress_bars
from everlearn.models.sources import ModelFiles

MAX_TOKENS = 256  # what all-MiniLM-L6-v2 was made for; its authors cut longer texts there, too
BATCH_SIZE = 32


@dataclass(frozen=True, slots=True)
class Pieces:
    """One text as the encoder sees it.

    Attributes:
        vector: [K] float32, unit length: the whole text.
        states: [T, K] float32: each piece in its context, special tokens included.
        offsets: [T], where each piece begins and ends in the text; empty for special tokens.
        ids: [T], which pieces.
    """

    vector: NDArray[np.float32]
    states: NDArray[np.float32]
    offsets: list[tuple[int, int]]
    ids: list[int]


@final
class SentenceEncoder:
    """Turns texts into unit vectors, near each other where the texts mean the same.

    Computes what sentence-transformers does for all-MiniLM-L6-v2, whose import alone costs seconds at every start.

    Source: Reimers and Gurevych 2019, Sentence-BERT, section 3 (mean pooling).

    Attributes:
        name: as the user calls it.
        digest: sha256 hex that identifies the weights.
        width: length of a vector, K.
        unknown_id: the piece that stands for all that the encoder cannot read; None where it has none.
    """

    def __init__(self, module: nn.Module, tokenizer: Tokenizer, *, name: str, digest: str) -> None:
        self.name = name
        self.digest = digest
        self.width = int(module.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self._module = module.eval().requires_grad_(False)
        self._pieces = tokenizer
        self._middle: torch.Tensor | None = None
        self.unknown_id = _unknown_id(tokenizer)

    @classmethod
    def from_folder(cls, files: ModelFiles, device: str = "auto") -> SentenceEncoder:
        """Loads an encoder that pools by mean.

        Args:
            files: folder with config.json, tokenizer.json and safetensors.
            device: "auto" is the CPU: a query takes milliseconds there, and the graphics card is left to the model.

        Raises:
            CorruptWeightsError: a file is damaged or incomplete.
            ModelNotFoundError: not an encoder that pools by mean.
            SettingsError: the device is not on this machine.
        """
        where = choose_device("cpu" if device == "auto" else device)
        return cls(_load(files).to(where), _tokenizer(files), name=files.name, digest=files.digest)

    def encode(
        self, texts: Sequence[str], *, progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]:
        """Encodes texts; only their first 256 tokens count.

        Args:
            texts: N texts in any order. Equal texts get equal vectors, bit for bit.
            progress: called with the number of different texts done and to do.

        Returns:
            [N, K] float32, rows of length 1.
        """
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        ids = [encoding.ids for encoding in self._pieces.encode_batch(list(places))]
        vectors = np.empty((len(ids), self.width), dtype=np.float32)
        done = 0
        for batch in _batches(ids):
            vectors[batch] = self._embed([ids[place] for place in batch])[0]
            done += len(batch)
            if progress:
                progress(done, len(ids))
        return vectors[[places[text] for text in texts]]

    def read(self, texts: Sequence[str]) -> list[Pieces]:
        """Encodes texts piece by piece, with the same vectors that `encode` gives; for texts by the hundred."""
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        encodings = self._pieces.encode_batch(list(places))
        ids = [encoding.ids for encoding in encodings]
        found: dict[int, Pieces] = {}
        for batch in _batches(ids):
            vectors, states = self._embed([ids[place] for place in batch])
            for place, vector, rows in zip(batch, vectors, states, strict=True):
                found[place] = Pieces(vector, rows[: len(ids[place])], encodings[place].offsets, ids[place])
        return [found[places[text]] for text in texts]

    def plain_vectors(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Pieces [N, K] out of context: the encoder's input embeddings, from the middle of the whole vocabulary."""
        table = self._module.get_input_embeddings().weight  # type: ignore[operator]
        if self._middle is None:
            self._middle = table.float().mean(0)
        rows: NDArray[np.float32] = (table[list(ids)].float() - self._middle).cpu().numpy()
        return rows

    def piece_ids(self, word: str) -> list[int]:
        """Returns the ids of a word's pieces, without special tokens."""
        ids: list[int] = self._pieces.encode(word, add_special_tokens=False).ids
        return ids

    def token_states(self, texts: Sequence[str]) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """What each piece of a text means where it stands.

        Args:
            texts: N texts; only their first 256 tokens count.

        Returns:
            For each text its piece ids [T] without special tokens, and their states [T, K], rows of length 1.
        """
        # The tokenizer puts one special token in front and one behind.
        inner = [(np.array(p.ids[1:-1], dtype=np.int64), p.states[1:-1]) for p in self.read(texts)]
        return [(ids, states / np.linalg.norm(states, axis=1, keepdims=True)) for ids, states in inner]

    @torch.inference_mode()
    def _embed(self, batch: Sequence[Sequence[int]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns vectors [B, K] and states [B, T, K], float32, for B lists of at most T piece ids."""
        device = next(self._module.parameters()).device
        lengths = torch.tensor([len(ids) for ids in batch], device=device)
        width = int(lengths.max())
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in batch], device=device)
        mask = (torch.arange(width, device=device) < lengths[:, None]).long()
        states = self._module(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        weights = mask[:, :, None].to(states.dtype)
        means = (states * weights).sum(1) / weights.sum(1)
        return nn.functional.normalize(means, dim=-1).cpu().numpy(), states.cpu().numpy()


def _batches(ids: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Places of texts of about the same length, since padding costs as much as text."""
    order = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
    for start in range(0, len(order), BATCH_SIZE):
        yield order[start : start + BATCH_SIZE]


def _load(files: ModelFiles) -> nn.Module:
    hint = mending_hint(files)
    _require_mean_pooling(files.folder)
    for path in sorted(files.folder.glob("*.safetensors")):
        check_safetensors(path, hint=hint)
    try:
        with no_progress_bars():
            module, report = AutoModel.from_pretrained(
                files.folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except SafetensorError as error:
        raise CorruptWeightsError(f"The safetensors in {files.folder} cannot be read: {error}.", hint=hint) from error
    except (OSError, ValueError, KeyError) as error:
        raise ModelNotFoundError(
            f"{files.folder} cannot be loaded as a sentence encoder: {error}", hint=hint
        ) from error
    # The pooler on top of the first token is not used here, so its weights may be missing.
    missing = [key for key in report["missing_keys"] if not str(key).startswith("pooler.")]
    refuse_gaps({**report, "missing_keys": missing}, files.folder, hint)
    assert isinstance(module, nn.Module)
    return module


def _tokenizer(files: ModelFiles) -> Tokenizer:
    path = files.folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"{files.folder} has no tokenizer.json.", hint="Use the encoder minilm.") from error
    except Exception as error:  # the binding raises bare Exception for what it cannot parse
        raise CorruptWeightsError(f"{path} cannot be read: {error}.", hint=mending_hint(files)) from error
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    return tokenizer


def _unknown_id(tokenizer: Tokenizer) -> int | None:
    token = getattr(tokenizer.model, "unk_token", None)
    return None if token is None else tokenizer.token_to_id(str(token))


def _require_mean_pooling(folder: Path) -> None:
    path = folder / "1_Pooling" / "config.json"
    if path.exists() and not json.loads(path.read_text(encoding="utf-8")).get("pooling_mode_mean_tokens", True):
        raise ModelNotFoundError(f"{folder} does not pool by mean.", hint="Use the encoder minilm.")
