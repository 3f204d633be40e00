"""Which device trains, and in which precision it computes well."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from edgeq.errors import RecipeError

__all__ = ["resolve_device", "resolve_precision"]

CPU_INFO = Path("/proc/cpuinfo")


def resolve_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device that ``auto``, ``cpu`` or ``cuda`` stands for here.

    Raises:
        RecipeError: cuda is asked for and there is none.
    """
    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        raise RecipeError(
            "no usable CUDA device",
            where="train.device",
            got=name,
            wanted="auto or cpu on this machine",
            remedy="use --device auto, or install a CUDA build of torch",
        )
    return torch.device("cuda" if present and name != "cpu" else "cpu")


def resolve_precision(name: Literal["auto", "bf16", "fp32"], device: torch.device) -> Literal["bf16", "fp32"]:
    """``bf16`` or ``fp32``; ``auto`` is bf16 where the hardware multiplies in it: elsewhere it is emulated and slow."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if _cpu_has_bf16() else "fp32"


def _cpu_has_bf16() -> bool:
    """AVX512-BF16 or AMX on x86, BF16 on ARM: the flags Linux lists; other systems say no."""
    try:
        text = CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    lines = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    flags = {flag for key, value in lines if key.strip() in ("flags", "Features") for flag in value.split()}
    return not flags.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})
