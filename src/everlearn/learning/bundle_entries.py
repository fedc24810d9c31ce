"""Keys, word states and values of a bundle's entries as safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from everlearn.memory.phrase import Encoded, pack, unpack


def to_bytes(ids: Sequence[str], keys: Mapping[str, Encoded], values: Mapping[str, bytes]) -> bytes:
    """Keys, word states and values as safetensors; what differs in length stands one behind the other, with offsets."""
    rows = [keys[i].vector for i in ids]
    words, word_offsets = _joined([pack(keys[i].states) for i in ids])
    made, value_offsets = _joined([values[i] for i in ids])
    tensors: dict[str, NDArray[Any]] = {
        "keys": np.stack(rows).astype(np.float32) if rows else np.zeros((0, 0), np.float32),
        "words": words,
        "word_offsets": word_offsets,
        "values": made,
        "value_offsets": value_offsets,
    }
    return safetensors.numpy.save(tensors, {"ids": json.dumps(list(ids))})


def from_bytes(body: bytes) -> tuple[dict[str, Encoded], dict[str, bytes]]:
    """Keys and values by lesson id, from what `to_bytes` made.

    Raises:
        ValueError, KeyError, SafetensorError: the bytes are damaged.
    """
    head = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
    ids = json.loads(head["__metadata__"]["ids"])
    tensors = safetensors.numpy.load(body)
    keys = tensors["keys"]
    words, values = (_parted(tensors[name], tensors[f"{name[:-1]}_offsets"]) for name in ("words", "values"))
    if not len(ids) == len(keys) == len(words) == len(values):
        raise ValueError("keys, values and ids do not fit together")
    rows = zip(ids, keys, words, strict=True)
    return {i: Encoded(k, unpack(w, keys.shape[1])) for i, k, w in rows}, dict(zip(ids, values, strict=True))


def _joined(parts: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    offsets = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
    return np.frombuffer(b"".join(parts), np.uint8), offsets


def _parted(body: NDArray[np.uint8], offsets: NDArray[np.int64]) -> list[bytes]:
    places = offsets.tolist()
    if sorted(places) != places or places[-1] != len(body):
        raise ValueError("offsets do not fit what they divide")
    return [body[a:b].tobytes() for a, b in pairwise(places)]
