"""Images of another size: Resize, DepthToSpace and SpaceToDepth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.tflite.layout import Layout
from edgeq.tflite.lower import Lowering
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.qdq_values import float_source, node_name, read_real_constant

__all__ = ["RESIZE"]

MODES = {  # TFLite's (align_corners, half_pixel_centers)
    "asymmetric": (False, False),
    "align_corners": (True, False),
    "half_pixel": (False, True),
    "pytorch_half_pixel": (False, True),
}


def resize(low: Lowering, node: ir.Node) -> None:
    """Bilinear or nearest over height and width, where TFLite's kernel takes the same pixels as ONNX's definition.

    Raises:
        ExportError: another mode; the message says which there are.
    """
    source = low.activation(node.inputs[0], node)
    before, after = low.shape(float_source(node.inputs[0], node)), low.shape(node.outputs[0])
    if len(after) != 4 or before[:2] != after[:2]:
        raise ExportError("a Resize of such axes is not lowered", where=node_name(node), got=f"{before} to {after}",
                          wanted="height and width of [N, C, H, W]")  # fmt: skip
    mode = node.attributes.get_string("mode", "nearest")
    coordinates = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    _check(node, mode, coordinates)
    scales = _scales(node, before, after)
    if mode == "linear":
        wanted = [_positions(before[i], after[i], scales[i], coordinates) for i in (2, 3)]
        found = [_tflite_positions(before[i], after[i], coordinates) for i in (2, 3)]
        same = all(np.allclose(w, f, atol=1e-4) for w, f in zip(wanted, found, strict=True))
        kind, options_type = "RESIZE_BILINEAR", schema.ResizeBilinearOptionsT
    else:
        rounding = node.attributes.get_string("nearest_mode", "round_prefer_floor")
        pixels = [_nearest(before[i], after[i], scales[i], coordinates, rounding) for i in (2, 3)]
        candidates = [mode for mode in MODES if _takes(mode, before, after, pixels)]
        same = bool(candidates)
        coordinates = candidates[0] if candidates else coordinates
        kind, options_type = "RESIZE_NEAREST_NEIGHBOR", schema.ResizeNearestNeighborOptionsT
    if not same:
        raise ExportError(
            "TFLite's resize takes other pixels than this one",
            where=node_name(node),
            got=f"{coordinates}, {before[2:]} to {after[2:]}, scales {scales[2:]}",
            remedy="give sizes instead of scales, or scales that make whole sizes; nearest with asymmetric and floor",
        )
    if kind == "RESIZE_BILINEAR" and any(1024 * before[i] % after[i] for i in (2, 3)):
        low.notes.append(f"{node_name(node)}: without XNNPACK, TFLite places its pixels by fractions of 10 bits only")
    align, half = MODES[coordinates]
    size = low.add_constant(f"{node.outputs[0].name}/size", np.array(after[2:], np.int32))
    options = options_type(alignCorners=align, halfPixelCenters=half)
    low.emit(node, kind, [source, size], options, version=3 if half else 2, forced=low.grid(source))


def _check(node: ir.Node, mode: str, coordinates: str) -> None:
    attributes = node.attributes
    wanted = {
        "mode": (mode, ("nearest", "linear")),
        "coordinate_transformation_mode": (coordinates, tuple(MODES)),
        "antialias": (attributes.get_int("antialias", 0), (0,)),
        "exclude_outside": (attributes.get_int("exclude_outside", 0), (0,)),
    }
    for attribute, (got, known) in wanted.items():
        if got not in known:
            raise ExportError(f"a Resize with this {attribute} has no form in TFLite", where=node_name(node), got=got,
                              wanted=" or ".join(map(str, known)))  # fmt: skip


def _scales(node: ir.Node, before: tuple[int, ...], after: tuple[int, ...]) -> list[float]:
    """The scales given, else those that the sizes make."""
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is not None and (values := read_real_constant(given, node)).size:
        axes = [axis % len(before) for axis in node.attributes.get_ints("axes", tuple(range(len(before))))]
        scales = [1.0] * len(before)
        for axis, value in zip(axes, values.ravel(), strict=True):
            scales[axis] = float(value)
        return scales
    return [a / b for a, b in zip(after, before, strict=True)]


def _positions(before: int, after: int, scale: float, coordinates: str) -> NDArray[np.float64]:
    """Where in the input each output pixel is, by ONNX's definition; outside is clamped as linear does."""
    x = np.arange(after, dtype=np.float64)
    if coordinates == "align_corners":
        position = x * (before - 1) / (after - 1) if after > 1 else 0 * x
    elif coordinates == "asymmetric":
        position = x / scale
    elif coordinates == "pytorch_half_pixel" and after == 1:
        position = 0 * x
    else:
        position = (x + 0.5) / scale - 0.5
    return np.clip(position, 0, before - 1)


def _tflite_positions(before: int, after: int, coordinates: str) -> NDArray[np.float64]:
    """The same by resize_bilinear.h: its scale is of the sizes, and one pixel has no corners to align."""
    align, half = MODES[coordinates]
    scale = (before - 1) / (after - 1) if align and after > 1 else before / after
    x = np.arange(after, dtype=np.float64)
    return np.clip((x + 0.5) * scale - 0.5 if half else x * scale, 0, before - 1)


def _nearest(before: int, after: int, scale: float, coordinates: str, rounding: str) -> list[int]:
    """The input pixel of each output pixel, by ONNX's definition, in float32 as runtimes compute it."""
    x = np.arange(after, dtype=np.float32)
    if coordinates == "align_corners":
        position = x * np.float32(before - 1) / np.float32(after - 1) if after > 1 else 0 * x
    elif coordinates == "asymmetric":
        position = x / np.float32(scale)
    elif coordinates == "pytorch_half_pixel" and after == 1:
        position = 0 * x
    else:
        position = (x + np.float32(0.5)) / np.float32(scale) - np.float32(0.5)
    rounders: dict[str, Callable[[Any], Any]] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda p: np.ceil(p - np.float32(0.5)),
        "round_prefer_ceil": lambda p: np.floor(p + np.float32(0.5)),
    }
    return [int(pixel) for pixel in np.clip(rounders[rounding](position), 0, before - 1)]


def _takes(coordinates: str, before: tuple[int, ...], after: tuple[int, ...], pixels: list[list[int]]) -> bool:
    """Whether TFLite's nearest neighbour takes these pixels (resize_nearest_neighbor.h: GetNearestNeighbor)."""
    align, half = MODES[coordinates]
    for axis, wanted in zip((2, 3), pixels, strict=True):
        corners = align and after[axis] > 1
        scale = np.float32((before[axis] - 1) / (after[axis] - 1) if corners else before[axis] / after[axis])
        position = (np.arange(after[axis], dtype=np.float32) + np.float32(0.5 if half else 0)) * scale
        rounded = np.floor(position + np.float32(0.5)) if align else np.floor(position)
        if [int(pixel) for pixel in np.clip(rounded, 0, before[axis] - 1)] != wanted:
            return False
    return True


def depth_to_space(low: Lowering, node: ir.Node) -> None:
    """Channels to pixels. TFLite's channels are [block, block, C], as in ONNX's DCR; for CRD ([C, block, block], as in
    torch's pixel shuffle) the channels are brought into that order."""
    block = node.attributes.get_int("blocksize", 1)
    shape = low.shape(float_source(node.inputs[0], node))
    mode = node.attributes.get_string("mode", "DCR")
    wanted = Layout.arranged(shape)
    if mode == "CRD":
        wanted = _channels_split(shape, block)
    source = low.activation(node.inputs[0], node, wanted)
    options = schema.DepthToSpaceOptionsT(blockSize=block)
    low.emit(node, "DEPTH_TO_SPACE", [source], options, forced=low.grid(source))


def _channels_split(shape: tuple[int, ...], block: int) -> Layout:
    """NHWC whose channels, [C / block^2, block, block] in ONNX, are [block, block, C / block^2] in memory."""
    split = (shape[0], shape[1] // block**2, block, block, *shape[2:])
    image = Layout.arranged(split, (0, 4, 5, 2, 3, 1))
    whole = image.reshaped(shape)
    assert whole is not None, "axes that are neighbours in ONNX's order are one"
    return Layout((shape[0], *shape[2:], shape[1]), whole.factors, whole.axes)


def space_to_depth(low: Lowering, node: ir.Node) -> None:
    source = low.activation(node.inputs[0], node)
    options = schema.SpaceToDepthOptionsT(blockSize=node.attributes.get_int("blocksize", 1))
    low.emit(node, "SPACE_TO_DEPTH", [source], options, forced=low.grid(source))


RESIZE = (
    Operation(
        "Resize",
        "RESIZE_BILINEAR, RESIZE_NEAREST_NEIGHBOR",
        resize,
        grid="same",
        limits="nearest and linear, where TFLite takes the same pixels; no cubic, antialias or crop",
    ),
    Operation("DepthToSpace", "DEPTH_TO_SPACE", depth_to_space, grid="same"),
    Operation("SpaceToDepth", "SPACE_TO_DEPTH", space_to_depth, grid="same"),
)
