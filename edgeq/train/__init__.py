"""Training: a network and images in, the same network trained onto the grid out. No export, no snapping.

Names are imported on first use; lightning only when :func:`train` is called.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeq.train.loop import CHECKPOINT, train
    from edgeq.train.result import EpochLog, TrainResult

__all__ = ["CHECKPOINT", "EpochLog", "TrainResult", "train"]

_HOMES = MappingProxyType({"CHECKPOINT": "loop", "EpochLog": "result", "TrainResult": "result", "train": "loop"})


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
