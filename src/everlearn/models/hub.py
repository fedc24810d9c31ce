"""Models of the Hugging Face hub: fetched into the hub's own cache, without pickle files and without code."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from everlearn.errors import DownloadError, ModelNotFoundError

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WANTED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "1_Pooling/config.json"]
_UNWANTED = ["*/*.safetensors", "onnx/*", "openvino/*", "original/*"]


def is_hub_id(name: str) -> bool:
    """Whether a name looks like "organisation/model"."""
    return bool(_ID.fullmatch(name))


def fetch_snapshot(name: str, progress: Callable[[int, int], None]) -> Path:
    """Returns the folder of a model of the hub, fetching what is not there yet; broken downloads are continued.

    Args:
        name: "organisation/model".
        progress: called with bytes fetched and to fetch.

    Raises:
        ModelNotFoundError: the hub has no such model, or does not give it to this user.
        DownloadError: the hub cannot be reached.
    """
    from huggingface_hub import errors, snapshot_download

    # The errors of its HTTP library, whose name depends on its version; that of no cached copy is no OSError, either.
    unreachable: tuple[type[BaseException], ...] = (
        errors.LocalEntryNotFoundError,
        *errors.HfHubHTTPError.__bases__,
        OSError,
    )

    try:
        folder = snapshot_download(
            name, allow_patterns=_WANTED, ignore_patterns=_UNWANTED, tqdm_class=_bytes_reported(progress)
        )
    except (errors.GatedRepoError, errors.RepositoryNotFoundError) as error:
        raise ModelNotFoundError(
            f"The hub does not give {name}: there is no such model, or it needs your permission.",
            hint="Check the name on the hub; for gated models accept the terms there and set HF_TOKEN.",
        ) from error
    except unreachable as error:
        raise DownloadError(
            f"{name} could not be fetched from the hub: {str(error).splitlines()[0]}",
            hint="Check the network and HF_HUB_OFFLINE, set HF_ENDPOINT to a mirror, use an alias such as smollm2-135m "
            "(which needs no hub), or give the path of a local folder.",
        ) from error
    return Path(folder)


def _bytes_reported(progress: Callable[[int, int], None]) -> Any:  # noqa: ANN401  a class made for one call
    """Returns a progress bar that draws nothing and passes bytes on."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Reported(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
            self._in_bytes = options.get("unit") == "B"
            self._bytes = 0
            options.pop("name", None)
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> bool:
            if self._in_bytes and n:
                self._bytes += int(n)
                progress(self._bytes, int(self.total or 0))
            return bool(super().update(n))

    return Reported
