"""Convolutions, pools and resizes."""

from __future__ import annotations

import numpy as np
from int8_models import Constant, weights
from operation_case import Case, Shape


def conv(about: str, attributes: str, becomes: str, shape: Shape, *, bias: bool = True, size: Shape = (6, 11)) -> Case:
    """A convolution of 3 channels (or as many as the groups need)."""
    groups = int(attributes.split("group = ")[1].split(",")[0]) if "group" in attributes else 1
    constants: dict[str, Constant] = {"w": weights(*shape)}
    if bias:
        constants["b"] = weights(shape[0])
    inputs = {"x": (1, shape[1] * groups, *size)}
    text = f"y = Conv <{attributes}> (x, w{', b' if bias else ''})"
    return Case("Conv", about, text, becomes, constants, inputs)


def pool(row: str, about: str, attributes: str, becomes: str, size: Shape = (6, 11)) -> Case:
    return Case(row, about, f"y = {row} <{attributes}> (x)", becomes, inputs={"x": (1, 3, *size)})


CONV = (
    conv("plain", "strides = [1, 1]", "CONV_2D", (5, 3, 3, 2)),
    conv("no bias", "pads = [1, 1, 1, 1]", "CONV_2D", (5, 3, 3, 3), bias=False),
    conv("1x1", "strides = [1, 1]", "CONV_2D", (5, 3, 1, 1)),
    conv("1x1 stride 2", "strides = [2, 2]", "CONV_2D", (5, 3, 1, 1)),
    conv("same stride 2 odd", "pads = [1, 1, 1, 1], strides = [2, 2]", "CONV_2D", (5, 3, 3, 3), size=(7, 11)),
    conv("torch pads stride 2 even", "pads = [1, 1, 1, 1], strides = [2, 2]", "PAD CONV_2D", (5, 3, 3, 3), size=(6, 8)),
    conv("same one way only", "pads = [1, 1, 1, 1], strides = [2, 2]", "PAD CONV_2D", (5, 3, 3, 3), size=(7, 8)),
    conv("stride 3", "pads = [1, 1, 1, 1], strides = [3, 3]", "PAD CONV_2D", (5, 3, 3, 3)),
    conv("strides 3 and 2", "pads = [2, 1, 0, 3], strides = [3, 2]", "PAD CONV_2D", (5, 3, 3, 4)),
    conv("asymmetric pads", "pads = [0, 2, 1, 3]", "PAD CONV_2D", (5, 3, 3, 3)),
    conv("same upper", 'auto_pad = "SAME_UPPER", strides = [2, 2]', "CONV_2D", (5, 3, 3, 4)),
    conv("same lower", 'auto_pad = "SAME_LOWER", strides = [2, 2]', "PAD CONV_2D", (5, 3, 3, 4)),
    conv("same lower that is upper", 'auto_pad = "SAME_LOWER"', "CONV_2D", (5, 3, 3, 5)),
    conv("auto pad valid", 'auto_pad = "VALID"', "CONV_2D", (5, 3, 3, 5)),
    conv("dilation", "pads = [2, 3, 2, 3], dilations = [2, 3]", "CONV_2D", (5, 3, 3, 3)),
    conv("groups", "group = 2, pads = [1, 1, 1, 1]", "CONV_2D", (6, 4, 3, 3)),
    conv("depthwise", "group = 5, pads = [1, 1, 1, 1]", "DEPTHWISE_CONV_2D", (5, 1, 3, 3)),
    conv("depthwise times 3", "group = 4, pads = [1, 0, 1, 0]", "DEPTHWISE_CONV_2D", (12, 1, 3, 1)),
    conv("depthwise stride dilated", "group = 4, dilations = [2, 2]", "DEPTHWISE_CONV_2D", (4, 1, 2, 3)),
    Case(
        "Conv",
        "of a sequence",
        "y = Conv <pads = [1, 1], strides = [2]> (x, w, b)",
        "RESHAPE TRANSPOSE CONV_2D RESHAPE TRANSPOSE",
        {"w": weights(5, 3, 3), "b": weights(5)},
        {"x": (1, 3, 11)},
    ),
    Case(
        "Conv",
        "of sequences in a row",
        "c = Conv <pads = [2, 0], dilations = [2]> (x, w)\n r = Relu (c)\n y = Conv <group = 5, pads = [1, 1]> (r, v)",
        "RESHAPE TRANSPOSE PAD CONV_2D DEPTHWISE_CONV_2D RESHAPE TRANSPOSE",
        {"w": weights(5, 3, 3), "v": weights(10, 1, 3)},
        {"x": (1, 3, 11)},
    ),
    Case(
        "Conv",
        "32 groups",
        "y = Conv <group = 32, pads = [1, 1, 1, 1]> (x, w, b)",
        "CONV_2D",
        {"w": weights(96, 2, 3, 3), "b": weights(96)},
        {"x": (1, 64, 5, 7)},
    ),
    Case(
        "Conv",
        "depthwise asymmetric stride",
        "y = Conv <group = 3, pads = [0, 1, 2, 1], strides = [2, 1]> (x, w)",
        "PAD DEPTHWISE_CONV_2D",
        {"w": weights(6, 1, 3, 3)},
    ),
    Case("Conv", "1 channel", "y = Conv (x, w)", "CONV_2D", {"w": weights(4, 1, 3, 2)}, {"x": (1, 1, 5, 7)}),
)

POOL = (
    pool("MaxPool", "plain", "kernel_shape = [2, 3], strides = [2, 3]", "MAX_POOL_2D"),
    pool("MaxPool", "same", "kernel_shape = [3, 3], pads = [1, 1, 1, 1]", "MAX_POOL_2D"),
    pool("MaxPool", "torch pads", "kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]", "PADV2 MAX_POOL_2D",
         (6, 8)),
    pool("MaxPool", "asymmetric pads", "kernel_shape = [3, 3], pads = [0, 2, 1, 0]", "PADV2 MAX_POOL_2D"),
    pool("MaxPool", "ceil", "kernel_shape = [3, 2], strides = [2, 2], ceil_mode = 1", "MAX_POOL_2D", (6, 11)),
    pool("MaxPool", "ceil and pads", "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], ceil_mode = 1",
         "PADV2 MAX_POOL_2D", (6, 9)),
    pool("MaxPool", "same lower", 'kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_LOWER"',
         "PADV2 MAX_POOL_2D", (6, 8)),
    pool("AveragePool", "plain", "kernel_shape = [2, 3], strides = [2, 3]", "DEPTHWISE_CONV_2D"),
    pool("AveragePool", "2x2", "kernel_shape = [2, 2], strides = [2, 2]", "DEPTHWISE_CONV_2D", (6, 8)),
    pool("AveragePool", "2x2 of odd sides", "kernel_shape = [2, 2], strides = [2, 2]", "DEPTHWISE_CONV_2D", (7, 11)),
    pool("AveragePool", "2x2 stride 3", "kernel_shape = [2, 2], strides = [3, 3]", "DEPTHWISE_CONV_2D", (8, 11)),
    pool("AveragePool", "2x2 everywhere", "kernel_shape = [2, 2]", "DEPTHWISE_CONV_2D"),
    pool("AveragePool", "2x2 pads counted", "kernel_shape = [2, 2], pads = [0, 0, 1, 1], count_include_pad = 1",
         "DEPTHWISE_CONV_2D"),
    pool("AveragePool", "1x3", "kernel_shape = [1, 3], strides = [1, 2]", "DEPTHWISE_CONV_2D"),
    pool("AveragePool", "25 taps", "kernel_shape = [5, 5]", "DEPTHWISE_CONV_2D"),
    pool("AveragePool", "30 taps", "kernel_shape = [5, 6]", "AVERAGE_POOL_2D"),
    pool("AveragePool", "of the whole image", "kernel_shape = [6, 11]", "MEAN"),
    pool("AveragePool", "pads left out", "kernel_shape = [3, 3], pads = [1, 1, 1, 1]", "AVERAGE_POOL_2D"),
    pool("AveragePool", "pads counted", "kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1",
         "DEPTHWISE_CONV_2D"),
    pool("AveragePool", "asymmetric pads counted",
         "kernel_shape = [3, 2], pads = [0, 1, 2, 0], count_include_pad = 1", "PAD DEPTHWISE_CONV_2D"),
    pool("AveragePool", "ceil", "kernel_shape = [3, 2], strides = [2, 2], ceil_mode = 1", "AVERAGE_POOL_2D"),
    pool("AveragePool", "same upper", 'kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_UPPER"',
         "AVERAGE_POOL_2D"),
    pool("AveragePool", "same upper counted",
         'kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_UPPER", count_include_pad = 1',
         "DEPTHWISE_CONV_2D"),
    pool("AveragePool", "torch pads left out", "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]",
         "AVERAGE_POOL_2D STRIDED_SLICE", (6, 8)),
    pool("AveragePool", "pads left out before only", "kernel_shape = [3, 2], strides = [2, 3], pads = [1, 0, 0, 0]",
         "AVERAGE_POOL_2D STRIDED_SLICE", (6, 8)),
    pool("AveragePool", "ceil and pads counted",
         "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], ceil_mode = 1, count_include_pad = 1",
         "PAD AVERAGE_POOL_2D", (8, 10)),
    pool("AveragePool", "ceil that reaches no further, pads counted",
         "kernel_shape = [3, 3], strides = [3, 2], pads = [1, 1, 1, 1], ceil_mode = 1, count_include_pad = 1",
         "DEPTHWISE_CONV_2D", (7, 9)),
    Case("AveragePool", "of a sequence", "y = AveragePool <kernel_shape = [3], strides = [2]> (x)",
         "RESHAPE TRANSPOSE DEPTHWISE_CONV_2D RESHAPE TRANSPOSE", inputs={"x": (1, 3, 11)}),
    Case("MaxPool", "of a sequence, padded", "y = MaxPool <kernel_shape = [3], strides = [2], pads = [1, 1]> (x)",
         "RESHAPE TRANSPOSE PADV2 MAX_POOL_2D RESHAPE TRANSPOSE", inputs={"x": (1, 3, 12)}),
    Case("AveragePool", "after tanh", "t = Tanh (x)\n y = AveragePool <kernel_shape = [2, 2]> (t)",
         "TANH DEPTHWISE_CONV_2D"),
    Case("MaxPool", "before relu", "m = MaxPool <kernel_shape = [2, 2]> (x)\n y = Relu (m)", "MAX_POOL_2D QUANTIZE"),
)  # fmt: skip


def transposed(about: str, attributes: str, becomes: str, kernel: Shape, *, bias: bool = True) -> Case:
    """A transposed convolution of 3 channels to 5."""
    constants: dict[str, Constant] = {"w": weights(3, 5, *kernel)}
    if bias:
        constants["b"] = weights(5)
    text = f"y = ConvTranspose <{attributes}> (x, w{', b' if bias else ''})"
    return Case("ConvTranspose", about, text, becomes, constants, {"x": (1, 3, 4, 7)})


CONV_TRANSPOSE = (
    transposed("plain", "strides = [1, 1]", "TRANSPOSE_CONV", (3, 2)),
    transposed("doubling without overlap", "strides = [2, 2]", "TRANSPOSE_CONV", (2, 2)),
    transposed("doubling with even kernel", "strides = [2, 2], pads = [1, 1, 1, 1]", "TRANSPOSE_CONV", (4, 4)),
    transposed("doubling as torch does", "strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]",
               "TRANSPOSE_CONV STRIDED_SLICE", (3, 3)),
    transposed("output padding past the end", "strides = [3, 2], output_padding = [2, 1]", "TRANSPOSE_CONV", (3, 2)),
    transposed("kernel below stride", "strides = [3, 3]", "TRANSPOSE_CONV", (2, 1)),
    transposed("asymmetric", "strides = [2, 3], pads = [0, 2, 1, 0]", "TRANSPOSE_CONV STRIDED_SLICE", (3, 5)),
    transposed("no bias", "strides = [1, 2], pads = [1, 1, 1, 1]", "TRANSPOSE_CONV", (3, 3), bias=False),
    Case("ConvTranspose", "relu", "c = ConvTranspose <strides = [2, 2]> (x, w, b)\n y = Relu (c)", "TRANSPOSE_CONV",
         {"w": weights(3, 5, 2, 2), "b": weights(5)}, {"x": (1, 3, 4, 7)}),
    Case("ConvTranspose", "of a sequence", "y = ConvTranspose <strides = [2], pads = [1, 1]> (x, w, b)",
         "RESHAPE TRANSPOSE TRANSPOSE_CONV RESHAPE TRANSPOSE", {"w": weights(3, 5, 4), "b": weights(5)},
         {"x": (1, 3, 7)}),
    Case("ConvTranspose", "batch norm",
         "c = ConvTranspose <strides = [2, 2]> (x, w, b)\n y = BatchNormalization (c, gamma, beta, mean, var)",
         "TRANSPOSE_CONV",
         {"w": weights(3, 5, 2, 2), "b": weights(5), "gamma": weights(5, seed=1), "beta": weights(5, seed=2),
          "mean": weights(5, seed=3), "var": np.abs(weights(5, seed=4)) + 0.1}, {"x": (1, 3, 4, 7)}),
)  # fmt: skip


def resize(about: str, attributes: str, becomes: str, size: Shape = (12, 22), scales: Shape = ()) -> Case:
    """From (6, 11), by sizes or scales."""
    if scales:
        return Case("Resize", about, f"y = Resize <{attributes}> (x, , s)", becomes,
                    {"s": np.array([1, 1, *scales], np.float32)})  # fmt: skip
    return Case("Resize", about, f"y = Resize <{attributes}> (x, , , s)", becomes, {"s": [1, 3, *size]})


NEAREST, BILINEAR = "RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"
RESIZE = (
    resize("torch nearest", 'coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"', NEAREST),
    resize("torch nearest by scales", 'coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"', NEAREST,
           scales=(2, 3)),
    resize("torch nearest uneven", 'coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"', NEAREST,
           (7, 13)),
    resize("nearest of ONNX", 'coordinate_transformation_mode = "half_pixel"', NEAREST),
    resize("nearest corners", 'coordinate_transformation_mode = "align_corners", nearest_mode = "round_prefer_ceil"',
           NEAREST, (16, 21)),
    resize("nearest down", 'coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"', NEAREST, (3, 5)),
    resize("linear half pixel", 'mode = "linear"', BILINEAR),
    resize("linear half pixel uneven", 'mode = "linear"', BILINEAR, (17, 25)),
    resize("linear down", 'mode = "linear"', BILINEAR, (3, 4)),
    resize("linear corners", 'mode = "linear", coordinate_transformation_mode = "align_corners"', BILINEAR, (13, 20)),
    resize("linear asymmetric", 'mode = "linear", coordinate_transformation_mode = "asymmetric"', BILINEAR),
    resize("linear to one row", 'mode = "linear", coordinate_transformation_mode = "pytorch_half_pixel"', BILINEAR,
           (9, 22)),
    Case("DepthToSpace", "DCR", "y = DepthToSpace <blocksize = 2> (x)", "DEPTH_TO_SPACE", inputs={"x": (1, 12, 5, 7)}),
    Case("DepthToSpace", "CRD", 'y = DepthToSpace <blocksize = 2, mode = "CRD"> (x)',
         "RESHAPE TRANSPOSE RESHAPE DEPTH_TO_SPACE", inputs={"x": (1, 12, 5, 7)}),
    Case("DepthToSpace", "CRD of one channel", 'y = DepthToSpace <blocksize = 3, mode = "CRD"> (x)', "DEPTH_TO_SPACE",
         inputs={"x": (1, 9, 5, 7)}),
    Case("SpaceToDepth", "plain", "y = SpaceToDepth <blocksize = 2> (x)", "SPACE_TO_DEPTH",
         inputs={"x": (1, 3, 6, 10)}),
)  # fmt: skip
