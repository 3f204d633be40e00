"""From a float ONNX model and trained grids to the int8 artifact: fold, calibrate, place Q and DQ, lower, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.calibrate import CalibrationRecipe, calibrate
from edgeq.errors import ExportError, RecipeError
from edgeq.export.activations import ActivationGrid, activation_grids, activation_values
from edgeq.export.bias import correct_biases, float_parameters, with_floats
from edgeq.export.channels import settle_channels
from edgeq.export.coarser import widen_ranges
from edgeq.export.decompose import decompose
from edgeq.export.equalize import equalize
from edgeq.export.fixed_point import check_fixed_point
from edgeq.export.fold import fold_model, fold_untrained
from edgeq.export.layer_parts import layer_name, layer_of
from edgeq.export.qdq import place_qdq, quantized_values
from edgeq.export.trained_activations import take_trained_activations
from edgeq.grid import QuantizedWeight
from edgeq.modes import Plan
from edgeq.onnx_file import onnx_bytes
from edgeq.progress import Progress, Silent
from edgeq.snap import load_ranges
from edgeq.tflite.convert import Conversion, Head, Interface, convert_qdq, unsupported_nodes
from edgeq.tflite.metadata import ImageClassifier, add_metadata, append_files
from edgeq.tflite.model import Graph
from edgeq.tflite.ops import OPERATIONS
from edgeq.tflite.write import write_graph

__all__ = ["Artifact", "check_convertible", "labels_text", "make_artifact", "trained_ranges"]

LOGITS = "logits"  # what a build names the network's output


@dataclass(frozen=True, slots=True)
class Artifact:
    """An int8 model in both forms.

    Attributes:
        qdq: the QDQ ONNX model.
        conversion: the TFLite graph, its notes and column orders.
        content: the bytes of the .tflite file, metadata and labels included.
        weights: the grids after the batch-norm fold, by initializer name.
        notes: what the user should know of the conversion, a line each.
    """

    qdq: ir.Model
    conversion: Conversion
    content: bytes
    weights: dict[str, QuantizedWeight]
    notes: tuple[str, ...] = field(default=())

    @property
    def onnx_bytes(self) -> bytes:
        """The bytes of the .onnx file."""
        return onnx_bytes(self.qdq)


def make_artifact(
    model: ir.Model,
    trained: Mapping[str, QuantizedWeight],
    samples: Mapping[str, NDArray[np.float32]],
    calibration: CalibrationRecipe,
    *,
    pinned: Mapping[str, ActivationGrid] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    io: Interface = "int8",
    head: Head = "none",
    classifier: ImageClassifier | None = None,
    plan: Plan | None = None,
    per_channel: bool = True,
    progress: Progress | None = None,
) -> Artifact:
    """Quantize a float ONNX model; trained codes are kept.

    Args:
        model: float, batch norms kept; changed in place (folded).
        trained: codes and step of each trained layer by layer name; weights that are not among them are rounded here.
        samples: the calibration set, a float32 array an input, samples first.
        calibration: how ranges are made.
        pinned: grids that are given, by input name.
        ranges: of every activation that is rounded, by name, as a training had them; then none are calibrated.
        io: the type of the file's inputs and outputs.
        head: ``softmax`` for a classifier with scores.
        classifier: puts metadata and labels into the file.
        plan: what layers compute in, and the grids of the weights that were not trained.
        per_channel: these get a step an output channel, or one a tensor (before the batch-norm fold).
        progress: shown.

    Raises:
        ExportError: an operation without an int8 form, a value that cannot be used; names node or layer.
        DataError: the calibration set is empty or has the wrong shape.
    """
    decompose(model)
    _check_operations(model)
    plan = plan or Plan()
    check_plan(model, plan, calibration)
    table = {f"{name}.weight": weight for name, weight in trained.items()}
    if calibration.moves_floats or plan.grid.power_of_two:
        fold_untrained(model, table)
    notes: list[str] = []
    if calibration.equalize and not equalize(model, table):
        notes.append("nothing was equalized: no two layers without a trained grid have but Relu and pools between them")
    floats = float_parameters(model, table) if calibration.correct_bias else {}
    weights = fold_model(model, table, grid_of=plan.grid_of, per_channel=per_channel)
    kinds: list[str] = sorted(plan.uses - {"float32"})
    if ranges is not None:
        found = _given_ranges(model, ranges)
    else:
        found = calibrate(model, samples, calibration, progress=progress or Silent()) if kinds else {}
    given = {**take_trained_activations(model), **(pinned or {})}
    fixed = plan.grid.power_of_two
    weights = {name: weight for name, weight in weights.items() if plan.grid_of(layer_of(name)) is not None}
    grids: dict[str, dict[str, ActivationGrid]] = {}
    if "int8" in kinds:
        int8 = _of_kind(weights, plan, "int8")
        found, grids["int8"] = widen_ranges(model, found, int8, given, power_of_two=fixed)
    for kind in kinds:
        if kind not in grids:
            grids[kind] = activation_grids(model, found, given, kind, power_of_two=fixed)
        part = _of_kind(weights, plan, kind)
        notes += settle_channels(model, part, grids[kind])
        weights |= part
    qdq = place_qdq(model, weights, grids, plan)
    if calibration.correct_bias:
        correct_biases(qdq, with_floats(model, floats), samples)
    conversion = convert_qdq(qdq, io=io, head=head, floats="float32" in plan.uses)
    if plan.grid.power_of_two:
        check_fixed_point(conversion.graph)
    content = tflite_bytes(conversion.graph, classifier)
    return Artifact(qdq, conversion, content, weights, (*notes, *conversion.notes))


def _of_kind(weights: Mapping[str, QuantizedWeight], plan: Plan, kind: str) -> dict[str, QuantizedWeight]:
    """The weights of the layers whose activations are of a type."""
    return {name: weight for name, weight in weights.items() if plan.mode_of(layer_of(name)).activations == kind}


def trained_ranges(grid_file: Path, model: ir.Model, plan: Plan) -> dict[str, tuple[float, float]] | None:
    """The ranges of a ``grid.safetensors`` by the names of an export; None where there are none, or for other modes.

    Raises:
        FormatError: the file cannot be read, or a range is none.
    """
    ranges = load_ranges(grid_file) if plan.uses == {"int8"} else {}
    if LOGITS in ranges and len(model.graph.outputs) == 1:
        ranges[str(model.graph.outputs[0].name)] = ranges.pop(LOGITS)
    return ranges or None


def _given_ranges(model: ir.Model, ranges: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """The ranges of all activations; of those that a kernel keeps inside any will do."""
    lacking = [value.name for value in quantized_values(model) if value.name not in ranges]
    if lacking:
        raise ExportError("an activation has no trained range", where=f"value {lacking[0]}",
                          remedy="train this network, or leave the ranges to calibration")  # fmt: skip
    return {str(value.name): ranges.get(str(value.name), (0.0, 0.0)) for value in activation_values(model)}


def check_plan(model: ir.Model, plan: Plan, calibration: CalibrationRecipe) -> None:
    """Refuse a plan that does not fit a network or its calibration.

    Raises:
        RecipeError: a pattern names no layer; biases cannot be corrected.
    """
    plan.check_names(layer_name(node) for node in model.graph)
    if calibration.correct_bias and plan.uses != {"int8"}:
        raise RecipeError("biases are corrected in networks of int8 alone", where="calibration.correct_bias",
                          got=", ".join(sorted(plan.uses)), remedy="leave correct_bias out")  # fmt: skip


def check_convertible(
    model: ir.Model,
    *,
    io: Interface = "int8",
    head: Head = "none",
    plan: Plan | None = None,
    calibration: CalibrationRecipe | None = None,
) -> None:
    """Go through a whole conversion with made-up ranges, so that what cannot be converted is told before training.

    Args:
        model: float, batch norms kept; changed in place.
        io, head, plan, calibration: as for :func:`make_artifact`.

    Raises:
        ExportError: names the first node at fault.
        RecipeError: as for :func:`check_plan`.
    """
    decompose(model)
    _check_operations(model)
    plan = plan or Plan()
    if calibration is not None:
        check_plan(model, plan, calibration)
    weights = fold_model(model, {}, grid_of=plan.grid_of)
    given = take_trained_activations(model)
    ranges = {str(value.name): (-1.0, 1.0) for value in activation_values(model)}
    kinds: list[str] = sorted(plan.uses - {"float32"})
    grids = {kind: activation_grids(model, ranges, given, kind) for kind in kinds}
    weights = {name: weight for name, weight in weights.items() if plan.grid_of(layer_of(name)) is not None}
    convert_qdq(place_qdq(model, weights, grids, plan), io=io, head=head, floats="float32" in plan.uses)


def tflite_bytes(graph: Graph, classifier: ImageClassifier | None) -> bytes:
    """The file of a graph, with metadata and labels for a classifier."""
    if classifier is None:
        return write_graph(graph)
    return append_files(write_graph(add_metadata(graph, classifier)), {"labels.txt": labels_text(classifier.labels)})


def labels_text(labels: tuple[str, ...]) -> bytes:
    """``labels.txt``: a class name a line."""
    return "".join(f"{label}\n" for label in labels).encode()


def _check_operations(model: ir.Model) -> None:
    nodes = [node for node in unsupported_nodes(model) if node.op_type != "BatchNormalization"]
    if nodes:
        node = nodes[0]
        others = sorted({other.op_type for other in nodes[1:]} - {node.op_type})
        more = f", and so have {', '.join(others)}" if others else ""
        raise ExportError(
            f"the operation {node.op_type} has no int8 form in TFLite that edgeq knows{more}",
            where=f"node {node.name}",
            wanted=f"one of {', '.join(sorted(OPERATIONS))}",
            remedy="replace it in the network",
        )
