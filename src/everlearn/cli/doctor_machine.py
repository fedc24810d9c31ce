"""Checks of the machine: Python, packages, device, threads, memory."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from everlearn.cli.findings import GIGABYTE, Finding, size
from everlearn.errors import SettingsError

if TYPE_CHECKING:
    from everlearn.wiring import Settings

LEAST_PYTHON = (3, 11)
LEAST_TORCH = (2, 6)
LEAST_MEMORY = 2 * GIGABYTE


def machine_checks(settings: Settings) -> list[Finding]:
    """All checks that need no state folder."""
    checks = [python(), torch_package()]
    if checks[-1].level != "fail":
        checks += [device(settings), threads(settings)]
    return [*checks, memory(free_memory())]


def python() -> Finding:
    """Is this Python new enough?"""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info[:2] < LEAST_PYTHON:
        return Finding("python", "fail", found, f"Install Python {'.'.join(map(str, LEAST_PYTHON))} or newer.")
    return Finding("python", "ok", found)


def torch_package() -> Finding:
    """Is torch there, and new enough? It is imported: a broken installation shows only then."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding("torch", "fail", f"cannot be imported: {error}", "pip install --force-reinstall torch")
    found = f"{torch.__version__}, transformers {metadata.version('transformers')}"
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < LEAST_TORCH:
        return Finding("torch", "fail", found, "pip install --upgrade torch")
    return Finding("torch", "ok", found)


def device(settings: Settings) -> Finding:
    """Where will the model compute, and in which number format?"""
    from everlearn.models.loading import QUANTISED, check_quantised
    from everlearn.models.placement import choose_device, choose_dtype

    try:
        chosen = choose_device(settings.device)
        if settings.dtype in QUANTISED:
            check_quantised(settings.dtype)
            dtype = settings.dtype
        else:
            dtype = str(choose_dtype(settings.dtype, chosen))
    except SettingsError as error:
        return Finding("device", "fail", error.message, error.hint)
    how = "chosen by itself" if settings.device == "auto" else "as set"
    return Finding("device", "ok", f"{_device_name(chosen.type)}, {dtype.removeprefix('torch.')} ({how})")


def threads(settings: Settings) -> Finding:
    """Do more threads compute than there are cores?"""
    import torch

    used, cores = settings.threads or torch.get_num_threads(), usable_cores()
    found = f"{used} of {cores} cores"
    if used > cores:
        return Finding(
            "threads", "warn", f"{used} threads on {cores} cores hinder each other", f"EVERLEARN_THREADS={cores}"
        )
    return Finding("threads", "ok", found)


def memory(free: int | None) -> Finding:
    """Is there enough free memory? `free`: bytes, or None where the system does not tell."""
    if free is None:
        return Finding("memory", "ok", "this system does not tell how much is free")
    if free < LEAST_MEMORY:
        return Finding(
            "memory", "warn", f"{size(free)} free", "Close other programs; the default model needs about 1.5 GB."
        )
    return Finding("memory", "ok", f"{size(free)} free")


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> int | None:
    """Free bytes of memory; None where the system does not tell without a further package."""
    info = Path("/proc/meminfo")
    if not info.exists():
        return None
    lines = dict(line.split(":", 1) for line in info.read_text(encoding="ascii").splitlines() if ":" in line)
    return int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else None


def _device_name(kind: str) -> str:
    import torch

    if kind == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return f"{torch.cuda.get_device_name()}, {size(free)} free"
    return kind
