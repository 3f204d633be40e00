"""Carry grids over operations that keep them, so that every activation has a pair of Q and DQ of its own.

Producers leave pairs out where a runtime has no use for them. An operation that only moves values about, or takes the
largest, gives values of its input's grid, and does the same to codes as to numbers: a pair put before or after it
changes nothing. Where no such reason gives a grid, it is taken from a rule of TFLite, or from data.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgeq.errors import ExportError
from edgeq.export.activations import ActivationGrid, is_real
from edgeq.foreign.editor import DEQUANTIZE, QUANTIZE, Editor, dequantizer, float_readers, quantizers, same_grid
from edgeq.tflite.clamp import bounds_of, following_clamp
from edgeq.tflite.ops import OPERATIONS
from edgeq.tflite.qdq_values import grid_of, node_name

__all__ = ["Ranges", "name_outputs", "share_grids", "spread_grids", "supply_grids"]

Ranges = Callable[[], dict[str, tuple[float, float]]]

MOVES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Identity", "Dropout", "Gather", "Split",
         "DepthToSpace", "SpaceToDepth", "Expand", "MaxPool", "Tile", "GlobalMaxPool", "ReduceMax",
         "ReduceMin"}  # fmt: skip
KEEPS = MOVES | {"Relu", "Concat"}
FUSES = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Sub", "Mul", "MaxPool", "AveragePool"}


def share_grids(editor: Editor) -> None:
    """Let whoever reads a quantized value as it was before Q read it after DQ: int8 has nothing else to give."""
    for value in _activations(editor):
        users, pairs = float_readers(value), quantizers(value)
        if not pairs or not (users or value.is_graph_output()):
            continue
        after = next((user.outputs[0] for user, _ in pairs[0].outputs[0].uses() if user.op_type == DEQUANTIZE), None)
        if after is None:
            after = editor.node(DEQUANTIZE, [pairs[0].outputs[0], *editor.parameters(pairs[0])],
                                f"{value.name}_on_grid", value).outputs[0]  # fmt: skip
            editor.graph.insert_after(pairs[0], after.producer())  # type: ignore[arg-type]
        for user, slot in users:
            user.replace_input_with(slot, after)
            if dequantizer(value) is None:
                editor.notes.append(f"{node_name(user)} reads {value.name} in float in ONNX, and its int8 codes here")


def spread_grids(editor: Editor) -> None:
    """Put pairs behind and before the operations that keep a grid."""
    for node in list(editor.graph):
        if node.op_type in KEEPS and (source := _one_grid(node)) is not None:
            for value in node.outputs:
                if not any(same_grid(source, user) for user in quantizers(value)) and (
                    float_readers(value) or value.is_graph_output()
                ):
                    _attach(editor, value, *editor.parameters(source))
    share_grids(editor)
    for node in reversed(list(editor.graph)):
        if node.op_type in KEEPS and len(node.outputs) == 1 and (pairs := quantizers(node.outputs[0])):
            if float_readers(node.outputs[0]) or not all(same_grid(pairs[0], pair) for pair in pairs):
                continue
            for value in dict.fromkeys(_operands(node)):
                alone = all(user is node for user, _ in value.uses()) and not value.is_graph_output()
                if alone and dequantizer(value) is None and not (node.op_type == "Relu" and _fuses(value)):
                    editor.pair(value, *editor.parameters(pairs[0]))


def supply_grids(editor: Editor, ranges: Ranges | None) -> None:
    """Give what is still without a grid the one that TFLite's kernel prescribes, or one from data.

    Args:
        editor: the graph.
        ranges: the (low, high) of every value over a calibration set; None where there is none.

    Raises:
        ExportError: a grid is missing and there are no data; names the node.
    """
    known: dict[str, tuple[float, float]] | None = None
    for value in _activations(editor):
        if quantizers(value) or dequantizer(value) is not None or _is_fused(value):
            continue
        producer = value.producer()
        row = OPERATIONS.get(producer.op_type) if producer is not None else None
        sources = [dequantizer(item) for item in _operands(producer)] if producer is not None else []
        if producer is not None and row is not None and row.fixed_grid is not None:
            scale, zero_point = row.fixed_grid
            why = f"the {scale:g} that TFLite fixes"
        elif producer is not None and row is not None and row.grid == "same" and sources and all(sources):
            grids = [source for source in sources if source is not None]
            widest = max(grids, key=lambda source: grid_of(source).scale[0])
            if all(_covers(widest, source) for source in grids):
                _attach(editor, value, *editor.parameters(widest))
                if producer.op_type not in MOVES:
                    editor.notes.append(f"{node_name(producer)} has no grid in ONNX: it gets its input's")
                continue
            ends = [end for source in grids for end in _ends(source)]
            grid = ActivationGrid.from_range(min(ends), max(ends))
            scale, zero_point, why = grid.scale, grid.zero_point, f"{grid.scale:g}, which holds all of its inputs"
        else:
            if ranges is None:
                raise _missing(editor, value)
            known = ranges() if known is None else known
            if str(value.name) not in known:
                raise ExportError("calibration gave no range", where=f"value {value.name}")
            grid = ActivationGrid.from_range(*known[str(value.name)])
            scale, zero_point = grid.scale, grid.zero_point
            why = f"{scale:g} from the calibration data"
        name = str(value.name)
        parts = [editor.constant(f"{name}_scale", np.array(scale, np.float32)),
                 editor.constant(f"{name}_zero_point", np.array(zero_point, np.int8))]  # fmt: skip
        _attach(editor, value, *parts)
        editor.notes.append(f"the value {name} has no grid in ONNX: its scale is {why}")


def name_outputs(editor: Editor) -> None:
    """The graph's outputs are what DQ gives."""
    for value in editor.graph.outputs:
        if dequantizer(value) is None and is_real(value):
            raise ExportError("the output is not quantized", where=f"output {value.name}")


def _missing(editor: Editor, value: ir.Value) -> ExportError:
    producer = value.producer()
    where = f"input {value.name}" if producer is None else node_name(producer)
    return ExportError(
        f"the value {value.name} has no int8 grid",
        where=where,
        wanted="QuantizeLinear after it",
        remedy="give --calibration-data, and it gets one from the range of the data; or let the quantizer place it",
    )


def _activations(editor: Editor) -> list[ir.Value]:
    """Inputs and what float operations give, in order."""
    values = list(editor.graph.inputs)
    for node in editor.graph:
        if node.op_type not in (QUANTIZE, DEQUANTIZE):
            values += [value for value in node.outputs if is_real(value) and (value.uses() or value.is_graph_output())]
    return values


def _operands(node: ir.Node) -> list[ir.Value]:
    slots = range(1)
    if node.op_type in ("Concat", "Max", "Min", "Where"):
        slots = range(1 if node.op_type == "Where" else 0, len(node.inputs))
    return [value for slot in slots if (value := node.inputs[slot]) is not None]


def _one_grid(node: ir.Node) -> ir.Node | None:
    """The DQ whose grid all of a node's operands are on."""
    sources = [dequantizer(value) for value in _operands(node)]
    first = sources[0] if sources else None
    if first is None or any(source is None or not same_grid(first, source) for source in sources):
        return None
    return None if first.inputs[0] is None or first.inputs[0].const_value is not None else first


def _ends(node: ir.Node) -> tuple[float, float]:
    """The least and largest number of a DQ's grid."""
    grid = grid_of(node)
    scale, zero_point = float(grid.scale[0]), int(grid.zero_point[0])
    least, most = grid.limits
    return scale * (least - zero_point), scale * (most - zero_point)


def _covers(wide: ir.Node, other: ir.Node) -> bool:
    """Whether a grid holds another's range, give or take half a step."""
    (low, high), (least, most), half = _ends(wide), _ends(other), float(grid_of(wide).scale[0]) / 2
    return low - half <= least and most <= high + half


def _attach(editor: Editor, value: ir.Value, scale: ir.Value, zero_point: ir.Value) -> None:
    """A pair that all users read, and the graph's output if it was the value; that keeps its name."""
    ends = value.is_graph_output()
    after = editor.pair(value, scale, zero_point)
    if ends:
        name = value.name
        value.name = editor.unique(f"{name}_QuantizeLinear_Input")
        outputs = editor.graph.outputs
        for i, output in enumerate(outputs):
            if output is value:
                outputs[i] = after
        after.name = name


def _fuses(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type in FUSES


def _is_fused(value: ir.Value) -> bool:
    """Whether a value is never stored: the Relu and Clip behind it, to the one that has a grid, are bounds on codes."""
    producer = value.producer()
    if producer is None or not (producer.op_type in FUSES or bounds_of(producer) is not None):
        return False
    return following_clamp(value)[0] is not value
