"""Models of each producer (tests/data/foreign): integers and scales to the byte, results to the code.

Both files are read by others than edgeq: the ONNX file by onnx and onnxruntime, the TFLite file by LiteRT.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from int8_models import assert_layers_agree, file_inputs, parity, random_samples, run_onnxruntime, to_values
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgeq.calibrate import calibrate, load_calibration
from edgeq.errors import ExportError
from edgeq.foreign import make_canonical
from edgeq.onnx_file import load_onnx
from edgeq.posttraining import convert_file
from edgeq.tflite.convert import convert_qdq
from edgeq.tflite.write import write_graph
from edgeq.verify.litert import run

DATA = Path(__file__).parents[1] / "data" / "foreign"
WHOLE = ["ort_int8", "ort_uint8", "ort_plain", "ort_qoperator", "ort_qoperator_int8", "ort_float_weights"]
PARTLY_FLOAT = ["nncf", "nncf_mixed", "nncf_batch_norm", "brevitas", "brevitas_4bit", "brevitas_batch_norm",
                "modelopt", "modelopt_fp16", "modelopt_torch", "modelopt_torch_batch_norm"]  # fmt: skip
INPUTS = {"image": (1, 3, 12, 16)}
LAYERS = {"Conv", "Gemm", "QLinearConv", "QGemm"}


@dataclass(frozen=True)
class Layer:
    """A layer as a file has it: codes [O, I, H, W] or [O, I], scale float32 [1] or [O], bias codes and their scale."""

    codes: NDArray[Any]
    scale: NDArray[np.float32]
    bias: NDArray[Any] | None
    bias_scale: NDArray[np.float32] | None = None


def onnx_layers(path: Path) -> list[Layer | None]:
    """Of every convolution and Gemm in order, computed by onnxruntime; None where the weight is float.

    A batch norm behind a convolution flips the sign of codes and takes the scale up, as edgeq says it does.
    """
    proto = onnx.load(path)
    producers = {name: node for node in proto.graph.node for name in node.output}
    readers: dict[str, onnx.NodeProto] = {name: node for node in proto.graph.node for name in node.input}
    slots: list[tuple[str, ...]] = []
    norms: list[onnx.NodeProto | None] = []
    for node in proto.graph.node:
        if node.op_type in LAYERS and node.op_type.startswith("Q"):
            slot = 8 if node.op_type == "QLinearConv" else 6
            slots.append((node.input[3], node.input[4], node.input[5], node.input[slot]))
            norms.append(None)
        elif node.op_type in LAYERS:
            weight = producers.get(node.input[1])
            while weight is not None and weight.op_type == "Cast":
                weight = producers.get(weight.input[0])
            if weight is None or weight.op_type != "DequantizeLinear":
                slots.append(())
            else:
                bias = producers.get(node.input[2]) if len(node.input) > 2 else None
                integers = tuple(bias.input[:2]) if bias is not None and bias.op_type == "DequantizeLinear" else ()
                slots.append((*weight.input, *integers))
            follower = readers.get(node.output[0])
            norms.append(follower if follower is not None and follower.op_type == "BatchNormalization" else None)
    wanted = list(dict.fromkeys(name for names in slots for name in names))
    wanted += list(dict.fromkeys(name for norm in norms if norm is not None for name in norm.input[1:]))
    del proto.graph.output[:]
    constants = {item.name for item in proto.graph.initializer}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in constants)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    found = {item.name: numpy_helper.to_array(item) for item in proto.graph.initializer}
    if proto.graph.output:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
        kind = np.float16 if "float16" in session.get_inputs()[0].type else np.float32
        names = [item.name for item in proto.graph.output]
        found |= dict(zip(names, session.run(names, {"image": np.zeros(INPUTS["image"], kind)}), strict=True))
    layers: list[Layer | None] = []
    for parts, norm in zip(slots, norms, strict=True):
        if not parts:
            layers.append(None)
            continue
        codes, scale, zero_point = (found[name] for name in parts[:3])
        assert not zero_point.any()
        scale = np.atleast_1d(scale).astype(np.float32)
        if norm is not None:
            gamma, _, _, variance = (found[name].astype(np.float64) for name in norm.input[1:5])
            factor = gamma / np.sqrt(variance + norm.attribute[0].f)
            codes = codes * np.sign(factor).astype(np.int8).reshape(-1, *[1] * (codes.ndim - 1))
            scale = (scale * np.abs(factor)).astype(np.float32)
        stored = found[parts[3]] if len(parts) > 3 and norm is None else None
        step = np.atleast_1d(found[parts[4]]).astype(np.float32) if len(parts) > 4 else None
        layers.append(Layer(codes, scale, stored, step))
    return layers


def tflite_layers(content: bytes) -> list[Layer]:
    """Of every convolution and fully-connected layer in order, in ONNX's layout, as LiteRT's interpreter reads it."""
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    details = {item["index"]: item for item in interpreter.get_tensor_details()}
    layers = []
    for operator in interpreter._get_ops_details():
        kind = operator["op_name"]
        if kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            continue
        source, weight, bias = (details[int(index)] for index in operator["inputs"])
        codes = interpreter.get_tensor(weight["index"])
        moved = {"CONV_2D": (0, 3, 1, 2), "DEPTHWISE_CONV_2D": (3, 0, 1, 2), "FULLY_CONNECTED": (0, 1)}[kind]
        scale = weight["quantization_parameters"]["scales"]
        assert not weight["quantization_parameters"]["zero_points"].any()
        product = source["quantization_parameters"]["scales"] * scale
        np.testing.assert_array_equal(bias["quantization_parameters"]["scales"], product)
        assert bias["dtype"] == np.int32
        layers.append(Layer(codes.transpose(moved), scale, interpreter.get_tensor(bias["index"]), product))
    return layers


def activation_grids(path: Path) -> set[tuple[bytes, int]]:
    """The scale's bytes and the int8 zero point of every QuantizeLinear and QLinear operation's result."""
    proto = onnx.load(path)
    constants = {item.name: numpy_helper.to_array(item) for item in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    slots = {"QuantizeLinear": (1, 2), "QLinearConv": (6, 7), "QLinearAdd": (6, 7), "QLinearConcat": (0, 1),
             "QLinearGlobalAveragePool": (3, 4), "QGemm": (7, 8)}  # fmt: skip
    grids = set()
    for node in proto.graph.node:
        if node.op_type in slots and node.input[0] not in constants:
            scale, zero = (constants[node.input[slot]] for slot in slots[node.op_type])
            shift = 128 if zero.dtype == np.uint8 else 0
            grids.add((scale.astype(np.float32).tobytes(), int(zero) - shift))
    return grids


def tflite_grids(content: bytes) -> set[tuple[bytes, int]]:
    interpreter = Interpreter(model_content=content)
    parameters = [item["quantization_parameters"] for item in interpreter.get_tensor_details()]
    return {(item["scales"].tobytes(), int(item["zero_points"][0])) for item in parameters if len(item["scales"]) == 1}


def data_file(folder: Path) -> Path:
    samples = random_samples(INPUTS, count=16)
    np.savez(folder / "data.npz", inputs=samples["image"])
    return folder / "data.npz"


def converted(name: str, folder: Path) -> tuple[bytes, tuple[str, ...]]:
    data = None if name in WHOLE else str(data_file(folder))
    conversion, _ = convert_file(DATA / f"{name}.onnx", folder / "model.tflite", calibration_data=data)
    return (folder / "model.tflite").read_bytes(), conversion.notes


@pytest.mark.parametrize("name", [*WHOLE, *PARTLY_FLOAT])
def test_integers_and_scales_are_the_producers(name: str, tmp_path: Path) -> None:
    content, notes = converted(name, tmp_path)
    wanted = onnx_layers(DATA / f"{name}.onnx")
    found = tflite_layers(content)
    if name == "ort_plain":  # its four batch norms stand behind pairs of their own, and became depthwise convolutions
        found = [found[i] for i in (0, 2, 4, 6, 8, 9)]
    assert len(found) == len(wanted)
    assert sum(layer is not None for layer in wanted) >= 3
    for ours, theirs in zip(found, wanted, strict=True):
        if theirs is None:
            continue
        np.testing.assert_array_equal(ours.codes, theirs.codes)
        scale = np.broadcast_to(theirs.scale, ours.scale.shape)
        np.testing.assert_array_equal(ours.scale, scale)
        if theirs.bias is not None:
            assert ours.bias is not None
            assert ours.bias_scale is not None
            step = ours.bias_scale if theirs.bias_scale is None else theirs.bias_scale
            if np.allclose(step, ours.bias_scale, rtol=1e-6):
                np.testing.assert_array_equal(ours.bias, theirs.bias)
            else:  # Brevitas gives the bias behind a pool the scale that its own average pool would have
                assert any("on a scale of its own" in note for note in notes)
                real = theirs.bias * step.astype(np.float64)
                difference = ours.bias * ours.bias_scale.astype(np.float64) - real
                assert np.abs(difference).max() <= 0.51 * ours.bias_scale.max()
    missing = activation_grids(DATA / f"{name}.onnx") - tflite_grids(content)
    assert not missing


@pytest.mark.parametrize("name", [*WHOLE, *PARTLY_FLOAT])
def test_results_are_onnxruntimes(name: str) -> None:
    path, samples = DATA / f"{name}.onnx", random_samples(INPUTS, count=16, seed=4)
    model = load_onnx(path)
    notes = make_canonical(model, lambda: calibrate(model, samples, load_calibration("minmax")))
    conversion = convert_qdq(model)
    graph = conversion.graph
    content = write_graph(graph)
    assert_layers_agree(parity(content, model, conversion.layouts, samples))
    wanted = run_onnxruntime(onnx.load(path), samples)[0]
    same_form = run_onnxruntime(model, samples)[0]
    if name in WHOLE:
        assert not [note for note in notes if "the weight" in note or "no grid" in note]
        np.testing.assert_array_equal(same_form, wanted)  # rewriting changed nothing
    found = to_values(run(content, file_inputs(graph, samples), workers=1)[0], graph, graph.outputs[0])
    grid = graph.tensors[graph.outputs[0]].quantization
    assert grid is not None
    assert np.abs(found - same_form).max() <= 2.01 * grid.scale[0]
    top = np.mean(found.argmax(axis=1) == wanted.argmax(axis=1))
    # Where a producer left float parts, their rounding may turn a tie of this untrained network.
    assert top == 1 or (name in PARTLY_FLOAT and top >= 14 / 16)


@pytest.mark.parametrize("name", PARTLY_FLOAT)
def test_without_data_a_missing_grid_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"(node|input) .*no int8 grid .*--calibration-data") as caught:
        convert_file(DATA / f"{name}.onnx", tmp_path / "model.tflite")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.tflite").exists()


def test_codes_that_only_the_wide_range_holds_are_refused(tmp_path: Path) -> None:
    """uint8 weights about 128 reach -128, which two products at a time overflow 16 bits with."""
    with pytest.raises(ExportError, match=r"node .*Conv.*exactly.*zero point 128, codes less it -128.*onnxruntime"):
        convert_file(DATA / "ort_unsigned_weights.onnx", tmp_path / "model.tflite")


def test_a_float_model_is_sent_to_quantize(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"the model is float.*edgeq quantize"):
        convert_file(DATA / "float.onnx", tmp_path / "model.tflite")


def test_uint8_weights_of_the_reduced_range_are_shifted(tmp_path: Path) -> None:
    rows = iter([{"image": image[None]} for image in random_samples(INPUTS)["image"]])

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Any:
            return next(rows, None)

    quant_pre_process(DATA / "float.onnx", tmp_path / "ready.onnx", skip_symbolic_shape=True)
    quantize_static(tmp_path / "ready.onnx", tmp_path / "out.onnx", Reader(), activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QUInt8, reduce_range=True,
                    extra_options={"WeightSymmetric": True})  # fmt: skip
    convert_file(tmp_path / "out.onnx", tmp_path / "model.tflite")
    constants = {item.name: numpy_helper.to_array(item) for item in onnx.load(tmp_path / "out.onnx").graph.initializer}
    (name,) = [name for name in constants if name.endswith("head.weight_quantized")]
    zero = constants[name.replace("_quantized", "_zero_point")]
    assert constants[name].dtype == np.uint8
    head = tflite_layers((tmp_path / "model.tflite").read_bytes())[-1]
    np.testing.assert_array_equal(head.codes, constants[name].astype(int) - int(zero.ravel()[0]))


def test_the_files_are_small() -> None:
    assert max(path.stat().st_size for path in DATA.iterdir() if path.is_file()) < 200_000
