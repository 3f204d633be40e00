"""Whole lanes under QEMU, on a small network; the host's LiteRT is the judge."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from bench_results import emulation, lane, operation
from int8_models import artifact_of, float_model, weights
from needs import needs_downloads
from single_graphs import activation, constant, single

from edgeq.bench.artifact import BenchResult
from edgeq.bench.compare import compare_lanes, costliest
from edgeq.bench.emulate import check_dot_product, emulate
from edgeq.bench.lanes import Lane
from edgeq.bench.reference import Reference, make_reference
from edgeq.bench.result import Agreement, EmulatedLane, Emulation
from edgeq.errors import ExportError, FormatError, RecipeError, VerifyError
from edgeq.targets import load_target
from edgeq.tflite.model import Graph, Operator, Tensor
from edgeq.tflite.write import write_graph

BODY = """
    a = Conv <pads=[1,1,1,1]> (x, w)
    b = Relu(a)
    c = Conv <pads=[1,1,1,1], group=16> (b, d)
    e = Add(c, b)
    f = GlobalAveragePool(e)
    g = Flatten(f)
    y = Gemm <transB=1> (g, v)
"""


@pytest.fixture(scope="module")
def graph() -> Graph:
    constants = {"w": weights(16, 3, 3, 3), "d": weights(16, 1, 3, 3), "v": weights(10, 16)}
    return artifact_of(float_model(BODY, constants, {"x": (1, 3, 12, 12)})).conversion.graph


@pytest.fixture(scope="module")
def reference(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    path = tmp_path_factory.mktemp("emulate") / "small.tflite"
    path.write_bytes(write_graph(graph))
    return make_reference(path)


@pytest.fixture(scope="module")
def on_a75(reference: Reference) -> Emulation:
    return emulate(reference, load_target("cortex-a75"))


def with_transposes(graph: Graph, after: int) -> Graph:
    """A file of the same network with two permutations after an operation, which together change nothing."""
    source = graph.operators[after].outputs[0]
    batch, *rest = graph.tensors[source].shape
    turned = (batch, rest[2], rest[0], rest[1])
    first = len(graph.tensors)
    added = (
        Tensor("to_nchw", (4,), "int32", None, np.array([0, 3, 1, 2], np.int32)),
        Tensor("turned", turned, "int8", graph.tensors[source].quantization),
        Tensor("to_nhwc", (4,), "int32", None, np.array([0, 2, 3, 1], np.int32)),
        dataclasses.replace(graph.tensors[source], name="turned_back"),
    )
    extra = (
        Operator("TRANSPOSE", (source, first), (first + 1,), schema.TransposeOptionsT(), 2),
        Operator("TRANSPOSE", (first + 1, first + 2), (first + 3,), schema.TransposeOptionsT(), 2),
    )
    later = tuple(
        dataclasses.replace(
            operator, inputs=tuple(first + 3 if index == source else index for index in operator.inputs)
        )
        for operator in graph.operators[after + 1 :]
    )
    return dataclasses.replace(
        graph, tensors=(*graph.tensors, *added), operators=(*graph.operators[: after + 1], *extra, *later)
    )


@needs_downloads
def test_litert_on_an_a75_gives_the_hosts_bytes_with_sdot(on_a75: Emulation) -> None:
    check_dot_product(on_a75, load_target("cortex-a75"))
    (row,) = on_a75.lanes
    assert row.agreement == Agreement(2, False, "codes", True, 0.0, (), may_tie=True)
    assert row.macs_by_form["sdot.q"] >= 12 * 12 * 16 * 27  # the first convolution's
    assert row.counts.total == sum(row.counts.instructions.values())
    assert row.counts.undecoded == 0
    assert row.kernels[0].share > 0.1
    assert any("dwconv" in part.kernel for part in row.operations if part.kind == "DEPTHWISE_CONV_2D")
    assert sum(part.macs for part in row.operations) == row.macs == 12 * 12 * 16 * (27 + 9) + 160
    assert row.estimate is not None
    assert row.estimate.low_ms < row.estimate.high_ms


@needs_downloads
def test_counts_repeat_exactly(reference: Reference, on_a75: Emulation) -> None:
    again = emulate(reference, load_target("cortex-a75"))
    assert again.lanes[0].counts == on_a75.lanes[0].counts
    assert [part.counts for part in again.lanes[0].operations] == [part.counts for part in on_a75.lanes[0].operations]


@needs_downloads
def test_xnnpack_on_an_a7_gives_the_hosts_bytes(reference: Reference) -> None:
    found = emulate(reference, load_target("cortex-a7"), lanes=["xnnpack"])
    (row,) = found.lanes
    assert row.agreement.equal
    assert row.agreement.gaps == ()
    assert any(form.startswith("vmlal") for form in row.macs_by_form)


@needs_downloads
def test_tflite_runtime_on_an_a7_is_within_a_code_a_layer(reference: Reference) -> None:
    found = emulate(reference, load_target("cortex-a7"), lanes=["tflite-runtime"])
    (row,) = found.lanes
    assert not row.repeats
    assert row.agreement.gaps is not None
    assert all(gap.difference <= 1 for gap in row.agreement.gaps)


@needs_downloads
def test_compare_names_the_operation_that_costs(graph: Graph, on_a75: Emulation, tmp_path: Path) -> None:
    path = tmp_path / "turned.tflite"
    path.write_bytes(write_graph(with_transposes(graph, after=0)))
    turned = emulate(make_reference(path), load_target("cortex-a75"))
    pairs = compare_lanes(on_a75.lanes[0], turned.lanes[0])
    worst = costliest(pairs)
    assert worst is not None
    assert worst.first is None
    assert worst.name.startswith("TRANSPOSE turned")
    added = turned.lanes[0].counts.total - on_a75.lanes[0].counts.total
    transposes = sum(pair.instructions for pair in pairs if pair.name.startswith("TRANSPOSE"))
    # Run alone, an operation has the fixed cost of a call of the runtime besides its own.
    assert 0 < added <= transposes


def test_kernels_without_sdot_on_a_core_that_has_it_are_an_error() -> None:
    found = emulation(lane([operation("CONV_2D", 5, macs=9)], macs_by_form={"smlal.8h": 9}))
    with pytest.raises(VerifyError, match=r"no SDOT ran \(got smlal.8h, wanted sdot\)"):
        check_dot_product(found, load_target("cortex-a75"))
    check_dot_product(found, load_target("cortex-a7"))


@pytest.fixture
def comparing(tmp_path: Path) -> Reference:
    """A file with an operation that XNNPACK has not."""
    body = "    a = GreaterOrEqual(x, k)\n    y = Where(a, x, k)\n"
    constants = {"k": np.zeros(1, np.float32)}
    path = tmp_path / "chosen.tflite"
    path.write_bytes(write_graph(artifact_of(float_model(body, constants, {"x": (1, 3, 4, 4)})).conversion.graph))
    return make_reference(path)


def test_a_runtime_without_an_operation_is_left_out_and_it_is_said(
    comparing: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encoded(chosen: Lane, reference: Reference, *_: object) -> EmulatedLane:
        chosen.encode(reference.graph)
        return lane(name=chosen.name)

    monkeypatch.setattr(importlib.import_module("edgeq.bench.emulate"), "_run_lane", encoded)
    a7 = load_target("cortex-a7")
    found = emulate(comparing, a7)
    assert [row.lane for row in found.lanes] == ["tflite-runtime"]
    assert "GREATER_EQUAL is not one that the XNNPACK runner has" in found.left_out["xnnpack"]
    assert "xnnpack was not run: tensor" in str(BenchResult(comparing.path, (found,)))
    with pytest.raises(ExportError, match="GREATER_EQUAL"):
        emulate(comparing, a7, lanes=["xnnpack"])


@needs_downloads
def test_what_xnnpack_has_not_is_counted_in_tflite_runtime(comparing: Reference) -> None:
    found = emulate(comparing, load_target("cortex-a7"))
    (row,) = found.lanes
    assert row.lane == "tflite-runtime"
    assert row.agreement.equal


def test_targets_without_lanes_and_unknown_lanes_are_refused(reference: Reference) -> None:
    with pytest.raises(RecipeError, match="target host: nothing of it runs under QEMU; use --via local"):
        emulate(reference, load_target("host"))
    with pytest.raises(RecipeError, match=r"no such lane \(got xnnpack, wanted litert\)"):
        emulate(reference, load_target("cortex-a75"), lanes=["xnnpack"])


def test_damaged_files_are_refused(tmp_path: Path, graph: Graph) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(write_graph(graph)[:-40])
    with pytest.raises(FormatError):
        make_reference(path)


def test_names_may_repeat_and_first_sizes_differ_inside_a_file(tmp_path: Path) -> None:
    """Of an operation it is the tensor's number that counts; ADD reads 16 rows at once."""
    tensors = (
        activation("same", (1, 4, 4, 2), scale=0.1),
        constant("rows", np.array([16, 2], np.int32)),
        activation("same", (16, 2), scale=0.1),
        activation("same", (16, 2), scale=0.2),
    )
    operators = (
        Operator("RESHAPE", (0, 1), (2,), schema.ReshapeOptionsT(), 1),
        Operator("ADD", (2, 2), (3,), schema.AddOptionsT(), 2),
    )
    path = tmp_path / "rows.tflite"
    path.write_bytes(write_graph(Graph(tensors, operators, (0,), (3,), ("x",), ("y",))))
    found = make_reference(path)
    assert [[array.shape for array in part.outputs] for part in found.operations] == [[(16, 2)], [(16, 2)]]
    np.testing.assert_array_equal(found.operations[1].outputs[0], found.inputs[0][0].reshape(16, 2))  # 2 x 0.1 = 0.2


def test_a_file_that_takes_several_samples_at_once_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pair.tflite"
    terms = (activation("a", (2, 4)), activation("b", (2, 4)))
    path.write_bytes(write_graph(single("ADD", terms, activation("c", (2, 4)), schema.AddOptionsT())))
    with pytest.raises(FormatError, match=r"pair.tflite: takes no single sample \(got \(2, 4\)"):
        make_reference(path)


def test_golden_vectors_are_used_and_checked(tmp_path: Path, graph: Graph, reference: Reference) -> None:
    (tmp_path / "model.tflite").write_bytes(write_graph(graph))
    np.savez(tmp_path / "golden.npz", inputs=reference.inputs[0], outputs=reference.outputs[0])
    assert make_reference(tmp_path, operations=False).golden
    np.savez(tmp_path / "golden.npz", inputs=reference.inputs[0], outputs=reference.outputs[0] ^ 1)
    with pytest.raises(VerifyError, match=r"other bytes than golden.npz holds"):
        make_reference(tmp_path, operations=False)
    np.savez(tmp_path / "golden.npz", inputs=reference.inputs[0][:, :4], outputs=reference.outputs[0])
    with pytest.raises(FormatError, match="golden vectors of another model"):
        make_reference(tmp_path, operations=False)
    (tmp_path / "golden.npz").write_bytes(b"PK")
    with pytest.raises(FormatError, match="no readable golden vectors"):
        make_reference(tmp_path, operations=False)
