"""What the report is made from: frozen dataclasses that check their shapes once. No drawing, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import FormatError
from edgeq.report.thumbnails import check_uri
from edgeq.verify.report import LayerParity

__all__ = ["BenchedLane", "Details", "Disagreement", "LayerView", "OperationTime", "ReportInput"]


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
            point, in K equal bins over [-0.5, 0.5] steps; empty where the float weights are not known.
        before: int64 [points * K], the float weights before the snap over the middle ``points`` points of the grid, K
            bins a point, the point in the middle one; empty as above.
        points: of ``before``.
    """

    name: str
    shape: tuple[int, ...]
    bits: int
    step_min: float
    step_max: float
    code_counts: NDArray[np.int64]
    position_histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    before: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    points: int = 0

    def __post_init__(self) -> None:
        if self.code_counts.ndim != 1 or self.code_counts.size % 2 == 0:
            raise FormatError("code counts run from -qmax to qmax", where=self.name, got=self.code_counts.shape)
        for histogram in (self.position_histogram, self.before):
            if histogram.ndim != 1:
                raise FormatError("a histogram has one dimension", where=self.name, got=histogram.shape)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A test image that the float network and the int8 file put into different classes.

    Attributes:
        image: a data URI, of :func:`edgeq.report.thumbnails.thumbnail_uri`.
        label, float_class, int8_class: indices of the true class and of the two answers.
        float_score, int8_score: how sure each was of its answer, 0 to 1.
    """

    image: str
    label: int
    float_class: int
    int8_class: int
    float_score: float
    int8_score: float

    def __post_init__(self) -> None:
        check_uri(self.image)


@dataclass(frozen=True, slots=True)
class Details:
    """What the page shows beyond manifest and weights, as ``report.json`` keeps it.

    Attributes:
        schema: version of the file.
        command: the command line that made the build.
        history: an entry an epoch: ``epoch``, ``loss``, ``train_accuracy`` and ``test_accuracy`` (percent),
            ``learning_rate``, ``amplitude``, ``eta``, ``distance`` (mean, in steps), ``share_on_grid`` (0 to 1); what
            was not measured or is not finite is missing.
        confusion: (true class, answer of the TFLite file, images) where there are any.
        disagreements: images that float and int8 disagree on, by who is right: ``float``, ``int8``, ``neither``.
        shown: the surest of them.
    """

    schema: int = 1
    command: str = ""
    history: tuple[dict[str, float], ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    disagreements: dict[str, int] = field(default_factory=dict)
    shown: tuple[Disagreement, ...] = ()


@dataclass(frozen=True, slots=True)
class OperationTime:
    """One operation's share of an estimate.

    Attributes:
        kind, name: of the operation.
        macs, bytes: multiply-accumulates, and bytes of its tensors.
        ms: the middle of its estimate.
        peak_share: of the core's peak; None where it is not known.
    """

    kind: str
    name: str
    macs: int
    bytes: int
    ms: float
    peak_share: float | None


@dataclass(frozen=True, slots=True)
class BenchedLane:
    """One runtime on one device, operation by operation.

    Attributes:
        title: runtime and device.
        roofline: an SVG drawing, safe as it is; empty where the device's limits are not known.
        operations: in the file's order.
    """

    title: str
    roofline: str
    operations: tuple[OperationTime, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ReportInput:
    """Everything the page shows. What is empty is left out of the page.

    Attributes:
        manifest: ``manifest.json`` as it is; accuracies and agreement in percent.
        details: what ``report.json`` says.
        layers: the quantized layers, in the network's order.
        parity: the operations, in the file's order.
        classes: class names, in the order of the outputs.
        recipe_toml: the resolved recipe.
        bench: rooflines and times by operation.
    """

    manifest: Mapping[str, Any]
    details: Details = field(default_factory=Details)
    layers: Sequence[LayerView] = ()
    parity: Sequence[LayerParity] = ()
    classes: Sequence[str] = ()
    recipe_toml: str = ""
    bench: Sequence[BenchedLane] = ()

    def __post_init__(self) -> None:
        count = len(self.classes)
        for cell in self.details.confusion:
            if len(cell) != 3 or not (0 <= cell[0] < count and 0 <= cell[1] < count and cell[2] > 0):
                raise FormatError("the confusion matrix does not fit", got=cell, wanted=f"classes below {count}")
        for item in self.details.shown:
            for index in (item.label, item.float_class, item.int8_class):
                if not 0 <= index < count:
                    raise FormatError(
                        "a class without a name", where="disagreements", got=index, wanted=f"below {count}"
                    )
