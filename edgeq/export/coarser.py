"""Results whose calibrated range is too narrow for any kernel: a wider one.

Where what a layer reads is zero on the whole calibration set, its range says nothing of the numbers it works with, and
what is computed from it may be as small as an epsilon. Kernels stop at such ratios: XNNPACK does not load a file with a
layer whose input scale x step is 256 output scales or more, and LiteRT's ADD and SUB divide by twice the coarser of
their input scales, in 20 bits.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgeq.export.activations import ActivationGrid, activation_grids
from edgeq.export.channels import layer_result
from edgeq.export.layer_parts import bias_place, output_axis
from edgeq.grid import QuantizedWeight

__all__ = ["widen_ranges"]

MOST = {"Conv": 2.0**8, "ConvTranspose": 2.0**8, "Gemm": 2.0**8, "MatMul": 2.0**8, "Add": 2.0**19, "Sub": 2.0**19}
"""By operation, how many steps of its result one step of what it computes from may be, exclusive."""

Ranges = dict[str, tuple[float, float]]


def widen_ranges(
    model: ir.Model,
    ranges: Ranges,
    weights: Mapping[str, QuantizedWeight],
    pinned: Mapping[str, ActivationGrid],
    *,
    power_of_two: bool = False,
) -> tuple[Ranges, dict[str, ActivationGrid]]:
    """The ranges with those widened that have too fine an int8 grid, and the int8 grids of all of them.

    Args:
        model: float, batch norms folded.
        ranges: the calibrated (low, high) of each activation by name.
        weights: by initializer name, of the layers in int8.
        pinned, power_of_two: as of :func:`edgeq.export.activations.activation_grids`. What is pinned stays.
    """
    done: set[str] = set()
    while True:
        grids = activation_grids(model, ranges, pinned, "int8", power_of_two=power_of_two)
        excesses = {name: excess for name, excess in _excesses(model, weights, grids).items() if name not in done}
        if not excesses:
            return ranges, grids
        done |= excesses.keys()
        wider = {name: (excess * ranges[name][0], excess * ranges[name][1]) for name, excess in excesses.items()}
        ranges = {**ranges, **wider}


def _excesses(
    model: ir.Model, weights: Mapping[str, QuantizedWeight], grids: Mapping[str, ActivationGrid]
) -> dict[str, float]:
    """By name, how often the grids of results are too fine, times two for the limit is exclusive; of those alone."""
    found: dict[str, float] = {}
    biases: set[ir.Node] = set()
    for node in model.graph:
        scales = [grids[str(value.name)].scale for value in node.inputs if value is not None and value.name in grids]
        if node.op_type not in MOST or not scales or node in biases:
            continue
        if stored := [str(value.name) for value in node.inputs if value is not None and value.name in weights]:
            unit = scales[0] * _largest_step(weights[stored[0]], output_axis(node))
            if (place := bias_place(node)) is not None:
                biases.add(place[0])
        else:
            unit = max(scales) if node.op_type in ("Add", "Sub") else float(np.prod(scales))
        name = str(layer_result(node).name)
        if name not in grids:  # within a GELU that becomes one operation
            continue
        if (ratio := unit / (MOST[node.op_type] * grids[name].scale)) >= 1:
            found[name] = 2 * ratio
    return found


def _largest_step(weight: QuantizedWeight, axis: int) -> float:
    """The largest step of a channel that is not zero."""
    codes = np.moveaxis(weight.codes, axis, 0)
    live = codes.reshape(len(codes), -1).any(axis=1)
    return float(np.max(np.broadcast_to(weight.step, live.shape), where=live, initial=0.0))
