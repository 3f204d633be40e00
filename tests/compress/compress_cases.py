"""For each row of the table: recipes that build in seconds, and what must then be true of the files.

A case without a recipe of its own builds the one of the method's page, word for word.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.compress.symmetry import is_symmetric
from edgeq.grid import QuantizedWeight

__all__ = ["CASES", "PAGES", "Case"]

PAGES = Path(__file__).parents[2] / "docs" / "compress"

Codes = dict[str, QuantizedWeight]


@dataclass(frozen=True)
class Case:
    """One build of a method.

    Attributes:
        method: a row of the table.
        holds: the method's property, of the codes in the files and the manifest's entry of the last round.
        options: of its table, with one epoch of retraining; None takes the recipe of its page.
        recipe: other keys, where options are given.
    """

    method: str
    holds: Callable[[Codes, dict[str, Any]], bool]
    options: dict[str, Any] | None = None
    recipe: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.method, *map(str, self.options or ["page"])])

    @property
    def table(self) -> dict[str, Any]:
        """The recipe."""
        if self.options is None:
            page = (PAGES / f"{self.method}.md").read_text(encoding="utf-8")
            block = re.search(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
            assert block is not None, f"no recipe in the page of {self.method}"
            return tomllib.loads(block[1])
        table = {"model": "lenet5", "bits": 4, "train": {"epochs": 2, "batch_size": 64, "precision": "fp32"}}
        return table | {"compress": [{"method": self.method, "epochs": 1, **self.options}]} | self.recipe


def _channels(codes: Codes, name: str) -> int:
    return int(codes[name].codes.shape[0])


def _zeros(weight: QuantizedWeight) -> float:
    return float(np.mean(weight.codes == 0))


def _shared(weight: QuantizedWeight) -> int:
    """How many codes there are beside zero."""
    return len(np.unique(weight.codes[weight.codes != 0]))


def _has_identity(weight: QuantizedWeight) -> bool:
    """The codes that pass a channel on stand out of the others."""
    if weight.codes.ndim != 4 or weight.codes.shape[0] != weight.codes.shape[1]:
        return True
    size = np.abs(weight.codes.astype(np.int16))
    return bool(np.diagonal(size[:, :, 1, 1]).mean() > 10 * size.mean())


LENET5_MACS = 651_720


def _most(weight: QuantizedWeight, of: int) -> int:
    """Non-zeros of the fullest group of neighbours along the inputs."""
    return int((np.moveaxis(weight.codes, 1, -1).reshape(-1, of) != 0).sum(1).max())


def _by_element(weight: QuantizedWeight, elements: int) -> list[int]:
    """Non-zeros of each processing element, to which rows are dealt in turn."""
    return [int((weight.codes[element::elements] != 0).sum()) for element in range(elements)]


def _outputs(codes: Codes) -> list[int]:
    return [weight.codes.shape[0] for weight in codes.values()]


def _one_power_of_two(weight: QuantizedWeight) -> bool:
    return weight.step.size == 1 and float(np.frexp(weight.step[0])[0]) == 0.5


CASES = [
    Case(
        "prune-magnitude",
        lambda codes, entry: all(_zeros(codes[name]) >= 0.79 for name in codes.keys() - {"conv1"}),
    ),
    Case(
        "prune-magnitude",
        lambda codes, entry: _zeros(codes["conv1"]) < 0.5 < _zeros(codes["fc1"]),
        {"deviations": 1.0, "steps": 2, "skip": ["conv1"]},
    ),
    Case(
        "share-weights",
        lambda codes, entry: max(map(_shared, codes.values())) <= 16 and min(map(_zeros, codes.values())) > 0.79,
    ),
    Case(
        "share-weights",
        lambda codes, entry: (
            [1 < _shared(codes[name]) <= most for name, most in (("conv1", 8), ("fc1", 4), ("fc2", 4))] == [True] * 3
        ),
        {"bits": 2, "layer_bits": ["conv*=3"], "start": "density"},
    ),
    Case("fold-dirac", lambda codes, entry: all(map(_has_identity, codes.values()))),
    Case(
        "low-rank",
        lambda codes, entry: (
            entry["macs"] <= 0.8 * LENET5_MACS and _channels(codes, "conv2.0") % 4 == 0 and "conv2" not in codes
        ),
    ),
    Case(
        "low-rank",
        lambda codes, entry: entry["macs"] < LENET5_MACS and entry["replaced"] >= 1,
        {"tolerance": 5.0, "images": 200, "multiple": 4},
    ),
    Case(
        "spatial-separable",
        lambda codes, entry: entry["macs"] <= 0.7 * LENET5_MACS and codes["conv2.0"].codes.shape[2:] == (1, 5),
    ),
    Case(
        "spatial-separable",
        lambda codes, entry: codes["conv2.2"].codes.shape[2:] == (5, 1),
        {"energy": 0.6, "relu": True, "multiple": 4},
    ),
    Case(
        "depthwise-separable",
        lambda codes, entry: codes["conv1.0"].codes.shape == (3, 1, 5, 5) and codes["conv2.1"].codes.shape[1] == 6,
    ),
    Case(
        "depthwise-separable",
        lambda codes, entry: codes["conv1.1"].codes.shape == (6, 1, 5, 5) and codes["conv2.2"].codes.shape[1] == 12,
        {"multiplier": 2},
    ),
    Case(
        "symmetric",
        lambda codes, entry: (
            entry["symmetric_layers"] == 4
            and all(is_symmetric(codes[f"blocks.{number}.0"].codes) for number in (1, 3, 5, 7))
        ),
    ),
    Case(
        "symmetric",
        lambda codes, entry: all(
            is_symmetric(codes[name].codes, "triangles", 8, "spatial") for name in ("conv1", "conv2", "conv3")
        ),
        {"form": "triangles", "ways": 8, "axes": "spatial"},
        {"bits": 8, "method": "straight-through"},
    ),
    Case(
        "prune-balanced",
        lambda codes, entry: all(_most(codes[name], 4) == 2 for name in ("conv3", "fc1", "fc2")),
    ),
    Case(
        "prune-balanced",
        lambda codes, entry: all(
            max(_by_element(weight, 4)) <= weight.codes.size // 8 < 1.3 * min(_by_element(weight, 4)) + 2
            for weight in codes.values()
            if len(weight.codes) % 4 == 0
        ),
        {"sparsity": 0.5, "elements": 4, "skip": ["conv1"]},
        {"bits": 8},
    ),
    Case(
        "prune-channels",
        lambda codes, entry: _outputs(codes) == [4, 8, 60, 44, 10] and entry["channels"] == 126,
    ),
    Case(
        "prune-channels",
        lambda codes, entry: (
            _outputs(codes)[-1] == 10 and codes["conv1"].codes.shape[1] == 3 and entry["macs"] <= 0.5 * LENET5_MACS
        ),
        {"criterion": "fisher", "macs": 0.5, "multiple": 1, "samples": 256},
    ),
    Case(
        "search-bits",
        lambda codes, entry: (
            {name: weight.grid.bits for name, weight in codes.items()} == entry["layer_bits"]
            and max(entry["layer_bits"].values()) < 8
            and all(np.abs(weight.codes).max() <= weight.grid.qmax for weight in codes.values())
        ),
    ),
    Case(
        "search-bits",
        lambda codes, entry: (
            codes["fc2"].grid.bits == 8
            and entry["layer_bits"] == {name: codes[name].grid.bits for name in codes.keys() - {"fc2"}}
        ),
        {"tolerance": 20.0, "samples": 200, "budget": 40},
        {"layers": {"fc2": 8}, "method": "straight-through"},
    ),
    Case(
        "fold-batch-norm",
        lambda codes, entry: entry["batch_norms"] == 0 and all(map(_one_power_of_two, codes.values())),
    ),
]
