"""What a search for bits found, as a table, JSON, and the ``[layers]`` of a recipe."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from edgeq.display.summary import Result, Summary, table
from edgeq.strict_toml import toml_value

__all__ = ["BitSearch", "FrontPoint", "LayerBits"]

PACKED_BITS = 4


@dataclass(frozen=True, slots=True)
class LayerBits:
    """A layer and its widths.

    Attributes:
        name: as a recipe has it.
        weights: numbers stored.
        reads: numbers that it reads of one image.
        weight_bits: of its weights.
        data_bits: of what it reads; 8 is what an int8 file has, fewer are simulated.
    """

    name: str
    weights: int
    reads: int
    weight_bits: int
    data_bits: int


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """The least traffic within a tolerance.

    Attributes:
        tolerance: points of accuracy that may be lost.
        accuracy: in percent of the validation images.
        traffic: bits that the layers read for one image over those of 32-bit numbers (TR).
        weight_traffic, data_traffic: the same of weights and of data alone.
        test_accuracy: in percent of the test images, which chose nothing.
        file_accuracy: the same with data of 8 bits, as an int8 file has them.
        weight_bytes, packed_bytes: that the weights take in the file, a code a byte, or two of 4 bits or fewer.
        layers: widths, in order.
    """

    tolerance: float
    accuracy: float
    traffic: float
    weight_traffic: float
    data_traffic: float
    test_accuracy: float
    file_accuracy: float
    weight_bytes: int
    packed_bytes: int
    layers: tuple[LayerBits, ...]

    @property
    def recipe(self) -> str:
        """The ``[layers]`` table of a recipe with these bits of weights."""
        lines = [f"{toml_value(layer.name)} = {layer.weight_bits}" for layer in self.layers]
        return "\n".join(["[layers]", *lines])


@dataclass(frozen=True, slots=True)
class BitSearch(Result):
    """The fewest bits by layer that keep a network's accuracy.

    Attributes:
        source: the build's folder.
        samples: validation images, taken from the training images.
        accuracy: of the float network on them, in percent.
        test_accuracy: of the float network on the test images.
        measured: how often the network was measured.
        points: the least traffic within each tolerance, the first being the one that was asked for first.
        front: accuracy and traffic of every state on the way that no other beats in both.
    """

    source: str
    samples: int
    accuracy: float
    test_accuracy: float
    measured: int
    points: tuple[FrontPoint, ...]
    front: tuple[tuple[float, float], ...]

    @property
    def recipe(self) -> str:
        """The ``[layers]`` table of the first tolerance."""
        return self.points[0].recipe

    def summary(self) -> Summary:
        best = self.points[0]
        columns = ["layer", "weights", "reads", "bits", "data bits"]
        rows = [
            [layer.name, f"{layer.weights:,}", f"{layer.reads:,}", str(layer.weight_bits), str(layer.data_bits)]
            for layer in best.layers
        ]
        heads = ["tolerance", "accuracy", "TR", "TR weights", "TR data", "test", "test, int8 data", "packed bytes"]
        title = (
            f"{self.samples} validation images; float {self.accuracy:.2f} %, on test images "
            f"{self.test_accuracy:.2f} %; {self.measured} measurements"
        )
        return (
            table(f"{self.source}, within {best.tolerance:g} points", columns, rows, right={1, 2, 3, 4}),
            table(title, heads, [_row(point) for point in self.points], right=set(range(len(heads)))),
            "",
            "a file stores a weight of 5 to 8 bits in a byte, and of 4 or fewer in half a byte with --packed; its data "
            "are int8: fewer bits of data are simulated",
            "",
            self.recipe,
        )

    def to_dict(self) -> dict[str, Any]:
        """The attributes, and the recipe's table."""
        return {**dataclasses.asdict(self), "recipe": self.recipe}


def _row(point: FrontPoint) -> list[str]:
    ratios = point.traffic, point.weight_traffic, point.data_traffic
    tested = point.test_accuracy, point.file_accuracy
    return [
        f"{point.tolerance:g}",
        f"{point.accuracy:.2f} %",
        *(f"{ratio:.3f}" for ratio in ratios),
        *(f"{accuracy:.2f} %" for accuracy in tested),
        f"{point.packed_bytes:,}",
    ]
