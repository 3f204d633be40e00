"""Where a network's activations are rounded in its artifact, and which calls of torch functions compute them there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir
from torch import nn

from edgeq.errors import ModelError
from edgeq.export.activations import PIXEL_GRID, ActivationGrid, GridGroup, grid_groups
from edgeq.export.aten import CALL
from edgeq.export.decompose import decompose
from edgeq.export.float_onnx import export_with_calls
from edgeq.export.fold import fold_model
from edgeq.export.qdq import quantized_values
from edgeq.tflite.ops import OPERATIONS

__all__ = ["Ranges", "Sites", "find_sites"]

REMEDY = "train with --activations float"
ROUNDED_ANEW = {"AveragePool", "GlobalAveragePool", "Resize"}

Ranges = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Sites:
    """The points of a forward pass at which the artifact rounds.

    Attributes:
        calls: the name of the function of each numbered call, in order.
        names: by the number of a call whose result is rounded, the value's name in ONNX and TFLite.
        groups: all values that share a grid with one of those.
    """

    calls: tuple[str, ...]
    names: Mapping[int, str]
    groups: tuple[GridGroup, ...]

    def ranges(self, seen: Ranges) -> dict[str, tuple[float, float]]:
        """The range of every member of every group, from those of the values that are rounded.

        A group's is what its members join to; one without a range of its own has that of a grid it is given.
        """
        result: dict[str, tuple[float, float]] = {}
        for group in self.groups:
            ranges = [seen[name] for name in group.members if name in seen]
            ranges += [] if ranges else [(grid.low, grid.high) for grid in group.given.values()]
            joined = min(low for low, _ in ranges), max(high for _, high in ranges)
            result |= dict.fromkeys(group.members, joined)
        return result

    def grids(self, seen: Ranges) -> dict[str, ActivationGrid]:
        """The grids that the exporter makes of the same ranges, by value name."""
        ranges = self.ranges(seen)
        return {name: grid for group in self.groups for name, grid in group.grids(ranges).items()}


def find_sites(model: nn.Module, input_shape: Sequence[int], *, power_of_two: bool = False) -> Sites:
    """Trace a network as the exporter does, and find what it will put Q and DQ behind.

    Args:
        model: logits [N, classes] out of images on the grid of pixels; on the CPU. It is left as it was.
        input_shape: without the batch.
        power_of_two: whether scales are powers of two.

    Raises:
        ModelError: the network is not traced to its single operations, or a value that is rounded is computed inside
            of a function.
        ExportError: torch cannot trace the network.
    """
    exported, calls = export_with_calls(model, tuple(input_shape))
    if exported is None:
        raise ModelError(
            "the activations of this network cannot be rounded while it trains: it has operations that edgeq does not "
            "trace one by one",
            where=type(model).__name__,
            remedy=REMEDY,
        )
    decompose(exported)
    fold_model(exported, {})
    names: dict[int, str] = {}
    last = _last_of_calls(exported)
    for value in quantized_values(exported):
        if _is_exact(value):
            continue
        call = value.metadata_props.get(CALL)
        if call is None or last[call] is not value:
            raise ModelError(
                "an activation that the artifact rounds is computed inside of a function",
                where=f"value {value.name}",
                remedy=REMEDY,
            )
        names[int(call)] = str(value.name)
    kept = {str(value.name) for value in quantized_values(exported)}
    groups = grid_groups(exported, {"input": PIXEL_GRID}, power_of_two=power_of_two)
    return Sites(calls, names, tuple(group for group in groups if kept & {*group.members}))


def _last_of_calls(model: ir.Model) -> dict[str, ir.Value]:
    """By call, the value that the last of its operations computes."""
    return {
        value.metadata_props[CALL]: value
        for node in model.graph
        for value in node.outputs
        if CALL in value.metadata_props
    }


def _is_exact(value: ir.Value) -> bool:
    """Whether rounding a value changes nothing: an input has its grid, and what moves or selects codes keeps them."""
    node = value.producer()
    return node is None or (OPERATIONS[node.op_type].grid == "same" and node.op_type not in ROUNDED_ANEW)
