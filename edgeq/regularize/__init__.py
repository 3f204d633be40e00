"""Periodic regularizers: functions, the term over a network's weights, schedules, and a Lightning callback.

Names are imported on first use: the schedules need no torch, and only the callback needs lightning.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeq.regularize.callback import PeriodicRegularizerCallback
    from edgeq.regularize.functions import FUNCTIONS, PeriodicFunction
    from edgeq.regularize.regularizer import PeriodicRegularizer, RegularizerLog
    from edgeq.regularize.schedule import (
        AmplitudeSchedule,
        EtaSchedule,
        FrequencySchedule,
        amplitude_to_eta,
        eta_to_amplitude,
    )

__all__ = [
    "FUNCTIONS",
    "AmplitudeSchedule",
    "EtaSchedule",
    "FrequencySchedule",
    "PeriodicFunction",
    "PeriodicRegularizer",
    "PeriodicRegularizerCallback",
    "RegularizerLog",
    "amplitude_to_eta",
    "eta_to_amplitude",
]

_HOMES = MappingProxyType(
    {
        "FUNCTIONS": "functions",
        "AmplitudeSchedule": "schedule",
        "EtaSchedule": "schedule",
        "FrequencySchedule": "schedule",
        "PeriodicFunction": "functions",
        "PeriodicRegularizer": "regularizer",
        "PeriodicRegularizerCallback": "callback",
        "RegularizerLog": "regularizer",
        "amplitude_to_eta": "schedule",
        "eta_to_amplitude": "schedule",
    }
)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
