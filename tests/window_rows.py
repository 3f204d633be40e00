"""Random windows: convolutions, pools, resizes, and reductions over axes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto
from random_graphs import Draft, Row, Shape, Value


def is_image(shape: Shape) -> bool:
    return len(shape) in (3, 4)


def _window(draft: Draft, size: Shape, *, most: int = 4, dilated: bool = False) -> dict[str, list[int]]:
    """Kernel, strides, dilations that fit, and pads smaller than the kernel."""
    kernel = [draft.integer(1, min(most, length)) for length in size]
    dilations = [1 if k == 1 or not dilated else draft.integer(1, max(1, min(3, (n - 1) // (k - 1))))
                 for k, n in zip(kernel, size, strict=True)]  # fmt: skip
    window = {"kernel_shape": kernel, "strides": [draft.one_of(1, 1, 2, 3) for _ in size]}
    if dilated:
        window["dilations"] = dilations
    return window


def _padding(draft: Draft, window: dict[str, list[int]]) -> dict[str, list[int] | str]:
    kernel = window["kernel_shape"]
    styles = ["none", "half", "any", "VALID"]
    if all(k >= stride for k, stride in zip(kernel, window["strides"], strict=True)):
        styles += ["SAME_UPPER", "SAME_LOWER"]  # onnxruntime makes the pads of others negative
    style = draft.one_of(*styles)
    if style == "half":
        halves = [k // 2 for k in kernel]
        return {"pads": [*halves, *halves]}
    if style == "any":
        return {"pads": [draft.integer(0, k - 1) for k in (*kernel, *kernel)]}
    return {} if style == "none" else {"auto_pad": style}


def conv(draft: Draft, x: Value) -> None:
    channels = x.shape[1]
    groups = draft.one_of(*(g for g in range(1, channels + 1) if channels % g == 0))
    outputs = groups * draft.integer(1, 4)
    window = _window(draft, x.shape[2:], dilated=True)
    padding = _padding(draft, window)
    if max(window["dilations"]) > 1 and "auto_pad" in padding:  # onnxruntime takes none with dilations
        padding = {}
    kernel = window["kernel_shape"]
    fan_in = channels // groups * int(np.prod(kernel))
    inputs = [x, draft.weights(outputs, channels // groups, *kernel, fan_in=fan_in)]
    if draft.chance():
        inputs.append(draft.weights(outputs))
    y = draft.one("Conv", inputs, group=groups, **window, **padding)
    follow(draft, y)


def follow(draft: Draft, y: Value) -> None:
    """Maybe a batch norm or an activation that is fused."""
    choice = draft.one_of("", "", "BatchNormalization", "Relu", "Clip")
    if choice == "BatchNormalization" and len(y.shape) in (3, 4):
        batch_norm(draft, y)
    elif choice == "Relu":
        draft.one("Relu", [y])
    elif choice == "Clip":
        draft.one("Clip", [y, draft.one_of(0.0, -1.0), draft.one_of(6.0, 1.0)])


def conv_transpose(draft: Draft, x: Value) -> None:
    channels, outputs = x.shape[1], draft.integer(1, 5)
    window = _window(draft, x.shape[2:], most=3)
    kernel, strides = window["kernel_shape"], window["strides"]
    pads = [draft.integer(0, (k - 1) // 2) for k in kernel]
    extra = [draft.integer(0, stride - 1) for stride in strides]
    inputs = [x, draft.weights(channels, outputs, *kernel, axis=1, fan_in=channels * int(np.prod(kernel)))]
    if draft.chance():
        inputs.append(draft.weights(outputs))
    y = draft.one("ConvTranspose", inputs, **window, pads=[*pads, *pads], output_padding=extra)
    follow(draft, y)


def batch_norm(draft: Draft, x: Value) -> None:
    generator = np.random.default_rng(draft.integer(0, 999))
    gamma, beta, mean = (generator.standard_normal(x.shape[1]).astype(np.float32) for _ in range(3))
    variance = generator.uniform(0.2, 2, x.shape[1]).astype(np.float32)
    draft.one("BatchNormalization", [x, gamma, beta, mean, variance], epsilon=1e-3)


def max_pool(draft: Draft, x: Value) -> None:
    window = _window(draft, x.shape[2:], most=3)
    draft.one("MaxPool", [x], **window, **_padding(draft, window), ceil_mode=_ceil(draft, window))


def _ceil(draft: Draft, window: dict[str, list[int]]) -> int:
    """Not for windows apart: onnx has a last one behind the input, which onnxruntime stops at."""
    together = all(k >= s for k, s in zip(window["kernel_shape"], window["strides"], strict=True))
    return draft.integer(0, int(together))


def average_pool(draft: Draft, x: Value) -> None:
    window = _window(draft, x.shape[2:], most=3)
    counted, ceil = draft.integer(0, 1), _ceil(draft, window)
    padding = _padding(draft, window)
    if not counted and "pads" in padding:  # what the table's limits leave
        halves = [(k - 1) // 2 for k in window["kernel_shape"]]
        padding = {"pads": [*halves, *halves]}
    draft.one("AveragePool", [x], **window, **padding, count_include_pad=counted, ceil_mode=ceil)


def resize(draft: Draft, x: Value) -> None:
    mode = draft.one_of("nearest", "linear")
    coordinates = draft.one_of("asymmetric", "align_corners", "half_pixel", "pytorch_half_pixel")
    rounding = {"asymmetric": "floor", "align_corners": "round_prefer_ceil"}.get(coordinates, "round_prefer_floor")
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if mode == "nearest":
        attributes["nearest_mode"] = rounding
    if draft.chance():
        scales = np.array([1, 1, draft.one_of(1, 2, 3), draft.one_of(1, 2, 3)], np.float32)
        draft.one("Resize", [x, None, scales], **attributes)
    else:
        size = [*x.shape[:2], draft.integer(1, 2 * x.shape[2]), draft.integer(1, 2 * x.shape[3])]
        draft.one("Resize", [x, None, None, size], **attributes)


def depth_to_space(draft: Draft, x: Value) -> None:
    draft.one("DepthToSpace", [x], blocksize=2, mode=draft.one_of("DCR", "CRD"))


def space_to_depth(draft: Draft, x: Value) -> None:
    draft.one("SpaceToDepth", [x], blocksize=2)


def plain(kind: str, *, large: float | None = None) -> Row:
    return Row(kind, lambda draft, x: draft.node(kind, [x], large=large), is_image)


def reduction(kind: str) -> Row:
    def add(draft: Draft, x: Value) -> None:
        wide = [axis for axis, size in enumerate(x.shape) if size > 1]
        chosen = sorted({draft.one_of(*wide) for _ in range(draft.integer(1, 3))} | {wide[-1]} if draft.chance()
                        else {draft.one_of(*wide)})  # fmt: skip
        axes = [axis - len(x.shape) if draft.chance() else axis for axis in chosen]
        keep = 1 if len(chosen) == len(x.shape) else draft.integer(0, 1)
        count = float(np.prod([x.shape[axis] for axis in chosen]))
        draft.one(kind, [x, axes], keepdims=keep, large=x.large * (count if kind == "ReduceSum" else 1))

    return Row(kind, add, lambda shape: len(shape) > 1 and max(shape) > 1)


def index(kind: str) -> Row:
    def add(draft: Draft, x: Value) -> None:
        axis = draft.one_of(*(axis for axis, size in enumerate(x.shape) if size > 1))
        y = draft.one(kind, [x], axis=axis, keepdims=draft.integer(0, 1))
        if draft.chance():
            draft.one("Cast", [y], to=TensorProto.INT32)

    return Row(kind, add, lambda shape: len(shape) > 1 and max(shape) > 1)


WINDOWS = (
    Row("Conv", conv, is_image),
    Row("ConvTranspose", conv_transpose, lambda shape: is_image(shape) and np.prod(shape[2:]) < 100),
    Row("BatchNormalization", batch_norm, lambda shape: len(shape) in (2, 3, 4)),
    Row("MaxPool", max_pool, is_image),
    Row("AveragePool", average_pool, is_image),
    plain("GlobalAveragePool"),
    plain("GlobalMaxPool"),
    Row("Resize", resize, lambda shape: len(shape) == 4 and np.prod(shape) < 400),
    Row("DepthToSpace", depth_to_space, lambda shape: len(shape) == 4 and shape[1] % 4 == 0),
    Row("SpaceToDepth", space_to_depth, lambda shape: len(shape) == 4 and shape[2] % 2 == shape[3] % 2 == 0),
    *(reduction(kind) for kind in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")),
    *(index(kind) for kind in ("ArgMax", "ArgMin")),
)
