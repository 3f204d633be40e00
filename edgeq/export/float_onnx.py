"""PyTorch to float ONNX, batch norms kept, tensors named after the modules they come from."""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from edgeq.errors import ExportError
from edgeq.export.aten import CALL, translate
from edgeq.export.fold import TRANSPOSED
from edgeq.onnx_file import simplify
from edgeq.onnx_session import open_session

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.export import ExportedProgram

__all__ = ["OPSET", "check_export", "export_float", "export_with_calls"]

WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"}

TOLERANCE = 1e-3  # sums in another order differ by about 1e-6

OPSET = 20  # of the operations that edgeq lowers none changed its meaning after 20, and onnxruntime 1.17 reads it


def export_float(
    model: nn.Module, input_shapes: Sequence[tuple[int, ...]], *, output_names: Sequence[str] | None = None
) -> ir.Model:
    """Export a network in evaluation mode.

    Args:
        model: on the CPU; it is left as it was.
        input_shapes: the shape of each input without the batch.
        output_names: names of the outputs; left out, the exporter's.

    Returns:
        An ONNX model with batch 1 and constants folded. A parameter ``a.b.weight`` is the initializer ``a.b.weight``;
        an activation is named after the module that makes it.

    Raises:
        ExportError: torch cannot trace or translate the network; the message is torch's first line.
    """
    import torch

    inputs = tuple(torch.zeros(1, *shape) for shape in input_shapes)
    names = ["input"] if len(inputs) == 1 else [f"input_{i}" for i in range(len(inputs))]
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), _quiet():
            captured = _captured(model, inputs)
            if captured is not None:
                translated = translate(captured, names, output_names, OPSET)
                if translated is not None:
                    return _tidy(translated)
            program = torch.onnx.export(
                model if captured is None else captured,
                () if captured is not None else inputs,
                dynamo=True,
                optimize=False,  # torch's optimizer would fold the batch norms and move every channel's grid
                verbose=False,
                opset_version=OPSET,
                input_names=names,
                output_names=list(output_names) if output_names else None,
            )
    except Exception as error:
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        detail = next((line for line in str(root).splitlines() if line.strip()), type(root).__name__)
        raise ExportError(
            "torch cannot export the network to ONNX",
            where=type(model).__name__,
            got=detail.strip()[:300],
            remedy="make the forward pass free of data-dependent control flow and give --input-shape for each input",
        ) from error
    finally:
        model.train(training)
    assert program is not None
    return _tidy(_completed(program.model))


def export_with_calls(model: nn.Module, input_shape: tuple[int, ...]) -> tuple[ir.Model | None, tuple[str, ...]]:
    """Export a network of one input, and say which call of a torch function computes each value.

    Args:
        model: on the CPU; it is left as it was.
        input_shape: without the batch.

    Returns:
        What :func:`export_float` makes with the output ``logits``, its values marked with the number of their call
        (:data:`edgeq.export.aten.CALL`), and the name of the function of each call. None in place of the model where
        torch.onnx must translate the network.

    Raises:
        ExportError: torch cannot trace the network.
    """
    import torch
    from torch.fx.traceback import annotate, preserve_node_meta

    from edgeq.export.calls import NumberedCalls

    calls: list[str] = []

    def visit(_number: int, name: str, result: torch.Tensor) -> torch.Tensor:
        calls.append(name)
        return result

    forward, training = model.forward, model.training

    @functools.wraps(forward)
    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.clear()  # torch may run it more than once
        with NumberedCalls(visit, lambda number: annotate({CALL: number})):
            return forward(*args, **kwargs)

    model.eval()
    model.forward = counted
    try:
        with torch.no_grad(), _quiet(), preserve_node_meta():
            captured = _captured(model, (torch.zeros(1, *input_shape),))
            exported = None if captured is None else translate(captured, ["input"], ["logits"], OPSET)
    finally:
        del model.forward
        model.train(training)
    return (None if exported is None else _tidy(exported)), tuple(calls)


def check_export(exported: ir.Model, model: nn.Module) -> None:
    """Run one input of noise through a network and its export; of one that rounds activations, both without that.

    Args:
        exported: of :func:`export_float`.
        model: the network, on the CPU; it is left as it was.

    Raises:
        ExportError: an output differs by more than float32 sums in another order can.
    """
    from edgeq.rounding.activations import rounds_activations, unrounded

    if rounds_activations(model):
        shapes = [tuple(int(size) for size in value.shape or ())[1:] for value in exported.graph.inputs]  # type: ignore[arg-type]
        with unrounded(model):
            _check_export(export_float(model, shapes), model)
    else:
        _check_export(exported, model)


def _check_export(exported: ir.Model, model: nn.Module) -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    shapes = [[int(size) for size in value.shape or ()] for value in exported.graph.inputs]  # type: ignore[arg-type]
    inputs = [torch.rand(shape, generator=generator) * 2 - 1 for shape in shapes]
    names = [str(value.name) for value in exported.graph.inputs]
    found = open_session(exported).run(None, {k: v.numpy() for k, v in zip(names, inputs, strict=True)})
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            wanted = torch.utils._pytree.tree_leaves(model(*inputs))
    finally:
        model.train(training)
    for value, mine, theirs in zip(exported.graph.outputs, found, wanted, strict=True):
        one, other = np.asarray(mine, np.float64), theirs.numpy().astype(np.float64)
        error = float(np.abs(one - other).max(initial=0)) / max(float(np.abs(other).max(initial=0)), 1e-6)
        if not error < TOLERANCE and np.isfinite(other).all():  # NaN is told later, with the layer that it comes from
            raise ExportError(
                "the ONNX export does not compute what PyTorch computes",
                where=f"output {value.name}",
                got=f"a relative difference of {error:.2g}",
                wanted=f"less than {TOLERANCE}",
                remedy="torch.onnx may ignore an argument of one of its operations; write that operation differently",
            )


def _captured(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> ExportedProgram | None:
    """The network's graph as torch.export has it; None where torch.onnx shall try its other ways and tell the fault."""
    import torch

    try:
        return torch.export.export(model, inputs, strict=False)
    except Exception:  # torch.export raises errors of all kinds
        return None


def _completed(model: ir.Model) -> ir.Model:
    """Fold constants and infer the shapes that torch.onnx left out."""
    _name_transposed_weights(model.graph)
    simplify(model)
    if any(value.shape is None for node in model.graph for value in node.outputs):
        ShapeInferencePass()(model)
        simplify(model)
    return model


def _tidy(model: ir.Model) -> ir.Model:
    """Name activations after modules, and leave out what only describes the exporting machine."""
    taken = {str(value.name) for value in model.graph.initializers.values()}
    taken |= {str(value.name) for value in (*model.graph.inputs, *model.graph.outputs)}
    nodes: set[str] = set()
    for node in model.graph:
        name = _module_path(node)
        for value in node.outputs:
            if not value.is_graph_output():
                value.name = _unused(name, taken)
        node.name = _unused(name, nodes)
        node.metadata_props.clear()
        node.doc_string = None
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        kept = {key: item for key, item in value.metadata_props.items() if key in (TRANSPOSED, CALL)}
        value.metadata_props.clear()
        value.metadata_props.update(kept)
        value.doc_string = None
    if any(node.op_type == "Shape" for node in model.graph):  # of a value whose shape the first fold made known
        ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
        simplify(model)
    model.graph.metadata_props.clear()
    model.metadata_props.clear()
    model.graph.name = "main"
    model.producer_name, model.producer_version, model.doc_string = "edgeq", None, None
    return model


def _name_transposed_weights(graph: ir.Graph) -> None:
    """A Linear's weight that a MatMul reads through a Transpose keeps its name: the initializer is transposed."""
    for node in list(graph):
        stored = node.inputs[0] if node.op_type == "Transpose" else None
        if stored is None or str(stored.name) not in graph.initializers or len(stored.uses()) != 1:
            continue
        readers = node.outputs[0].uses()
        if stored.const_value is None or any(user.op_type != "MatMul" or slot != 1 for user, slot in readers):
            continue
        values = stored.const_value.numpy()
        if values.ndim == 2 and not node.outputs[0].is_graph_output():
            node.outputs[0].replace_all_uses_with(stored)
            graph.remove(node, safe=True)
            stored.const_value = ir.tensor(np.ascontiguousarray(values.T), name=stored.name)
            stored.shape = ir.Shape(values.T.shape)
            stored.metadata_props[TRANSPOSED] = "1"


def _module_path(node: ir.Node) -> str:
    """``layer1.0.conv1`` for a module that is one operation with weights, ``layer1.0.relu`` for what a module does
    itself."""
    scopes = ast.literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]"))
    module = next((part for part in reversed(scopes[:-1]) if part), "")
    operation = node.op_type.lower()
    if module and node.op_type in WEIGHTED:
        return str(module)
    return f"{module}.{operation}" if module else operation


def _unused(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    taken.add(candidate)
    return candidate


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter prints and warns about packages that edgeq does not use."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
