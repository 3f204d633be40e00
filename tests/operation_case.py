"""What a test case of the operations table is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from int8_models import Constant

Shape = tuple[int, ...]
IMAGE: dict[str, Shape] = {"x": (1, 3, 6, 11)}  # sizes differ on every axis, so that no two can be mixed up


@dataclass(frozen=True)
class Case:
    """A network of one operation of interest.

    Attributes:
        row: the ONNX operation whose row it tests.
        about: what is special.
        body: the nodes, as ONNX text.
        becomes: the TFLite operations in order.
        constants, inputs, outputs: of the body.
        steep: whether a step of an input can become many of a result, so that only quantized results are compared.
    """

    row: str
    about: str
    body: str
    becomes: str
    constants: Mapping[str, Constant] = field(default_factory=dict)
    inputs: Mapping[str, Shape] = field(default_factory=lambda: IMAGE)
    outputs: tuple[str, ...] = ("y",)
    steep: bool = False

    @property
    def name(self) -> str:
        return f"{self.row}-{self.about}".replace(" ", "_")
