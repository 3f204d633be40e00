"""The tensors of an .onnx file: what they declare is held against what is there; external data are mapped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import onnx
import onnx_ir as ir
from onnx.external_data_helper import uses_external_data

from edgeq.errors import ExportError, FormatError

__all__ = ["MAX_ELEMENTS", "check_declared_sizes", "check_tensors", "take_external"]

MAX_ELEMENTS = 2**31 - 1  # a .tflite file addresses 2 GiB
SMALL_BYTES = 1 << 16  # shapes, axes and scales in external data are read at once: shape inference looks at them
FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
ALIGNED = {ir.DataType.COMPLEX64: 2, ir.DataType.COMPLEX128: 2}


def check_tensors(proto: Any, path: Path) -> None:
    """Hold what every tensor declares against the bytes that are there, before anything is made of it.

    Raises:
        FormatError: a tensor's bytes do not fit its shape, its type is unknown, or it is sparse; names it.
        ExportError: all together they pass what a .tflite file can hold.
    """
    if proto.graph.sparse_initializer:
        name = proto.graph.sparse_initializer[0].values.name
        raise FormatError("a sparse initializer is not read", where=path, got=name, remedy="store it dense")
    total = 0
    for tensor in _tensors(proto):
        count = _count(tensor, path)
        total += count
        if uses_external_data(tensor):
            continue
        if tensor.HasField("raw_data"):
            found, wanted = len(tensor.raw_data), _bytes(tensor, count, path)
            unit = "bytes"
        else:
            found = max(len(getattr(tensor, field)) for field in FIELDS)
            wanted, unit = count * ALIGNED.get(tensor.data_type, 1), "values"
            if ir.DataType(tensor.data_type).bitwidth < 8:
                wanted = -(-count * ir.DataType(tensor.data_type).bitwidth // 8)
        if found != wanted:
            raise FormatError(
                f"the tensor {tensor.name} is not as long as its shape says",
                where=path,
                got=f"{found} {unit} for {list(tensor.dims)}",
                wanted=f"{wanted} {unit}",
            )
    if total > MAX_ELEMENTS:
        raise ExportError(
            "the weights do not fit a .tflite file",
            where=path,
            got=f"{total} of them, a byte each in int8",
            wanted="less than 2 GiB",
            remedy="split the network",
        )


def check_declared_sizes(proto: Any, path: Path) -> None:
    """Refuse activations that no device could hold, before constants of their shape are computed.

    Raises:
        FormatError: names the value.
    """
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        sizes = [size.dim_value for size in value.type.tensor_type.shape.dim if size.HasField("dim_value")]
        if any(size < 0 for size in sizes) or math.prod(sizes) > MAX_ELEMENTS:
            raise FormatError(
                f"the value {value.name} has a size that cannot be", where=path, got=sizes, wanted="less than 2 GiB"
            )


def take_external(proto: Any, path: Path | None) -> dict[str, ir.ExternalTensor]:
    """Take the external initializers out of a model: large ones become inputs of the graph, small ones are read.

    Args:
        proto: changed in place, so that checks and shape inference need none of the data.
        path: the model's file; the data lie in its folder. None: there is none, and external data are refused.

    Returns:
        By initializer name the large tensors, mapped into memory when first used.

    Raises:
        FormatError: the location leaves the folder, is no plain file or too short; names the tensor.
    """
    if path is None:
        name = next((tensor.name for tensor in _tensors(proto) if uses_external_data(tensor)), None)
        if name is not None:
            raise FormatError("keeps its weights in another file", where=proto.graph.name, got=name, remedy="load them")
        return {}
    kept, taken = [], {}
    inputs = {value.name for value in proto.graph.input}
    for tensor in proto.graph.initializer:
        if not uses_external_data(tensor):
            kept.append(tensor)
            continue
        location, offset, length = _place(tensor, path)
        if length <= SMALL_BYTES:
            with (path.parent / location).open("rb") as file:
                file.seek(offset)
                tensor.raw_data = file.read(length)
            del tensor.external_data[:]
            tensor.data_location = onnx.TensorProto.DEFAULT
            kept.append(tensor)
            continue
        shape = list(tensor.dims)
        taken[tensor.name] = ir.ExternalTensor(
            location, offset, length, ir.DataType(tensor.data_type), shape=ir.Shape(shape), name=tensor.name,
            base_dir=path.parent,
        )  # fmt: skip
        if tensor.name not in inputs:
            proto.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, shape))
    for tensor in _tensors(proto):
        if uses_external_data(tensor) and tensor.name not in taken:
            raise FormatError(
                "an attribute keeps its data in another file", where=path, got=tensor.name, remedy="save it as one file"
            )
    if taken or len(kept) != len(proto.graph.initializer):
        copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
        del proto.graph.initializer[:]
        proto.graph.initializer.extend(copies)
    return taken


def _place(tensor: Any, path: Path) -> tuple[str, int, int]:
    """Where a tensor's data lie, checked."""
    entries = {item.key: item.value for item in tensor.external_data}
    where, location = f"{path}, tensor {tensor.name}", entries.get("location", "")
    parts = (*PurePosixPath(location).parts, *PureWindowsPath(location).parts)
    absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive
    if not location or absolute or ".." in parts or "\0" in location:
        raise FormatError(
            "the external data lie outside of the model's folder",
            where=where,
            got=repr(location),
            wanted="a path within the folder",
            remedy="save the model again",
        )
    file = path.parent / location
    steps = [
        path.parent.joinpath(*PurePosixPath(location).parts[: i + 1]) for i in range(len(PurePosixPath(location).parts))
    ]
    if any(step.is_symlink() for step in steps):
        raise FormatError("the external data are a symbolic link", where=where, got=location, wanted="a plain file")
    if not file.is_file():
        raise FormatError(
            "the external data are missing", where=where, got=location, remedy="keep the file beside the model"
        )
    wanted = _bytes(tensor, _count(tensor, path), path)
    numbers = []
    for key, default in (("offset", 0), ("length", wanted)):
        text = entries.get(key, str(default))
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise FormatError(f"the {key} of the external data is no number", where=where, got=repr(text[:40]))
        numbers.append(int(text))
    offset, length = numbers
    size = file.stat().st_size
    if length != wanted or offset + length > size:
        raise FormatError(
            "the external data are not as long as the shape says",
            where=where,
            got=f"bytes {offset} to {offset + length} of a file of {size}",
            wanted=f"{wanted} bytes",
        )
    return location, offset, length


def _tensors(proto: Any) -> Iterator[Any]:
    """Initializers and tensor attributes of the graph and of the graphs within it."""
    graphs = [proto.graph]
    while graphs:
        graph = graphs.pop()
        yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                graphs += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _count(tensor: Any, path: Path) -> int:
    if any(size < 0 for size in tensor.dims):
        raise FormatError(f"the tensor {tensor.name} has a negative size", where=path, got=list(tensor.dims))
    return math.prod(tensor.dims)


def _bytes(tensor: Any, count: int, path: Path) -> int:
    try:
        bits = ir.DataType(tensor.data_type).bitwidth
    except (ValueError, TypeError) as error:
        raise FormatError(
            f"the tensor {tensor.name} has no type that is read", where=path, got=tensor.data_type
        ) from error
    return -(-count * bits // 8)
