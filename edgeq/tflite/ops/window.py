"""Windows that slide over an image, or over a sequence as an image of one row: sizes, strides and padding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.layout import Layout, Order
from edgeq.tflite.lower import Lowering
from edgeq.tflite.qdq_values import node_name

__all__ = ["SAME", "VALID", "Window", "image_order", "padded", "read_window", "result_layout"]

SAME, VALID = schema.Padding.SAME, schema.Padding.VALID
ORDERS: dict[int, Order] = {3: (0, (), 2, 1), 4: (0, 2, 3, 1)}  # [N, 1, L, C] and [N, H, W, C]


@dataclass(frozen=True, slots=True)
class Window:
    """Sizes along height and width.

    Attributes:
        kernel, strides, dilations: of the window.
        pads: top, left, bottom, right.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]

    @property
    def options(self) -> dict[str, Any]:
        """The strides as TFLite's options name them."""
        return {"strideH": self.strides[0], "strideW": self.strides[1]}

    def same_totals(self, size: tuple[int, int]) -> list[int]:
        """How many rows and columns SAME adds in all."""
        totals = []
        for given, kernel, stride, dilation in zip(size, self.kernel, self.strides, self.dilations, strict=True):
            reach = (math.ceil(given / stride) - 1) * stride + (kernel - 1) * dilation + 1
            totals.append(max(reach - given, 0))
        return totals

    def is_same(self, size: tuple[int, int]) -> bool:
        """Whether the pads are those of SAME: half at the start, the odd one at the end."""
        totals = self.same_totals(size)
        return all(self.pads[i] == totals[i] // 2 and self.pads[i + 2] == totals[i] - totals[i] // 2 for i in range(2))


def image_order(low: Lowering, node: ir.Node) -> Order:
    """The axes of an [N, C, H, W] or [N, C, L] input as the dimensions of TFLite's image.

    Raises:
        ExportError: it has another number of axes; names the node.
    """
    rank = len(low.shape(node.outputs[0]))
    if rank not in ORDERS:
        raise ExportError(
            f"a {node.op_type} over {rank - 2} dimensions has no int8 form in TFLite",
            where=node_name(node),
            wanted="one or two",
        )
    return ORDERS[rank]


def result_layout(low: Lowering, node: ir.Node) -> Layout:
    return Layout.arranged(low.shape(node.outputs[0]), image_order(low, node))


def read_window(node: ir.Node, size: tuple[int, int], kernel: tuple[int, ...]) -> Window:
    """The window of a convolution or pool, ``auto_pad`` worked out; a sequence's has one row."""
    unit = [1] * (2 - len(kernel))
    strides, dilations = (
        [*unit, *node.attributes.get_ints(name, (1,) * len(kernel))] for name in ("strides", "dilations")
    )
    given = list(node.attributes.get_ints("pads", (0, 0) * len(kernel)))
    pads = given if len(kernel) == 2 else [0, given[0], 0, given[1]]
    height, width = [*unit, *kernel]
    window = Window((height, width), (strides[0], strides[1]), (dilations[0], dilations[1]), (0, 0, 0, 0))
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        totals = window.same_totals(size)
        small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
        pads = [*small, *large] if mode == "SAME_UPPER" else [*large, *small]
    elif mode == "VALID":
        pads = [0, 0, 0, 0]
    if min(pads) < 0:
        raise ExportError("negative pads are not lowered", where=node_name(node), got=given)
    return Window(window.kernel, window.strides, window.dilations, (pads[0], pads[1], pads[2], pads[3]))


def padded(
    low: Lowering, node: ir.Node, source: int, window: Window, *, fill_lowest: bool = False, same: bool = True
) -> tuple[int, int]:
    """The input and TFLite's padding mode that together mean the pads: SAME or VALID, else a PAD before VALID.

    Args:
        low, node, source: where to add, for whom, which tensor.
        window: with the pads.
        fill_lowest: fill with the smallest code (PADV2) rather than with zero (PAD).
        same: whether SAME may stand for pads that are equal to its own.
    """
    batch, height, width, channels = low.tensors[source].shape
    pads = window.pads
    if not any(pads):
        return source, VALID
    if same and window.is_same((height, width)):
        return source, SAME
    shape = (batch, height + pads[0] + pads[2], width + pads[1] + pads[3], channels)
    grid = low.grid(source)
    name = f"{node.outputs[0].name}/pad"
    result = low.add_activation(name, shape, grid)
    table = np.array([[0, 0], [pads[0], pads[2]], [pads[1], pads[3]], [0, 0]], np.int32)
    amounts = low.add_constant(f"{name}/amounts", table)
    if not fill_lowest:
        low.add_operator("PAD", [source, amounts], [result], schema.PadOptionsT(), version=2)
    else:
        value = low.add_constant(f"{name}/value", np.array([grid.limits[0]], grid.dtype), grid)
        low.add_operator("PADV2", [source, amounts, value], [result], schema.PadV2OptionsT(), version=2)
    return result, VALID
