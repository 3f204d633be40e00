"""Make every Q and DQ of the activations a pair on one grid: explicit zero points, real ends of the graph, clips and
requantization of codes kept apart."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeq.errors import ExportError
from edgeq.foreign.editor import DEQUANTIZE, QUANTIZE, Editor, dequantizer, same_grid
from edgeq.tflite.qdq_values import check_scale, grid_of, node_name, read_constant

__all__ = ["check_pairs", "give_zero_points", "real_ends", "separate_clips", "separate_requantization"]

INTEGERS = (ir.DataType.INT8, ir.DataType.UINT8)


def give_zero_points(editor: Editor) -> None:
    """Rename com.microsoft's Q and DQ, check every scale and write out the zero points that are left to their defaults.

    Raises:
        ExportError: a scale that is computed, zero, negative, NaN, infinite or denormal; names the node.
    """
    for node in editor.graph:
        if node.op_type not in (QUANTIZE, DEQUANTIZE):
            continue
        if node.domain == "com.microsoft":
            node.domain = ""
        _check(node)
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            continue
        scale = read_constant(node.inputs[1], node)
        kind = ir.DataType(node.attributes.get_int("output_dtype", 0)) or ir.DataType.UINT8
        if node.op_type == DEQUANTIZE:
            assert node.inputs[0] is not None
            kind = node.inputs[0].dtype or ir.DataType.UINT8
        if len(node.inputs) < 3:
            node.resize_inputs(3)
        zero_point = np.zeros(scale.shape, kind.numpy())
        node.replace_input_with(2, editor.constant(f"{node.outputs[0].name}_zero_point", zero_point))


def _check(node: ir.Node) -> None:
    scale = node.inputs[1]
    if scale is None or scale.const_value is None:
        raise ExportError(
            "the scale is not constant",
            where=node_name(node),
            got=None if scale is None else scale.name,
            remedy="quantize statically: dynamic quantization computes its scales at run time",
        )
    values = np.atleast_1d(scale.const_value.numpy()).astype(np.float32)
    check_scale(values, str(node.inputs[0].name) if node.inputs[0] is not None else "", node)
    tiny = values[values < np.finfo(np.float32).tiny]
    if tiny.size:
        raise ExportError("the scale is denormal", where=node_name(node), got=tiny.flat[0], wanted="at least 1.2e-38")
    if len(node.inputs) > 2 and node.inputs[2] is not None and node.inputs[2].const_value is None:
        raise ExportError("the zero point is not constant", where=node_name(node), got=node.inputs[2].name)


def real_ends(editor: Editor) -> None:
    """Give integer inputs a Q and integer outputs a DQ, so that the graph's ends are real numbers.

    Raises:
        ExportError: an input or output of integers whose scale is not known.
    """
    graph = editor.graph
    for value in list(graph.inputs):
        readers = [user for user, slot in value.uses() if user.op_type == DEQUANTIZE and slot == 0]
        if not readers:
            continue
        if value.dtype not in INTEGERS:
            raise ExportError("an input has a type that is not read", where=f"input {value.name}",
                              got=str(value.dtype).lower(), wanted="int8, uint8 or floats")  # fmt: skip
        if len(readers) < len(value.uses()) or not all(same_grid(readers[0], other) for other in readers):
            raise ExportError("an integer input has no one scale", where=f"input {value.name}", wanted="one reader, DQ")
        users = list(value.uses())
        quantize = editor.node(
            QUANTIZE, [value, *editor.parameters(readers[0])], f"{value.name}_codes", value, value.dtype
        )
        value.type = ir.TensorType(ir.DataType.FLOAT)
        for user, slot in users:
            user.replace_input_with(slot, quantize.outputs[0])
        graph.insert_before(graph[0], quantize)
    for value in list(graph.outputs):
        if value.dtype not in INTEGERS:
            continue
        producer = value.producer()
        if producer is None or producer.op_type not in (QUANTIZE, "Clip"):
            raise ExportError(
                "an integer output has no scale", where=f"output {value.name}", wanted="QuantizeLinear before it"
            )
        name = str(value.name)
        source = producer.inputs[0].producer() if producer.op_type == "Clip" and producer.inputs[0] else producer
        if source is None or source.op_type != QUANTIZE:
            raise ExportError("an integer output has no scale", where=f"output {name}")
        value.name = editor.unique(f"{name}_codes")
        dequantize = editor.node(DEQUANTIZE, [value, *editor.parameters(source)], f"{name}_real", value)
        graph.outputs[graph.outputs.index(value)] = dequantize.outputs[0]
        dequantize.outputs[0].name = name
        graph.insert_after(producer, dequantize)
        if value.dtype == ir.DataType.UINT8:
            editor.notes.append(f"output {name} is uint8 in ONNX: --io uint8 gives its bytes, int8 is 128 less")


def separate_clips(editor: Editor) -> None:
    """A Clip of codes between Q and DQ becomes a Clip of the numbers, after the pair, on the same grid.

    Raises:
        ExportError: a Clip of codes that is not between Q and DQ.
    """
    graph = editor.graph
    for clip in [node for node in graph if node.op_type == "Clip"]:
        codes, clipped = clip.inputs[0], clip.outputs[0]
        quantize = codes.producer() if codes is not None else None
        if quantize is None or quantize.op_type != QUANTIZE or codes is None:
            continue
        if any(user.op_type != DEQUANTIZE for user, _ in clipped.uses()):
            raise ExportError("codes are clipped outside of a pair of Q and DQ", where=node_name(clip))
        scale, zero_point = editor.parameters(quantize)
        limits = np.iinfo(read_constant(zero_point, quantize).dtype)
        low, high = (_bound(clip, slot, end) for slot, end in ((1, int(limits.min)), (2, int(limits.max))))
        if low <= limits.min and high >= limits.max:
            clipped.replace_all_uses_with(codes)
            continue
        step, zero = read_constant(scale, quantize).item(), int(read_constant(zero_point, quantize).item())
        dequantize = editor.node(DEQUANTIZE, [codes, scale, zero_point], f"{clipped.name}_whole", codes)
        bounds: list[ir.Value | None] = []
        for word, code, end in (("low", low, limits.min), ("high", high, limits.max)):
            real = np.float32((code - zero) * step)
            bounds.append(None if code == end else editor.constant(f"{clipped.name}_{word}", np.asarray(real)))
        real_clip = editor.node("Clip", [dequantize.outputs[0], *bounds], f"{clipped.name}_real", codes)
        again = editor.node(
            QUANTIZE, [real_clip.outputs[0], scale, zero_point], f"{clipped.name}_codes", codes, codes.dtype
        )
        graph.insert_after(clip, [dequantize, real_clip, again])
        clipped.replace_all_uses_with(again.outputs[0])


def _bound(clip: ir.Node, slot: int, open_end: int) -> int:
    value = clip.inputs[slot] if len(clip.inputs) > slot else None
    return open_end if value is None else int(read_constant(value, clip).item())


def check_pairs(editor: Editor) -> None:
    """Refuse codes that are read on another grid than they were written on, and DQ of what is no Q.

    Raises:
        ExportError: names the node.
    """
    for node in editor.graph:
        if node.op_type != DEQUANTIZE or node.inputs[0] is None or node.inputs[0].const_value is not None:
            continue
        quantize = node.inputs[0].producer()
        if quantize is None or quantize.op_type != QUANTIZE:
            got = f"input {node.inputs[0].name}" if quantize is None else quantize.op_type
            raise ExportError("dequantizes what no QuantizeLinear gave", where=node_name(node), got=got)
        if not same_grid(quantize, node):
            one, other = grid_of(quantize), grid_of(node)
            raise ExportError(
                "reads codes on another grid than they were written on",
                where=node_name(node),
                got=f"scale {other.scale[0]:g}, zero point {other.zero_point[0]}",
                wanted=f"scale {one.scale[0]:g}, zero point {one.zero_point[0]}, of {node_name(quantize)}",
                remedy="give Q and DQ one scale and zero point",
            )


def separate_requantization(editor: Editor) -> None:
    """Where DQ feeds Q: nothing if they are on one grid, else an Identity between, which becomes a QUANTIZE."""
    graph = editor.graph
    for quantize in [node for node in graph if node.op_type == QUANTIZE]:
        value = quantize.inputs[0]
        dequantize = dequantizer(value)
        if dequantize is None or value is None or dequantize.inputs[0] is None:
            continue
        if same_grid(dequantize, quantize) and not quantize.outputs[0].is_graph_output():
            quantize.outputs[0].replace_all_uses_with(dequantize.inputs[0])
            continue
        identity = editor.node("Identity", [value], f"{quantize.outputs[0].name}_requantized", value)
        graph.insert_before(quantize, identity)
        quantize.replace_input_with(0, identity.outputs[0])
