"""From blocks of text to rows of tokens: tokenised when they are needed, kept on disk, shuffled by the seed.

The stream is a function of the text, the tokenizer and the seed; where it stands is a cursor of three numbers, so a
training goes on exactly where it was killed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, final
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everlearn.corpus.training_text import Block, documents_in
from everlearn.errors import InputError, StoreFullError

Tokens = NDArray[np.uint32]


@final
@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a stream stands.

    Attributes:
        epoch: how often all blocks were read.
        place: in the epoch's order of blocks.
        offset: tokens of that block that were read.
    """

    epoch: int = 0
    place: int = 0
    offset: int = 0


@final
class TokenBlocks:
    """Blocks as tokens; each document ends in the end token, and so does each block.

    Args:
        blocks: of text.
        tokenizer: of transformers.
        folder: keeps tokens, so that they are made once; None = they are made each time.
        field: of JSONL and Parquet, where the text stands.
    """

    def __init__(self, blocks: Sequence[Block], tokenizer: Any, folder: Path | None, field: str = "text") -> None:  # noqa: ANN401
        self.blocks, self._tokenizer, self._folder, self._field = list(blocks), tokenizer, folder, field
        self.end = int(tokenizer.eos_token_id)
        self._digest = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.blocks)

    def tokens(self, number: int) -> Tokens:
        """Tokens [T] of a block.

        Raises:
            FileFormatError: its text cannot be read.
            StoreFullError: they cannot be kept.
        """
        block = self.blocks[number]
        path = None
        if self._folder is not None:
            name = hashlib.sha256(f"{block.name}|{self._field}|{self._digest}".encode()).hexdigest()[:32]
            path = self._folder / f"{name}.npy"
            if (kept := _read(path)) is not None:
                return kept
        made = self._made(block)
        if path is not None:
            _write(path, made)
        return made

    def _made(self, block: Block) -> Tokens:
        texts = list(documents_in(block, self._field))
        ids = self._tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        return np.array([token for one in ids for token in (*one, self.end)], dtype=np.uint32)


@final
class TokenStream:
    """Rows of tokens without an end: after the last block the next epoch begins, in another order.

    Args:
        blocks: what is read.
        length: tokens of a row; the last one of a row is the first of the next, so that each is predicted once.
        seed: of the order; None = the blocks' own order.
        cursor: where to begin.

    Raises:
        InputError: all blocks together hold less than a row.
    """

    def __init__(self, blocks: TokenBlocks, length: int, seed: int | None = 0, cursor: Cursor | None = None) -> None:
        self._blocks, self._length, self._seed = blocks, length, seed
        self.cursor = cursor or Cursor()
        self._held: tuple[int, int, Tokens] | None = None

    def rows(self, count: int) -> Tensor:
        """The next rows [count, length], long."""
        return torch.from_numpy(np.stack([self._row() for _ in range(count)]).astype(np.int64))

    def _row(self) -> Tokens:
        parts: list[Tokens] = []
        wanted, empty = self._length, 0
        cursor = self.cursor
        while wanted > 0:
            tokens = self._at(cursor)
            part = tokens[cursor.offset : cursor.offset + wanted]
            parts.append(part)
            wanted -= len(part)
            before, cursor = cursor, Cursor(cursor.epoch, cursor.place, cursor.offset + len(part))
            if cursor.offset >= len(tokens):
                cursor = self._next_block(cursor)
                empty = 0 if len(part) else empty + 1
                if empty > len(self._blocks):
                    raise InputError("The text to train on holds no tokens.", hint="Give more text.")
            if wanted == 0:
                # The last token is read again, as the first of the next row.
                self.cursor = Cursor(before.epoch, before.place, before.offset + len(part) - 1)
        return np.concatenate(parts)

    def _at(self, cursor: Cursor) -> Tokens:
        if self._held is None or self._held[:2] != (cursor.epoch, cursor.place):
            number = self._order(cursor.epoch)[cursor.place]
            self._held = (cursor.epoch, cursor.place, self._blocks.tokens(number))
        return self._held[2]

    def _next_block(self, cursor: Cursor) -> Cursor:
        last = cursor.place + 1 == len(self._blocks)
        return Cursor(cursor.epoch + 1, 0, 0) if last else Cursor(cursor.epoch, cursor.place + 1, 0)

    def _order(self, epoch: int) -> list[int]:
        order = list(range(len(self._blocks)))
        if self._seed is not None:
            Random(f"{self._seed}/{epoch}").shuffle(order)
        return order


def split_blocks(blocks: Sequence[Block], share: float) -> tuple[list[Block], list[Block]]:
    """Blocks to train on and blocks to judge by, which are spread evenly over all.

    Raises:
        InputError: there are too few to hold any out.
    """
    if len(blocks) < 2:
        raise InputError(
            "The text is too short to hold a part of it out for judging.", hint="Give at least 8 KB of text."
        )
    count = min(max(1, round(share * len(blocks))), len(blocks) - 1)
    step = len(blocks) / count
    held = {int(step * n + step / 2) for n in range(count)}
    return [b for n, b in enumerate(blocks) if n not in held], [b for n, b in enumerate(blocks) if n in held]


def document_positions(rows: Tensor, end: int) -> Tensor:
    """Positions [B, T] that begin anew behind each end token; transformers then lets documents not see each other."""
    places = torch.arange(rows.shape[1]).expand_as(rows)
    starts = torch.zeros_like(rows)
    starts[:, 1:] = torch.where(rows[:, :-1] == end, places[:, 1:], 0)
    return places - starts.cummax(1).values


def evaluation_rows(blocks: TokenBlocks, length: int, tokens: int) -> list[Tensor]:
    """The first rows [1, length] of the blocks in their order, once through at most."""
    found: list[Tensor] = []
    for row in _once(blocks, length):
        if found and len(found) * (length - 1) >= tokens:
            break
        found.append(row)
    return found


def _once(blocks: TokenBlocks, length: int) -> Iterator[Tensor]:
    stream = TokenStream(blocks, length, seed=None)
    while True:
        row = stream.rows(1)
        if stream.cursor.epoch:
            return
        yield row


def _read(path: Path) -> Tokens | None:
    """Kept tokens; None where there are none, or damaged ones."""
    try:
        kept: Tokens = np.load(path, allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return kept.astype(np.uint32, copy=False)


def _write(path: Path, tokens: Tokens) -> None:
    part = path.with_name(f".{path.stem}.{uuid4().hex[:8]}.npy")
    small = tokens.astype(np.uint16) if len(tokens) and tokens.max() < 1 << 16 else tokens
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(part, small)
        part.replace(path)
    except OSError as cause:
        part.unlink(missing_ok=True)
        raise StoreFullError(f"{path.parent} cannot be written: {cause}.", hint="Free some room.") from cause
