from __future__ import annotations

import contextlib
import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Build, Ended
from int8_models import artifact_of, float_model, weights
from numpy.typing import NDArray
from operation_cases import CASES, Case

import edgeq
from edgeq.artifact import Artifact
from edgeq.errors import EdgeqError, FormatError
from edgeq.grid import Grid, quantize_weight
from edgeq.packing.package import MAGIC, pack_bytes, unpack_bytes
from edgeq.packing.stream import Writer
from edgeq.tflite.model import Graph, Quantization, Tensor
from edgeq.tflite.write import write_graph

Run = Callable[..., Ended]


def network(density: float = 1.0) -> Artifact:
    """A convolution with a scale a channel, and a fully-connected layer."""
    generator = np.random.default_rng(0)
    constants = {"v": weights(8, 3, 3, 3), "w": weights(40, 288), "b": weights(40), "c": weights(8)}
    for name in ("v", "w"):
        constants[name] *= generator.random(constants[name].shape) < density
    body = "a = Conv (x, v, c)\n r = Relu (a)\n f = Flatten (r)\n y = Gemm <transB = 1> (f, w, b)"
    return artifact_of(float_model(body, constants, {"x": (1, 3, 8, 8)}))


@pytest.fixture(scope="module")
def content() -> bytes:
    return network().content


@pytest.fixture(scope="module")
def package(content: bytes) -> bytes:
    return pack_bytes(content).content


def test_a_package_unpacks_to_the_same_bytes(content: bytes, package: bytes) -> None:
    assert unpack_bytes(package) == content
    assert len(package) < len(content)
    assert pack_bytes(content).content == package


def test_a_build_unpacks_to_the_same_bytes(built: Build, tmp_path: Path) -> None:
    file = built.out / "model.tflite"
    result = edgeq.pack(built.out, tmp_path / "x.edgeqpack")
    assert edgeq.unpack(result.path).path.read_bytes() == file.read_bytes()
    assert result.tflite_bytes == file.stat().st_size
    assert result.size_bytes == result.path.stat().st_size == sum(packed for _, packed in result.kinds.values())
    assert result.tflite_bytes == sum(plain for plain, _ in result.kinds.values())


@pytest.mark.parametrize("case", CASES[::9], ids=lambda case: case.name)
def test_any_operation_unpacks_to_the_same_bytes(case: Case) -> None:
    made = artifact_of(float_model(case.body, case.constants, case.inputs, case.outputs)).content
    assert unpack_bytes(pack_bytes(made).content) == made


def test_weights_that_are_left_are_told_by_relative_indices() -> None:
    sparse = pack_bytes(network(0.05).content)
    dense = pack_bytes(network().content)
    of = {item.part.name: item for item in sparse.parts if item.part.role == "weights"}
    assert of["w"].form.startswith("relative indices")
    assert of["w"].used == np.count_nonzero(_codes(network(0.05), "w"))
    assert len(sparse.content) < len(dense.content) / 3


def _codes(artifact: Artifact, name: str) -> NDArray[Any]:
    return next(
        tensor.data for tensor in artifact.conversion.graph.tensors if tensor.name == name and tensor.data is not None
    )


def test_the_scales_of_biases_are_told_by_those_of_weights(content: bytes) -> None:
    forms = {(item.part.name, item.part.role): item for item in pack_bytes(content).parts}
    found = [item for (_, role), item in forms.items() if role == "scales" and item.form == "product of scales"]
    assert len(found) == 2
    assert all(item.packed_bytes < 12 for item in found)


def test_four_bit_weights_are_taken_apart() -> None:
    codes = np.random.default_rng(0).choice(np.array([-7, -1, 0, 0, 0, 1, 7], np.int8), (33, 47))
    grid = Quantization.per_tensor(0.1, 0, "int4")
    graph = Graph((Tensor("w", codes.shape, "int4", grid, codes),), (), (0,), (0,))
    made = write_graph(graph)
    packed = pack_bytes(made)
    assert unpack_bytes(packed.content) == made
    (part,) = packed.parts
    assert (part.part.values, part.distinct, part.part.role) == (codes.size, 5, "weights")


# --- hostile ----------------------------------------------------------------------------------------------------------


def test_what_is_no_tflite_file_is_not_packed(tmp_path: Path, content: bytes) -> None:
    for name, given in (("empty", b""), ("text", b"hello TFL3"), ("cut", content[:900]), ("head", content[:8])):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(given)
        with pytest.raises(FormatError, match=f"{name}.tflite: is "):
            edgeq.pack(path)
        assert [item.name for item in tmp_path.iterdir() if item.suffix == ".edgeqpack"] == []


def test_a_package_that_is_cut_short_is_refused(package: bytes) -> None:
    for size in [*range(0, 60), *range(60, len(package), 97), len(package) - 1]:
        with pytest.raises(FormatError, match="package: is "):
            unpack_bytes(package[:size])


def test_a_package_with_a_byte_changed_never_gives_other_bytes(package: bytes, content: bytes) -> None:
    """Refused, but where the bit changed is one that fills up a last byte."""
    generator = np.random.default_rng(0)
    refused = 0
    for place in [*range(0, 120), *generator.integers(0, len(package), 300)]:
        changed = bytearray(package)
        changed[place] ^= int(generator.integers(1, 256))
        try:
            found = unpack_bytes(bytes(changed))
        except FormatError:
            refused += 1
        else:
            assert found == content
    assert refused > 400


def test_bytes_behind_a_package_are_refused(package: bytes) -> None:
    with pytest.raises(FormatError, match="left over"):
        unpack_bytes(package + b"\0")


@pytest.mark.parametrize("size", [1 << 25, 1 << 31, 1 << 40, (1 << 63) - 1])
def test_a_bomb_is_refused_before_memory_is_taken(size: int) -> None:
    writer = Writer()
    writer.raw(MAGIC)
    writer.number(1)
    writer.number(size)
    writer.raw(bytes(32))
    writer.number(1)
    writer.number(0)
    writer.number(2 * size if size < 1 << 62 else size)
    writer.raw(bytes(8))
    tracemalloc.start()
    with pytest.raises(FormatError, match="more than a network of its size would"):
        unpack_bytes(bytes(writer.content))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_later_version_is_told(package: bytes) -> None:
    with pytest.raises(FormatError, match=r"another version \(got 9, wanted 1\)"):
        unpack_bytes(MAGIC + b"\x09" + package[5:])


def test_offsets_that_lead_anywhere_do_no_harm(content: bytes) -> None:
    """A .tflite file with any 32-bit word changed is packed as it is, or refused in one line."""
    generator = np.random.default_rng(1)
    for place in generator.integers(2, len(content) // 4, 40):
        changed = bytearray(content)
        struct.pack_into("<I", changed, 4 * int(place), int(generator.integers(0, 2**32)))
        with contextlib.suppress(EdgeqError):
            assert unpack_bytes(pack_bytes(bytes(changed)).content) == changed


# --- the commands -----------------------------------------------------------------------------------------------------


def test_the_commands(tmp_path: Path, content: bytes, edgeq: Run) -> None:
    file = tmp_path / "net.tflite"
    file.write_bytes(content)
    ended = edgeq("pack", file, "--tensors")
    assert (ended.code, ended.err) == (0, "")
    assert "times smaller than the .tflite" in ended.out
    package = tmp_path / "net.edgeqpack"
    told = json.loads(edgeq("pack", file, "--json").out)
    assert told["bytes"] == package.stat().st_size
    assert told["parameters"] == 8 * 27 + 8 + 40 * 288 + 40
    assert told["float32_ratio"] == pytest.approx(4 * told["parameters"] / told["bytes"])
    back = json.loads(edgeq("unpack", package, "--out", tmp_path / "back.tflite", "--json").out)
    assert (tmp_path / "back.tflite").read_bytes() == content
    assert back == {"path": str(tmp_path / "back.tflite"), "bytes": len(content), "package_bytes": told["bytes"]}
    inspected, plain = (json.loads(edgeq("inspect", path, "--json").out) for path in (package, file))
    assert inspected["format"] == "edgeqpack"
    assert inspected["size_bytes"] == told["bytes"]
    assert inspected["operations"] == plain["operations"]


def test_a_damaged_package_leaves_nothing_behind(tmp_path: Path, package: bytes, edgeq: Run) -> None:
    path = tmp_path / "x.edgeqpack"
    path.write_bytes(package[:-3])
    for command in ("unpack", "inspect"):
        ended = edgeq(command, path)
        assert ended.code == 1
        assert "x.edgeqpack: is truncated" in ended.error
    assert [item.name for item in tmp_path.iterdir()] == ["x.edgeqpack"]


def test_shared_values_cost_their_index(tmp_path: Path) -> None:
    """16 values at equal shares take half a byte each."""
    values = np.random.default_rng(0).choice(np.arange(-8, 8) / 8, (64, 512)).astype(np.float32)
    codes = quantize_weight(values, Grid(8)).codes
    assert len(np.unique(codes)) == 16
    body = "f = Flatten (x)\n y = Gemm <transB = 1> (f, w)"
    made = artifact_of(
        float_model(body, {"w": values}, {"x": (1, 512)}), trained={"w": quantize_weight(values, Grid(8))}
    )
    (part,) = [item for item in pack_bytes(made.content).parts if item.part.role == "weights"]
    assert part.distinct == 16
    assert part.packed_bytes < 64 * 512 / 2 + 100
