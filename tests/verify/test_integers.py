"""A weight, scale or operation that is not what it should be fails the verification, naming the layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from conftest import Build
from numpy.typing import NDArray

from edgeq.errors import VerifyError
from edgeq.grid import QuantizedWeight
from edgeq.onnx_file import load_onnx
from edgeq.snap import load_grid
from edgeq.tflite.convert import convert_qdq
from edgeq.tflite.layout import Layout
from edgeq.tflite.model import Graph, Quantization
from edgeq.tflite.read import read_graph
from edgeq.verify.check import as_file_input, check_layers
from edgeq.verify.integers import compare_integers
from edgeq.verify.layers import compare_layers
from edgeq.verify.report import LayerParity

LAYERS = ["conv1", "depthwise", "conv2", "fc1", "fc2"]


@dataclass
class Files:
    """What a build left, read again."""

    trained: dict[str, QuantizedWeight]
    qdq: ir.Model
    content: bytes
    graph: Graph
    layouts: dict[str, Layout]

    def compare(self) -> int:
        return compare_integers(self.trained, self.qdq, self.graph, self.layouts)


@pytest.fixture
def files(built: Build) -> Files:
    qdq = load_onnx(built.out / "model.onnx")
    content = (built.out / "model.tflite").read_bytes()
    layouts = convert_qdq(qdq, io="uint8", head="softmax").layouts
    return Files(load_grid(built.out / "grid.safetensors"), qdq, content, read_graph(content), layouts)


def with_weight(graph: Graph, layer: str, change: Callable[[Any], Any]) -> Graph:
    return replace(
        graph,
        tensors=tuple(change(tensor) if tensor.name == f"{layer}.weight" else tensor for tensor in graph.tensors),
    )


def flipped(codes: NDArray[np.int8]) -> NDArray[np.int8]:
    """One bit of one weight in the middle."""
    changed = codes.copy()
    changed.reshape(-1)[codes.size // 2] ^= 1
    return changed


def test_a_good_build_keeps_all(files: Files) -> None:
    assert files.compare() == sum(weight.codes.size for weight in files.trained.values())


@pytest.mark.parametrize("layer", LAYERS)
def test_one_bit_of_the_tflite_file(files: Files, layer: str) -> None:
    files.graph = with_weight(files.graph, layer, lambda tensor: replace(tensor, data=flipped(tensor.data)))
    with pytest.raises(
        VerifyError, match=rf"layer {layer}: the integers of the ONNX and the TFLite file differ .*got 1 of"
    ):
        files.compare()


@pytest.mark.parametrize("layer", LAYERS)
def test_one_bit_of_the_onnx_file(files: Files, layer: str) -> None:
    value = files.qdq.graph.initializers[f"{layer}.weight_quantized"]
    assert value.const_value is not None
    value.const_value = ir.tensor(flipped(value.const_value.numpy()), name=value.name)
    with pytest.raises(VerifyError, match=f"layer {layer}: the integers"):
        files.compare()


@pytest.mark.parametrize("layer", LAYERS)
def test_one_bit_of_the_checkpoint(files: Files, layer: str) -> None:
    weight = files.trained[layer]
    files.trained[layer] = replace(weight, codes=flipped(weight.codes))
    with pytest.raises(
        VerifyError, match=rf"layer {layer}: the files do not hold the trained integers .*1 of \d+ channels"
    ):
        files.compare()


@pytest.mark.parametrize("layer", LAYERS)
def test_the_last_bit_of_one_scale(files: Files, layer: str) -> None:
    def changed(tensor: Any) -> Any:
        scale = tensor.quantization.scale.copy()
        scale[-1] = np.nextafter(scale[-1], np.float32(1))
        return replace(
            tensor, quantization=Quantization(scale, tensor.quantization.zero_point, tensor.quantization.axis)
        )

    files.graph = with_weight(files.graph, layer, changed)
    with pytest.raises(VerifyError, match=f"layer {layer}: the scales"):
        files.compare()


def test_a_layer_that_one_file_lacks(files: Files) -> None:
    files.graph = with_weight(files.graph, "fc1", lambda tensor: replace(tensor, name="renamed"))
    with pytest.raises(VerifyError, match=r"layer fc1: the weight is missing .*TFLite"):
        files.compare()
    files.trained["fc3"] = files.trained["fc2"]
    with pytest.raises(VerifyError, match="layer fc"):
        files.compare()


def test_columns_in_the_wrong_order_are_other_integers(files: Files) -> None:
    files.layouts = {}
    with pytest.raises(VerifyError, match="layer fc1"):
        files.compare()


@pytest.mark.parametrize(("layer", "operation"), [("conv1", "CONV_2D"), ("fc2", "FULLY_CONNECTED")])
def test_an_operation_that_computes_something_else_is_named(files: Files, layer: str, operation: str) -> None:
    """The ONNX file's bias is moved by two codes of the layer's result; all later layers are in order."""
    graph = files.graph
    index = next(i for i, tensor in enumerate(graph.tensors) if tensor.name == f"{layer}.weight")
    operator = next(item for item in graph.operators if len(item.inputs) > 1 and item.inputs[1] == index)
    result = graph.tensors[operator.outputs[0]]
    scale = graph.tensors[operator.inputs[2]].quantization.scale  # type: ignore[union-attr]
    names = [name for name in files.qdq.graph.initializers if name.startswith(f"{layer}.bias") and "quantized" in name]
    value = files.qdq.graph.initializers[next(name for name in names if name.endswith("quantized"))]
    assert value.const_value is not None
    assert result.quantization is not None
    moved = value.const_value.numpy() + np.rint(2 * result.quantization.scale / scale).astype(np.int32)
    value.const_value = ir.tensor(moved.astype(np.int32), name=value.name)
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 12, 12)).astype(np.uint8)
    layers = compare_layers(files.content, graph, files.qdq, files.layouts, [as_file_input(images, "uint8")])
    apart = [(row.name, row.onnx_difference) for row in layers if (row.onnx_difference or 0) > 1]
    assert len(apart) == 1, "one layer's fault is not passed on to the next"
    with pytest.raises(VerifyError, match=rf"layer {apart[0][0]} \({operation}\): onnxruntime .*codes apart"):
        check_layers(layers)


def test_the_first_layer_at_fault_is_the_one_named() -> None:
    rows = [
        LayerParity("a", "CONV_2D", 1, 1, True),
        LayerParity("b", "PAD", None, 2, True),
        LayerParity("c", "CONV_2D", 9, 9, True),
    ]
    check_layers(rows[:1])
    with pytest.raises(VerifyError, match=r"layer b \(PAD\): XNNPACK .*2 codes apart, wanted at most 1"):
        check_layers(rows)
