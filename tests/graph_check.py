"""Quantize a random graph, lower it, and compare each of its layers in onnxruntime and LiteRT with both its kernels."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from int8_models import Arrays, file_inputs, run_onnxruntime, to_codes
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from random_graphs import Drawn

from edgeq.artifact import make_artifact
from edgeq.calibrate import CalibrationRecipe, calibrate
from edgeq.errors import ExportError, FormatError
from edgeq.foreign import make_canonical
from edgeq.onnx_file import load_onnx
from edgeq.tflite.convert import Conversion, convert_qdq
from edgeq.tflite.model import Graph
from edgeq.tflite.read import read_graph
from edgeq.tflite.write import write_graph
from edgeq.verify.layers import IMPRECISE_REFERENCE, compare_layers
from edgeq.verify.litert import load, run, run_all_tensors
from edgeq.verify.report import LayerParity

__all__ = ["LIMITS", "Outcome", "check", "mismatches"]

LIMITS = (  # the refusals that docs/reference/operations.md tells of, which random graphs may meet
    "the padding of an average pool has no exact form in TFLite",
    "the last window of a pool in ceil_mode holds no value of its input",
    "TFLite's resize takes other pixels than this one",
)
FOREIGN_LIMITS = (
    *LIMITS,
    "the operation LayerNormalization has no int8 form",  # is taken apart before Q and DQ are placed
    "follows no convolution that it could be folded into",
)
UNLOADABLE = "failed to create XNNPACK runtime"  # all weights zero on a scale above 256 times what the output's allows
FAILED = "onnxruntime's quantizer stops with an error of its own"


@dataclass(frozen=True)
class Outcome:
    """What became of a graph.

    Attributes:
        layers: each TFLite operation, compared.
        outputs: the largest difference in codes of each output of the whole file, XNNPACK against onnxruntime.
        refused: why it was not converted, if it was not.
    """

    layers: tuple[LayerParity, ...] = ()
    outputs: tuple[int, ...] = ()
    refused: str = ""


class _ProducerError(Exception):
    pass


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, samples: Arrays) -> None:
        count = len(next(iter(samples.values())))
        self.rows: Iterator[Arrays] = iter([{k: v[i : i + 1] for k, v in samples.items()} for i in range(count)])

    def get_next(self) -> Any:
        return next(self.rows, None)


def check(drawn: Drawn) -> Outcome:
    """Convert a graph and compare.

    Raises:
        AssertionError: the file holds floats, or an output that is not the value of its name.
        EdgeqError: it cannot be converted, for another reason than those of ``LIMITS``.
    """
    try:
        qdq, conversion, content = _foreign(drawn) if drawn.foreign is not None else _own(drawn)
    except _ProducerError:
        return Outcome(refused=FAILED)
    except ExportError as error:
        for limit in LIMITS if drawn.foreign is None else FOREIGN_LIMITS:
            if limit in str(error):
                return Outcome(refused=limit)
        raise
    try:
        load(content)
    except FormatError as error:
        if drawn.foreign is not None and UNLOADABLE in str(error):
            return Outcome(refused=UNLOADABLE)
        raise
    graph = read_graph(content)
    assert "float32" not in {tensor.dtype for tensor in graph.tensors}
    inputs = file_inputs(graph, drawn.samples)
    layers = compare_layers(content, graph, qdq, conversion.layouts, inputs)
    _check_ends(graph, conversion, run_all_tensors(content, inputs))
    wanted = run_onnxruntime(qdq, drawn.samples)
    found = run(content, inputs, workers=1)
    differences = []
    for index, codes, real in zip(graph.outputs, found, wanted, strict=True):
        other = to_codes(real, graph, index) if graph.tensors[index].quantization is not None else _moved(real)
        assert codes.shape == other.shape
        differences.append(int(np.abs(codes.astype(np.int64) - other).max(initial=0)))
    return Outcome(tuple(layers), tuple(differences))


def _check_ends(graph: Graph, conversion: Conversion, codes: dict[int, list[NDArray[Any]]]) -> None:
    """What the file gives is the value of that name, which the layers are compared by, in NHWC or ONNX's order."""
    indices = {tensor.name: i for i, tensor in enumerate(graph.tensors)}
    for index, name in zip(graph.outputs, graph.output_names, strict=True):
        held = indices.get(name, index)
        if held == index or graph.tensors[held].quantization != graph.tensors[index].quantization:
            continue
        layouts = [conversion.layouts[graph.tensors[i].name] for i in (held, index)]
        for one, other in zip(codes[held], codes[index], strict=True):
            np.testing.assert_array_equal(layouts[0].to_onnx(one), layouts[1].to_onnx(other))


def mismatches(outcome: Outcome) -> list[LayerParity]:
    """The layers that two runtimes compute more than one code apart."""
    return [
        row
        for row in outcome.layers
        if (row.onnx_difference or 0) > 1 or (row.xnnpack_difference > 1 and row.operation not in IMPRECISE_REFERENCE)
    ]


def _own(drawn: Drawn) -> tuple[ir.Model, Conversion, bytes]:
    artifact = make_artifact(load_onnx(drawn.proto), {}, drawn.calibration, CalibrationRecipe(method="minmax"))
    return artifact.qdq, artifact.conversion, artifact.content


def _foreign(drawn: Drawn) -> tuple[ir.Model, Conversion, bytes]:
    """By onnxruntime's quantizer, with ranges for what it leaves in float."""
    assert drawn.foreign is not None
    kind = QuantType.QUInt8 if drawn.foreign["unsigned"] else QuantType.QInt8
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "qdq.onnx"
        source = ir.to_proto(load_onnx(drawn.proto))
        try:
            quantize_static(
                source,
                path,
                _Reader(drawn.calibration),
                quant_format=QuantFormat.QDQ,
                activation_type=kind,
                weight_type=QuantType.QInt8,
                per_channel=drawn.foreign["per_channel"],
                extra_options={"WeightSymmetric": True},
            )
        except Exception as error:
            raise _ProducerError from error
        model = load_onnx(path)
    recipe = CalibrationRecipe(method="minmax")
    make_canonical(model, lambda: calibrate(model, drawn.calibration, recipe))
    conversion = convert_qdq(model)
    return model, conversion, write_graph(conversion.graph)


def _moved(values: NDArray[Any]) -> NDArray[Any]:
    return values.transpose(0, 2, 3, 1) if values.ndim == 4 else values
