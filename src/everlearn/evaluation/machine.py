"""Where a figure was measured: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

_PACKAGES = ("everlearn", "torch", "transformers", "tokenizers", "numpy")


def machine() -> dict[str, str]:
    """Processor, cores, system and accelerator."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": str(os.cpu_count() or 0),
        "threads": str(torch.get_num_threads()),
        "accelerator": device,
    }


def versions() -> dict[str, str]:
    """Versions of python and of the packages a figure depends on; those not installed as a package are left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Commit of the checkout this code runs from, "-dirty" behind it where files differ, or empty outside of one."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def resident_bytes() -> int:
    """Bytes of this process in memory now, pages of mapped files included; the most there ever were, outside Linux."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def own_bytes() -> int:
    """Bytes of this process in memory that are its own, pages of mapped files left out; all of them, outside Linux."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return resident_bytes()
    _, resident, shared, *_ = status.read_text().split()
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def _processor() -> str:
    """The processor's name; `platform` knows it on macOS and Windows, Linux keeps it in a file."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
