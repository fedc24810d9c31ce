"""Where a model computes and in which number format: chosen from what the machine has, never by timing."""

from __future__ import annotations

import torch

from everlearn.errors import SettingsError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """Returns the device to compute on.

    Args:
        name: "auto" (CUDA, then MPS, then CPU), "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        SettingsError: no such device on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"device {name!r} is unknown.", hint="Use auto, cpu, cuda, cuda:N or mps.") from error
    if not _present(device):
        raise SettingsError(f"device {name!r} is not on this machine.", hint="Use device auto or cpu.")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Returns the number format to compute in.

    Args:
        name: "auto", "float32", "bfloat16" or "float16".
        device: where the model computes.

    Raises:
        SettingsError: unknown format, or one that the device cannot compute.
    """
    if name == "auto":
        return torch.bfloat16 if native_bfloat16(device) else torch.float32
    if name not in _DTYPES:
        raise SettingsError(f"dtype {name!r} is unknown.", hint=f"Use auto, {', '.join(_DTYPES)}, int8 or nf4.")
    if name == "bfloat16" and device.type == "mps" and not native_bfloat16(device):  # CPU and CUDA emulate it
        raise SettingsError(f"{device} cannot compute in bfloat16.", hint="Use dtype auto or float32.")
    return _DTYPES[name]


def native_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 itself. Elsewhere it is emulated, slower than float32 and less exact."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "mps":
        # float16 is no second choice here: activations of Gemma-like models exceed its range.
        return bool(torch.backends.mps.is_macos_or_newer(14, 0))
    return _cpu_has_bfloat16()


def _cpu_has_bfloat16() -> bool:
    if hasattr(torch.cpu, "get_capabilities"):
        flags = torch.cpu.get_capabilities()
        return any(flags.get(flag, False) for flag in ("avx512_bf16", "amx_bf16", "bf16"))
    # torch before 2.10 tells it of x86 only, and under private names.
    probes = (getattr(torch.cpu, f"_is_{flag}_supported", None) for flag in ("avx512_bf16", "amx_tile"))
    return any(bool(probe()) for probe in probes if probe is not None)


def _present(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"
