"""edgeq: a PyTorch vision model to a verified int8 artifact on ARM, with every trained integer kept.

    >>> import edgeq
    >>> result = edgeq.build(edgeq.Recipe(bits=8), "out/demo", progress="auto")  # doctest: +SKIP

Names are imported on first use: ``import edgeq`` is quick and brings no torch.
"""

from __future__ import annotations

import importlib
import sys
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeq.accumulate.analysis import Accumulators
    from edgeq.api import build, convert, export, pack, quantize, train, unpack
    from edgeq.bench.artifact import BenchRequest, BenchResult
    from edgeq.display.summary import Result
    from edgeq.errors import (
        DataError,
        EdgeqError,
        ExportError,
        FormatError,
        ModelError,
        RecipeError,
        VerifyError,
    )
    from edgeq.examine import accumulators, bench, inspect, report, search_bits, sensitivity, verify
    from edgeq.grid import Grid, QuantizedWeight
    from edgeq.inspection import Inspection
    from edgeq.layer_costs import Sensitivity
    from edgeq.packing.result import PackResult, UnpackResult
    from edgeq.posttraining import ExportRequest
    from edgeq.progress import Progress
    from edgeq.recipe import (
        DataRecipe,
        QuantizeRecipe,
        Recipe,
        RegularizerRecipe,
        TrainRecipe,
        load_recipe,
    )
    from edgeq.regularize.callback import PeriodicRegularizerCallback
    from edgeq.regularize.regularizer import PeriodicRegularizer
    from edgeq.regularize.schedule import AmplitudeSchedule, EtaSchedule, FrequencySchedule
    from edgeq.results import BuildResult, ConvertResult, ExportResult, ReportResult, TrainingResult, VerifyResult
    from edgeq.rounding.options import RoundingRecipe
    from edgeq.snap import load_grid, save_grid, snap
    from edgeq.targets import Target, list_targets, load_target
    from edgeq.widths.result import BitSearch

__version__ = "0.1.0"

_HOMES = MappingProxyType(
    {
        "Accumulators": "accumulate.analysis",
        "AmplitudeSchedule": "regularize.schedule",
        "BenchRequest": "bench.artifact",
        "BenchResult": "bench.artifact",
        "BitSearch": "widths.result",
        "BuildResult": "results",
        "ConvertResult": "results",
        "DataError": "errors",
        "DataRecipe": "recipe",
        "EdgeqError": "errors",
        "EtaSchedule": "regularize.schedule",
        "ExportError": "errors",
        "ExportRequest": "posttraining",
        "ExportResult": "results",
        "FormatError": "errors",
        "FrequencySchedule": "regularize.schedule",
        "Grid": "grid",
        "Inspection": "inspection",
        "ModelError": "errors",
        "PackResult": "packing.result",
        "PeriodicRegularizer": "regularize.regularizer",
        "PeriodicRegularizerCallback": "regularize.callback",
        "Progress": "progress",
        "QuantizeRecipe": "recipe",
        "QuantizedWeight": "grid",
        "Recipe": "recipe",
        "RecipeError": "errors",
        "RegularizerRecipe": "recipe",
        "ReportResult": "results",
        "Result": "display.summary",
        "RoundingRecipe": "rounding.options",
        "Sensitivity": "layer_costs",
        "Target": "targets",
        "TrainRecipe": "recipe",
        "TrainingResult": "results",
        "UnpackResult": "packing.result",
        "VerifyError": "errors",
        "VerifyResult": "results",
        "accumulators": "examine",
        "bench": "examine",
        "build": "api",
        "convert": "api",
        "export": "api",
        "inspect": "examine",
        "list_targets": "targets",
        "load_grid": "snap",
        "load_recipe": "recipe",
        "load_target": "targets",
        "pack": "api",
        "quantize": "api",
        "report": "examine",
        "save_grid": "snap",
        "search_bits": "examine",
        "sensitivity": "examine",
        "snap": "snap",
        "train": "api",
        "unpack": "api",
        "verify": "examine",
    }
)

__all__ = [
    "Accumulators",
    "AmplitudeSchedule",
    "BenchRequest",
    "BenchResult",
    "BitSearch",
    "BuildResult",
    "ConvertResult",
    "DataError",
    "DataRecipe",
    "EdgeqError",
    "EtaSchedule",
    "ExportError",
    "ExportRequest",
    "ExportResult",
    "FormatError",
    "FrequencySchedule",
    "Grid",
    "Inspection",
    "ModelError",
    "PackResult",
    "PeriodicRegularizer",
    "PeriodicRegularizerCallback",
    "Progress",
    "QuantizeRecipe",
    "QuantizedWeight",
    "Recipe",
    "RecipeError",
    "RegularizerRecipe",
    "ReportResult",
    "Result",
    "RoundingRecipe",
    "Sensitivity",
    "Target",
    "TrainRecipe",
    "TrainingResult",
    "UnpackResult",
    "VerifyError",
    "VerifyResult",
    "__version__",
    "accumulators",
    "bench",
    "build",
    "convert",
    "export",
    "inspect",
    "list_targets",
    "load_grid",
    "load_recipe",
    "load_target",
    "pack",
    "quantize",
    "report",
    "save_grid",
    "search_bits",
    "sensitivity",
    "snap",
    "train",
    "unpack",
    "verify",
]


if not TYPE_CHECKING:  # or a type checker would take any name for one of these

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


class _Package(ModuleType):
    """Keeps ``edgeq.verify`` the function: the import system binds a subpackage of that name over it on first use.

    See docs/decisions/functions-and-packages.md.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
