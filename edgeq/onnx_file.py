"""Read an .onnx file from outside: checked, shapes inferred, the batch fixed to 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from onnx.external_data_helper import uses_external_data

from edgeq.errors import FormatError

__all__ = ["load_onnx", "shown_source", "simplify"]

MAX_FILE_BYTES = 2**31 - 1
OPSETS = range(13, 24)  # 13: the first with a QuantizeLinear a channel; 23: the newest that onnxruntime 1.22 runs


def shown_source(source: Path | onnx.ModelProto) -> Path:
    """How messages name a model: its file, or its graph's name."""
    return source if isinstance(source, Path) else Path(source.graph.name or "the ONNX model")


def load_onnx(source: Path | onnx.ModelProto) -> ir.Model:
    """Read a model.

    Args:
        source: a file of at most 2 GiB without external data, opset 13 to 23; or a model in memory, which is copied.

    Returns:
        The model, with constants folded into initializers, shapes inferred and a symbolic batch set to 1.

    Raises:
        FormatError: it cannot be read, is no valid ONNX, uses external data or another opset.
    """
    path, proto = shown_source(source), _read(source)
    opset = next((item.version for item in proto.opset_import if item.domain in ("", "ai.onnx")), 0)
    if opset not in OPSETS:
        wanted = f"{OPSETS.start} to {OPSETS.stop - 1}"
        remedy = "export it again with another opset_version" if opset else "is it an ONNX model?"
        raise FormatError("the opset is not supported", where=path, got=opset, wanted=wanted, remedy=remedy)
    constants = [attribute.t for node in proto.graph.node for attribute in node.attribute if attribute.HasField("t")]
    for tensor in (*proto.graph.initializer, *constants):
        if uses_external_data(tensor):
            raise FormatError(
                "keeps its weights in another file", where=path, got=tensor.name, remedy="save it as one file"
            )
    try:
        _fix_batch(proto)
        onnx.checker.check_model(proto)
        proto = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        detail = " ".join(str(error).split())[:300]
        raise FormatError("is no valid ONNX model", where=path, got=detail) from error
    model = ir.from_proto(proto)
    simplify(model)
    return model


def _read(source: Path | onnx.ModelProto) -> Any:
    if not isinstance(source, Path):
        copy = onnx.ModelProto()
        copy.CopyFrom(source)
        return copy
    path = source
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise FormatError("is too large", where=path, got=f"{size} bytes", wanted="at most 2 GiB")
        return onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise FormatError("cannot be read", where=path, got=error.strerror) from error
    except FormatError:
        raise
    except Exception as error:  # protobuf raises DecodeError, which is its own business
        raise FormatError("is no ONNX file", where=path, got=" ".join(str(error).split())[:200]) from error


def _fix_batch(proto: Any) -> None:
    """A symbolic first dimension of an input is the batch: TFLite files are made for one image."""
    stale = False
    for value in (*proto.graph.input, *proto.graph.output):
        shape = value.type.tensor_type.shape
        if shape.dim and not shape.dim[0].HasField("dim_value"):
            shape.dim[0].dim_value = 1
            stale = True
    if stale:
        del proto.graph.value_info[:]


def simplify(model: ir.Model) -> None:
    """Make every constant an initializer that is no input, what is computed of shapes alone included; in place."""
    from onnx_ir.passes import common
    from onnxscript.optimizer import fold_constants

    fold_constants(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.RemoveInitializersFromInputsPass()(model)
    common.RemoveUnusedNodesPass()(model)
