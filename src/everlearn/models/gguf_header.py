"""The head of a GGUF file: its scalar fields and how long the file must be, read in milliseconds.

The reader of the gguf package takes seconds for a large vocabulary, since it makes an array of every word.

Source: GGUF specification, version 3 (ggml-org/ggml, docs/gguf.md), which also reads version 2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BufferedReader
from math import prod
from pathlib import Path

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from everlearn.errors import CorruptWeightsError

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_LONGEST_STRING = 1 << 30  # a longer one is a sign of damage, and must not be allocated

Scalar = int | float | bool | str


@dataclass(frozen=True)
class GgufHeader:
    """What stands before the tensors.

    Attributes:
        fields: scalar fields by name; arrays are left out.
        nbytes: least length of the whole file.
    """

    fields: dict[str, Scalar]
    nbytes: int


def read_header(path: Path) -> GgufHeader:
    """Reads the head of a GGUF file and checks that all its tensors are there.

    Raises:
        CorruptWeightsError: not a GGUF file, or one that was cut short.
    """
    hint = "Copy or download the file again."
    try:
        with path.open("rb") as file:
            header = _read(file)
    except (struct.error, UnicodeDecodeError, ValueError, KeyError) as error:
        raise CorruptWeightsError(f"{path} is not a whole GGUF file: {error}.", hint=hint) from error
    if (found := path.stat().st_size) < header.nbytes:
        raise CorruptWeightsError(f"{path} is cut short: {found:,} bytes of {header.nbytes:,}.", hint=hint)
    return header


def _read(file: BufferedReader) -> GgufHeader:
    if file.read(4) != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    if (version := _take(file, "<I")) not in (2, 3):
        raise ValueError(f"its version {version} is not 2 or 3")
    tensors, count = int(_take(file, "<Q")), int(_take(file, "<Q"))
    fields: dict[str, Scalar] = {}
    for _ in range(count):
        name = _string(file)
        value = _value(file, int(_take(file, "<I")))
        if value is not None:
            fields[name] = value
    ends = [_tensor_end(file) for _ in range(tensors)]
    alignment = int(fields.get("general.alignment", 32))
    start = -(-file.tell() // alignment) * alignment
    return GgufHeader(fields, start + max(ends, default=0))


def _tensor_end(file: BufferedReader) -> int:
    """Returns where a tensor ends, counted from where tensors start."""
    _string(file)
    shape = [int(_take(file, "<Q")) for _ in range(int(_take(file, "<I")))]
    per_block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(int(_take(file, "<I")))]
    return int(_take(file, "<Q")) + int(prod(shape) // per_block * block_bytes)


def _value(file: BufferedReader, kind: int) -> Scalar | None:
    """Returns a scalar; steps over an array and returns None."""
    if kind == _STRING:
        return _string(file)
    if kind != _ARRAY:
        return _take(file, _SCALARS[kind])
    member, count = int(_take(file, "<I")), int(_take(file, "<Q"))
    if member in _SCALARS:
        file.seek(count * struct.calcsize(_SCALARS[member]), 1)
    else:
        for _ in range(count):
            _step_over(file, member)
    return None


def _step_over(file: BufferedReader, kind: int) -> None:
    if kind == _STRING:
        file.seek(int(_take(file, "<Q")), 1)
    else:
        _value(file, kind)


def _string(file: BufferedReader) -> str:
    if (length := int(_take(file, "<Q"))) > _LONGEST_STRING:
        raise ValueError(f"a string of {length:,} bytes")
    return file.read(length).decode("utf-8")


def _take(file: BufferedReader, form: str) -> Scalar:
    value: Scalar = struct.unpack(form, file.read(struct.calcsize(form)))[0]
    return value
