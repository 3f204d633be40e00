"""Read an .onnx file from outside: checked, functions inlined, shapes inferred, the batch fixed to 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from edgeq.errors import FormatError
from edgeq.onnx_tensors import MAX_ELEMENTS, check_declared_sizes, check_tensors, take_external

__all__ = ["infer_shapes", "load_onnx", "onnx_bytes", "shown_source", "simplify"]

MAX_FILE_BYTES = 2**31 - 1
MAX_NODES = 1_000_000
READ_BYTES = 1 << 30  # external data above this are mapped
OPSETS = range(10, 24)  # 10: the first with QuantizeLinear; 23: the newest that onnxruntime 1.22 runs
PER_CHANNEL_OPSET = 13  # the first whose QuantizeLinear has an axis: older models are brought up to it
FOLDED_ELEMENTS = 1 << 20
SIZED = {"Expand": 1, "Tile": 1, "ConstantOfShape": 0}  # the input that says how large the result is
GROWING = {
    *SIZED, "AffineGrid", "AveragePool", "BlackmanWindow", "CenterCropPad", "Col2Im", "Conv", "ConvTranspose", "DFT",
    "HammingWindow", "HannWindow", "LpPool", "MaxPool", "MaxUnpool", "MelWeightMatrix", "OneHot", "Pad", "Range",
    "Resize", "STFT", "Upsample",
}  # fmt: skip


def shown_source(source: Path | onnx.ModelProto) -> Path:
    """How messages name a model: its file, or its graph's name."""
    return source if isinstance(source, Path) else Path(source.graph.name or "the ONNX model")


def load_onnx(source: Path | onnx.ModelProto, *, as_written: bool = False) -> ir.Model:
    """Read a model.

    Args:
        source: a file of at most 2 GiB, opset 10 to 23, with its external data, as large as they are, beside it; or a
            model in memory, which is copied.
        as_written: fold no constants and drop no Identity, which stands between two grids in a file of edgeq's own.

    Returns:
        The model at opset 13 or later, with functions inlined, constants folded into initializers, shapes inferred and
        a symbolic batch set to 1. Large external tensors are mapped, not read.

    Raises:
        FormatError: it cannot be read, is no valid ONNX, has external data that cannot be used or another opset.
        ExportError: its weights pass what a .tflite file can hold.
    """
    path, proto = shown_source(source), _read(source)
    _check_versions(proto, path)
    proto = _inline(proto, path)
    check_tensors(proto, path)
    external = take_external(proto, path if isinstance(source, Path) else None)
    try:
        _fix_batch(proto)
        check_declared_sizes(proto, path)
        onnx.checker.check_model(proto)
        if _opset(proto) < PER_CHANNEL_OPSET:
            proto = onnx.version_converter.convert_version(proto, PER_CHANNEL_OPSET)
        proto = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
        check_declared_sizes(proto, path)
        model = ir.from_proto(proto)
        _put_back(model, external)
        if not as_written:
            simplify(model)
    except FormatError:
        raise
    except Exception as error:  # onnx raises of every kind, RuntimeError and IndexError among them
        detail = " ".join(str(error).split())[:300]
        raise FormatError("is no valid ONNX model", where=path, got=detail) from error
    return model


def onnx_bytes(model: ir.Model) -> bytes:
    """The bytes of an .onnx file; equal models give equal bytes."""
    return bytes(ir.to_proto(model).SerializeToString(deterministic=True))


def _read(source: Path | onnx.ModelProto) -> Any:
    if not isinstance(source, Path):
        copy = onnx.ModelProto()
        copy.CopyFrom(source)
        return copy
    path = source
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise FormatError(
                "is too large", where=path, got=f"{size} bytes", wanted="at most 2 GiB", remedy="use external data"
            )
        return onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise FormatError("cannot be read", where=path, got=error.strerror) from error
    except FormatError:
        raise
    except Exception as error:  # protobuf raises DecodeError, which is its own business
        raise FormatError("is no ONNX file", where=path, got=" ".join(str(error).split())[:200]) from error


def _opset(proto: Any) -> int:
    return next((int(item.version) for item in proto.opset_import if item.domain in ("", "ai.onnx")), 0)


def _check_versions(proto: Any, path: Path) -> None:
    opset = _opset(proto)
    if opset not in OPSETS:
        wanted = f"{OPSETS.start} to {OPSETS.stop - 1}"
        remedy = "export it again with another opset_version" if opset else "is it an ONNX model?"
        raise FormatError("the opset is not supported", where=path, got=opset, wanted=wanted, remedy=remedy)
    if proto.ir_version > onnx.IR_VERSION:
        raise FormatError(
            "the IR version is not supported",
            where=path,
            got=proto.ir_version,
            wanted=f"at most {onnx.IR_VERSION}",
            remedy="install a newer onnx, or export with an older one",
        )


def _inline(proto: Any, path: Path) -> Any:
    """Put the nodes of model-local functions where they are called.

    Raises:
        FormatError: functions call each other in a circle, or expand to more than a million nodes.
    """
    if not proto.functions:
        return proto
    bodies = {(item.domain, item.name): item.node for item in proto.functions}
    sizes: dict[tuple[str, str], int] = {}
    open_calls: set[tuple[str, str]] = set()
    stack: list[tuple[tuple[str, str], bool]] = [(key, False) for key in bodies]
    while stack:
        key, done = stack.pop()
        called = [call for node in bodies[key] if (call := (node.domain, node.op_type)) in bodies]
        if done:
            open_calls.discard(key)
            sizes[key] = len(bodies[key]) + sum(sizes[call] for call in called)
        elif key not in sizes:
            if key in open_calls:
                raise FormatError("functions call each other in a circle", where=path, got=f"function {key[1]}")
            open_calls.add(key)
            stack.append((key, True))
            stack += [(call, False) for call in called]
    total = sum(sizes.get((node.domain, node.op_type), 1) for node in proto.graph.node)
    if total > MAX_NODES:
        raise FormatError(
            "its functions expand to too many nodes", where=path, got=total, wanted=f"at most {MAX_NODES}"
        )
    try:
        import onnx.inliner

        return onnx.inliner.inline_local_functions(proto)
    except Exception as error:
        raise FormatError("a function cannot be inlined", where=path, got=" ".join(str(error).split())[:200]) from error


def _fix_batch(proto: Any) -> None:
    """A symbolic first dimension of an input is the batch: TFLite files are made for one image."""
    stale, names = False, {""}
    for value in proto.graph.input:
        shape = value.type.tensor_type.shape
        if shape.dim and not shape.dim[0].HasField("dim_value"):
            names.add(shape.dim[0].dim_param)
            shape.dim[0].dim_value = 1
            stale = True
    for value in proto.graph.output:
        shape = value.type.tensor_type.shape
        if shape.dim and not shape.dim[0].HasField("dim_value"):
            if shape.dim[0].dim_param in names:
                shape.dim[0].dim_value = 1
            else:  # made of the batch and other sizes: shape inference will know
                shape.dim[0].ClearField("dim_param")
            stale = True
    if stale:
        del proto.graph.value_info[:]


def _put_back(model: ir.Model, external: dict[str, ir.ExternalTensor]) -> None:
    """Make the tensors that were taken out initializers again; mapped where they are more than memory should hold."""
    mapped = sum(tensor.nbytes for tensor in external.values()) > READ_BYTES
    for value in list(model.graph.inputs):
        if (tensor := external.get(str(value.name))) is not None:
            model.graph.inputs.remove(value)
            value.const_value = tensor if mapped else ir.tensor(tensor.numpy().copy(), tensor.dtype, name=tensor.name)
            model.graph.register_initializer(value)


def infer_shapes(model: ir.Model) -> None:
    """Infer the shapes again after new nodes; in place."""
    from onnx_ir.passes import common

    common.ShapeInferencePass()(model)


def simplify(model: ir.Model) -> None:
    """Make every constant an initializer that is no input, what is computed of shapes alone included; in place."""
    from onnx_ir.passes import common
    from onnxscript.optimizer import fold_constants

    fold_constants(model, should_fold=_stays_small)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.RemoveInitializersFromInputsPass()(model)
    common.RemoveUnusedNodesPass()(model)


def _stays_small(node: ir.Node) -> bool | None:
    """What can grow out of a few bytes is computed only where its size is known to be small."""
    if node.op_type not in GROWING:
        return None
    sizes = [value.shape.numpy() if value.shape and value.shape.is_static() else None for value in node.outputs]
    if None in sizes and node.op_type in SIZED:
        arrays = [np.zeros(0) if value is None or value.const_value is None else value.const_value.numpy()
                  for value in node.inputs]  # fmt: skip
        sizes = [(*arrays[0].shape, *(int(size) for size in arrays[SIZED[node.op_type]].ravel()))]
    small = all(size is not None and _product(size) <= FOLDED_ELEMENTS for size in sizes)
    return None if small else False


def _product(sizes: tuple[int, ...]) -> int:
    count = 1
    for size in sizes:
        count = min(count * max(size, 0), MAX_ELEMENTS)
    return count
