"""What the report is made from: frozen dataclasses that check their shapes once. No drawing, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import FormatError
from edgeq.verify.report import LayerParity

__all__ = ["Disagreement", "LayerView", "ReportInput"]


@dataclass(frozen=True, slots=True, eq=False)
class LayerView:
    """One quantized layer's weights before and after they were put on the grid.

    Attributes:
        name: the layer's name in the network.
        shape: of its weight, PyTorch's layout.
        bits: bits a weight.
        step_min, step_max: the smallest and largest step of its channels; equal where there is one step a tensor.
        code_counts: int64 [2 qmax + 1], how many weights have the code -qmax, ..., qmax.
        position_histogram: int64 [K], the float weights before the snap by their distance from the nearest grid
            point, in K equal bins over [-0.5, 0.5] steps.
    """

    name: str
    shape: tuple[int, ...]
    bits: int
    step_min: float
    step_max: float
    code_counts: NDArray[np.int64]
    position_histogram: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.code_counts.ndim != 1 or self.code_counts.size % 2 == 0:
            raise FormatError("code counts run from -qmax to qmax", where=self.name, got=self.code_counts.shape)
        if self.position_histogram.ndim != 1:
            raise FormatError("a histogram has one dimension", where=self.name, got=self.position_histogram.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Disagreement:
    """A test image that the float network and the int8 file put into different classes.

    Attributes:
        image: uint8 [H, W, 3] or [H, W, 1].
        label, float_class, int8_class: indices of the true class and of the two answers.
    """

    image: NDArray[np.uint8]
    label: int
    float_class: int
    int8_class: int

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] not in (1, 3):
            got = f"{self.image.dtype} {self.image.shape}"
            raise FormatError("cannot draw an image", got=got, wanted="uint8 [H, W, 3] or [H, W, 1]")


@dataclass(frozen=True, slots=True, eq=False)
class ReportInput:
    """Everything the page shows. What is empty is left out of the page.

    Attributes:
        manifest: ``manifest.json`` as it is; accuracies and agreement in percent.
        history: an entry an epoch: ``epoch``, ``loss``, ``test_accuracy`` (percent), ``learning_rate``, ``amplitude``,
            ``distance`` (mean, in steps), ``share_on_grid`` (0 to 1); a value may be None or missing.
        layers: the quantized layers, in the network's order.
        parity: the operations, in the file's order.
        classes: class names, in the order of the outputs.
        confusion: int64 [classes, classes], test images by true class (row) and by answer of the TFLite file (column).
        disagreements: images that float and int8 disagree on; the first 24 are shown.
        command: the command line that made the build.
        recipe_toml: the resolved recipe.
    """

    manifest: Mapping[str, Any]
    history: Sequence[Mapping[str, float | None]] = ()
    layers: Sequence[LayerView] = ()
    parity: Sequence[LayerParity] = ()
    classes: Sequence[str] = ()
    confusion: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    disagreements: Sequence[Disagreement] = ()
    command: str = ""
    recipe_toml: str = ""

    def __post_init__(self) -> None:
        count = len(self.classes)
        if self.confusion.size and self.confusion.shape != (count, count):
            raise FormatError("the confusion matrix does not fit", got=self.confusion.shape, wanted=(count, count))
        for item in self.disagreements:
            for index in (item.label, item.float_class, item.int8_class):
                if not 0 <= index < count:
                    raise FormatError(
                        "a class without a name", where="disagreements", got=index, wanted=f"below {count}"
                    )
