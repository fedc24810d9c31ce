"""Hub keys: a prompt whose key lies near too many questions about nothing in common.

Measured against 128 questions of all kinds that come with everlearn, written for this. Their vectors for the packaged
encoder lie beside them; for another encoder they are made once per process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import final

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from everlearn.safety.finding import Finding

NEAR = 0.4  # cosine from which a question counts as near
MARGIN = 3  # more near questions than any question of the reference has itself: what is usual depends on the encoder
MOST_HIJACKED = 4  # questions taught before that would now be answered by this lesson
_VECTORS = "reference.safetensors"

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def reference_questions() -> list[str]:
    """The questions that keys are measured against."""
    return files("everlearn.safety").joinpath("reference_questions.txt").read_text("utf-8").splitlines()


@final
class Hubs:
    """Measures keys of one encoder.

    Args:
        encode: texts -> unit vectors [N, K].
        digest: which encoder.
    """

    def __init__(self, encode: Encode, digest: str) -> None:
        self._encode = encode
        self._digest = digest
        self._rows: NDArray[np.float32] | None = None
        self._most_near = 0

    def near(self, vector: NDArray[np.float32]) -> int:
        """How many reference questions lie near a key [K]."""
        if self._rows is None:
            self._rows = _packaged(self._digest)
            if self._rows is None:
                self._rows = self._encode(reference_questions())
            self._most_near = int((self._rows @ self._rows.T >= NEAR).sum(1).max()) - 1
        return int((self._rows @ np.asarray(vector, np.float32) >= NEAR).sum())

    def judge(self, vector: NDArray[np.float32], hijacked: int) -> list[Finding]:
        """Whether a key [K] is a hub; `hijacked` counts questions of other lessons that it would answer."""
        found = []
        if (near := self.near(vector)) >= self._most_near + MARGIN:
            found.append(Finding("hub", f"Its key lies near {near} of 128 questions that have nothing in common."))
        if hijacked >= MOST_HIJACKED:
            found.append(Finding("hub", f"It would answer the questions of {hijacked} other lessons."))
        return found


def packed(rows: NDArray[np.float32], digest: str) -> bytes:
    """Unit vectors [N, K] as they are shipped: 8 bits a coordinate."""
    peak = float(np.abs(rows).max())
    scaled = np.round(rows / peak * 127).astype(np.int8)
    return safetensors.numpy.save({"rows": scaled, "peak": np.array([peak], np.float32)}, {"encoder": digest})


def _packaged(digest: str) -> NDArray[np.float32] | None:
    """Vectors [N, K] of the reference questions, where they come with everlearn for this encoder."""
    body = files("everlearn.safety").joinpath(_VECTORS).read_bytes()
    head = body[8 : 8 + int.from_bytes(body[:8], "little")]
    if f'"{digest}"'.encode() not in head:
        return None
    tensors = safetensors.numpy.load(body)
    rows = tensors["rows"].astype(np.float32) * (float(tensors["peak"][0]) / 127)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
