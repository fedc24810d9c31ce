"""Model folders that lie anywhere on this machine: are they usable, and which weights do they hold?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from everlearn.errors import CorruptWeightsError, ModelNotFoundError
from everlearn.models.folders import MANIFEST, ready
from everlearn.models.integrity import sha256_of

# What decides how a model answers: weights, configuration, tokenizer and chat template.
_COUNTED = {".safetensors", ".json", ".jinja", ".model", ".txt"}
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def require_model(folder: Path) -> None:
    """Refuses a folder that is no model, with the reason.

    Raises:
        ModelNotFoundError: no configuration, or no safetensors.
        CorruptWeightsError: a part of the weights is missing.
    """
    if not (folder / "config.json").is_file():
        raise ModelNotFoundError(f"{folder} is no model: it has no config.json.", hint=_gguf_hint(folder))
    if not any(folder.glob("*.safetensors")):
        if any(path for pattern in _PICKLES for path in folder.glob(pattern)):
            raise ModelNotFoundError(
                f"{folder} has its weights in pickle files, which can run code when read; everlearn never reads them.",
                hint="Convert the model with save_pretrained(), which writes safetensors.",
            )
        raise ModelNotFoundError(f"{folder} has no safetensors.", hint=_gguf_hint(folder))
    _require_parts(folder)


def folder_digest(folder: Path, home_models: Path, progress: Callable[[int, int], None]) -> str:
    """Returns the sha256 that identifies the content of a model folder.

    Hashing gigabytes takes seconds, so the hashes of files are remembered with their size and times.

    Args:
        folder: a model folder.
        home_models: where hashes are remembered.
        progress: called with bytes read and to read.
    """
    if digest := ready(folder):  # made by us, perhaps on another machine
        return digest
    memo = home_models / ".digests" / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}.json"
    known = _read(memo)
    files = [p for p in sorted(folder.iterdir()) if p.is_file() and p.suffix in _COUNTED and p.name != MANIFEST]
    hashes = {path.name: known.get(_stamp(path), "") for path in files}
    unknown = [path for path in files if not hashes[path.name]]
    total, done = sum(path.stat().st_size for path in unknown), 0

    def count(piece: int) -> None:
        nonlocal done
        done += piece
        progress(done, total)

    for path in unknown:
        hashes[path.name] = sha256_of(path, progress=count)
    if unknown:
        with suppress(OSError):  # remembering only saves time; a read-only home works without
            memo.parent.mkdir(parents=True, exist_ok=True)
            memo.write_text(json.dumps({_stamp(path): hashes[path.name] for path in files}), encoding="utf-8")
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{path.name}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def _read(memo: Path) -> Mapping[str, str]:
    try:
        known = json.loads(memo.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # absent, or cut short by a crash: hashed anew
        return {}
    return known if isinstance(known, dict) else {}


def _require_parts(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return
    try:
        parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError) as error:
        raise CorruptWeightsError(f"{index} cannot be read: {error}.", hint="Copy the model again.") from error
    if missing := sorted(part for part in parts if not (folder / part).is_file()):
        raise CorruptWeightsError(
            f"{folder} is incomplete: {len(missing)} of {len(parts)} parts are missing, such as {missing[0]}.",
            hint="Copy the model again.",
        )


def _gguf_hint(folder: Path) -> str:
    found = next(iter(sorted(folder.glob("*.gguf"))), None)
    return f"Give the file itself: {found}." if found else "Give a folder as save_pretrained() writes it."
