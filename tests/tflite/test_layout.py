from __future__ import annotations

import numpy as np
import pytest
from int8_models import Constant, artifact_of, assert_int8_is_right, float_model, float_proto, kinds, weights

from edgeq.errors import ExportError

IMAGE = {"x": (1, 3, 4, 7)}
PIXELS = 3 * 4 * 7
HEAD: dict[str, Constant] = {"w": weights(5, PIXELS, scale=0.2), "b": weights(5)}
DENSE = "y = Gemm <transB = 1> (f, w, b)"


@pytest.mark.parametrize(
    ("body", "becomes"),
    [
        (f"f = Flatten (x)\n {DENSE}", "RESHAPE FULLY_CONNECTED"),
        (f"g = Flatten (x)\n f = Relu (g)\n {DENSE}", "QUANTIZE RESHAPE FULLY_CONNECTED"),
        (f"g = Flatten (x)\n f = Tanh (g)\n {DENSE}", "TANH RESHAPE FULLY_CONNECTED"),
        (f"g = Flatten (x)\n f = Dropout (g)\n {DENSE}", "RESHAPE FULLY_CONNECTED"),
        (f"g = Flatten (x)\n h = Sigmoid (g)\n f = Identity (h)\n {DENSE}", "LOGISTIC RESHAPE FULLY_CONNECTED"),
        (f"f = Flatten (x)\n z = Gemm <transB = 1> (f, w)\n {DENSE}", "RESHAPE FULLY_CONNECTED FULLY_CONNECTED"),
        (f"g = Flatten (x)\n f = Flatten (g)\n {DENSE}", "RESHAPE FULLY_CONNECTED"),
        (f"f = Flatten (x)\n z = Softmax (f)\n {DENSE}", "TRANSPOSE RESHAPE SOFTMAX RESHAPE FULLY_CONNECTED"),
        (f"g = Flatten (x)\n f = Add (g, g)\n {DENSE}", "ADD RESHAPE FULLY_CONNECTED"),
    ],
)
def test_flatten(body: str, becomes: str) -> None:
    """The order of the pixels goes into the weights where nothing but dense layers can see it, else a TRANSPOSE."""
    outputs = ("z", "y") if "z =" in body else ("y",)
    assert_int8_is_right(float_proto(body, HEAD, IMAGE, outputs), becomes)


def test_a_flattened_image_may_be_an_output_too() -> None:
    proto = float_proto(f"f = Flatten (x)\n {DENSE}", HEAD, IMAGE, ("f", "y"))
    assert_int8_is_right(proto, "RESHAPE FULLY_CONNECTED TRANSPOSE RESHAPE")


def test_flatten_into_a_matmul_of_other_layout() -> None:
    constants = {"w": weights(PIXELS, 5, scale=0.2)}
    assert_int8_is_right(
        float_proto("f = Flatten (x)\n y = MatMul (f, w)", constants, IMAGE), "RESHAPE FULLY_CONNECTED"
    )


def test_reshape_in_the_middle_keeps_the_meaning() -> None:
    body = "c = Conv (x, w)\n r = Reshape (c, s)\n y = Conv (r, v)"
    constants: dict[str, Constant] = {"w": weights(4, 3, 1, 1), "s": [1, 2, 8, 7], "v": weights(5, 2, 3, 2)}
    assert_int8_is_right(float_proto(body, constants, IMAGE), "CONV_2D RESHAPE TRANSPOSE RESHAPE CONV_2D")


def test_channel_shuffle_through_five_dimensions() -> None:
    body = "r = Reshape (x, s)\n t = Transpose <perm = [0, 2, 1, 3, 4]> (r)\n y = Reshape (t, u)"
    proto = float_proto(body, {"s": [1, 2, 3, 4, 7], "u": [1, 6, 4, 7]}, {"x": (1, 6, 4, 7)})
    assert_int8_is_right(proto, "RESHAPE TRANSPOSE RESHAPE")


RESIDUAL = """
    c1 = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
    r1 = Relu (c1)
    c2 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (r1, w2, b2)
    s = Slice (r1, starts, ends, axes, steps)
    p = Pad (s, pads)
    a = Add (c2, p)
    r2 = Relu (a)
    m = MaxPool <kernel_shape = [2, 2]> (r2)
    d = Conv <group = 6> (m, w3)
    g = GlobalAveragePool (d)
    f = Flatten (g)
    y = Gemm <transB = 1> (f, w4, b4)
"""
RESIDUAL_WEIGHTS: dict[str, Constant] = {
    "w1": weights(4, 3, 3, 3), "b1": weights(4), "w2": weights(6, 4, 3, 3, scale=0.2), "b2": weights(6),
    "w3": weights(6, 1, 1, 2), "w4": weights(5, 6), "b4": weights(5),
    "starts": [0, 0], "ends": [99, 99], "axes": [2, 3], "steps": [2, 2], "pads": [0, 1, 0, 0, 0, 1, 0, 0],
}  # fmt: skip


def test_a_residual_network_has_no_transpose_and_every_relu_fused() -> None:
    proto = float_proto(RESIDUAL, RESIDUAL_WEIGHTS, {"x": (1, 3, 9, 11)})
    artifact = assert_int8_is_right(
        proto,
        "CONV_2D CONV_2D STRIDED_SLICE PAD ADD MAX_POOL_2D DEPTHWISE_CONV_2D MEAN RESHAPE FULLY_CONNECTED",
    )
    assert artifact.notes == ()


def test_several_inputs_and_outputs_keep_their_names_and_order() -> None:
    body = "p = Conv (a, w)\n q = Concat <axis = 1> (b, p)\n z = Tanh (q)\n y = Sub (p, c)"
    inputs = {"b": (1, 2, 4, 6), "a": (1, 3, 4, 6), "c": (1, 5, 1, 1)}
    proto = float_proto(body, {"w": weights(5, 3, 1, 1)}, inputs, ("z", "y"))
    artifact = assert_int8_is_right(proto, "CONV_2D CONCATENATION TANH SUB")
    graph = artifact.conversion.graph
    assert (graph.input_names, graph.output_names) == (("b", "a", "c"), ("z", "y"))


def test_an_output_that_another_layer_reads() -> None:
    body = "c = Conv (x, w)\n y = Relu (c)"
    assert_int8_is_right(float_proto(body, {"w": weights(5, 3, 1, 1)}, IMAGE, ("y", "c")), "CONV_2D QUANTIZE")


def test_an_input_that_is_an_output() -> None:
    body = "i = Identity (x)\n y = Relu (x)"
    graph = artifact_of(float_model(body, {}, IMAGE, ("i", "y"))).conversion.graph
    assert kinds(graph) == ["QUANTIZE"]
    assert graph.outputs[0] == graph.inputs[0]


def test_one_constant_read_by_two_layers() -> None:
    body = "a = Add (x, c)\n y = Mul (a, c)"
    artifact = assert_int8_is_right(float_proto(body, {"c": weights(3, 1, 1)}, IMAGE), "ADD MUL")
    data = [tensor.data for tensor in artifact.conversion.graph.tensors if tensor.data is not None]
    assert len(data) == 2
    np.testing.assert_array_equal(data[0], data[1])


def test_one_weight_read_by_two_layers() -> None:
    body = (
        "a = Conv (x, w)\n b = Conv <strides = [2, 2]> (x, w)\n y = GlobalAveragePool (a)\n z = GlobalAveragePool (b)"
    )
    assert_int8_is_right(float_proto(body, {"w": weights(5, 3, 2, 2)}, IMAGE, ("y", "z")), "CONV_2D CONV_2D MEAN MEAN")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("y = Acos (x)", "node acos_0.*operation Acos .*no int8 form"),
        ("a = Exp (x)\n y = Div (x, a)", "div_1.*division by an activation"),
        ("y = MaxPool <kernel_shape = [2, 2], dilations = [2, 2]> (x)", "maxpool_0.*dilations.*use dilation 1"),
        ("y = Pad (x, negative)", "pad_0.*negative padding"),
        (
            "y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], ceil_mode = 1> (x)",
            "averagepool_0.*padding of an average pool",
        ),
        (
            "y = AveragePool <kernel_shape = [2, 2], pads = [1, 1, 0, 0]> (x)",
            "averagepool_0.*padding of an average pool",
        ),
        ('y = Resize <mode = "cubic"> (x, , , size)', "resize_0.*mode.*nearest or linear"),
        ('y = Resize <mode = "linear"> (x, , scales)', "resize_0.*other pixels.*sizes instead of scales"),
        ('y = Resize <nearest_mode = "ceil"> (x, , , size)', "resize_0.*other pixels"),
        ("y = ConvTranspose <dilations = [2, 2]> (x, w)", "convtranspose_0.*dilations.*use dilation 1"),
        ("y = ConvTranspose <group = 3> (x, w)", "convtranspose_0.*group.*groups=1"),
        ("y = Pow (x, e)", "pow_0.*one number"),
    ],
)
def test_what_has_no_exact_form_names_its_node(body: str, word: str) -> None:
    constants: dict[str, Constant] = {
        "negative": [0, 0, -1, 0, 0, 0, 0, 0], "size": [1, 3, 9, 13], "w": weights(3, 2, 2, 2),
        "scales": np.array([1, 1, 1.3, 1.7], np.float32), "e": np.arange(3, dtype=np.float32).reshape(3, 1, 1),
    }  # fmt: skip
    inputs = {"x": (1, 3, 6, 6)}
    with pytest.raises(ExportError, match=word):
        artifact_of(float_model(body, constants, inputs))
