"""The XNNPACK runner as Cortex-A7 code under QEMU: LiteRT's bytes for every operation, and files that are not whole."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from int8_models import artifact_of, float_model
from needs import needs_downloads
from numpy.typing import NDArray
from operation_cases import CASES, Case
from single_graphs import activation, constant, samples_of, single

from edgeq.bench.float_twin import float_twin
from edgeq.bench.guest import GuestProgram
from edgeq.bench.jobs import Job, pack_samples, read_results, write_job_file
from edgeq.bench.qemu import run
from edgeq.bench.sysroot import sysroot
from edgeq.bench.toolchain import find_qemu, native_source
from edgeq.bench.xnnpack_graph import encode_graph
from edgeq.bench.xnnpack_library import XNNPACK_PACKAGES, xnnpack_guest
from edgeq.bench.xnnpack_rules import RULES
from edgeq.errors import EdgeqError
from edgeq.targets import load_target
from edgeq.tflite.model import Graph, Quantization
from edgeq.tflite.write import write_graph
from edgeq.verify.litert import run as run_litert

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
SAMPLES = 6
TIMEOUT_S = 120


@pytest.fixture(scope="module")
def guest() -> GuestProgram:
    try:
        find_qemu("armhf")
        sysroot("armhf", XNNPACK_PACKAGES)
    except EdgeqError as error:
        pytest.skip(str(error))
    return xnnpack_guest(load_target("cortex-a7"))


def run_jobs(guest: GuestProgram, jobs: Sequence[Job], folder: Path) -> str:
    write_job_file(jobs, folder / "jobs")
    arguments = [*guest.arguments, str(folder / "jobs")]
    return run(guest.program, arguments, arch="armhf", cpu="cortex-a7", root=guest.root, timeout_s=TIMEOUT_S).stdout


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What the runner wrote and what LiteRT gives, as arrays [samples, elements] of the outputs' types."""

    found: list[NDArray[Any]]
    wanted: list[NDArray[Any]]


def make_job(name: str, graph: Graph, samples: Sequence[NDArray[Any]], folder: Path, **values: int) -> Job:
    job = Job(name, folder / f"{name}.graph", folder / f"{name}.in", folder / f"{name}.out", **values)
    job.model.write_bytes(encode_graph(graph))
    job.samples.write_bytes(pack_samples(samples))
    return job


def compare(guest: GuestProgram, graphs: Mapping[str, Graph], folder: Path) -> dict[str, Outputs]:
    """Run graphs in the runner, all in one process, and in LiteRT here."""
    samples = {name: samples_of(graph, SAMPLES, seed) for seed, (name, graph) in enumerate(graphs.items())}
    jobs = [make_job(str(i), graph, samples[name], folder) for i, (name, graph) in enumerate(graphs.items())]
    results = read_results(run_jobs(guest, jobs, folder), jobs)
    assert {result.samples for result in results} == {SAMPLES}
    compared = {}
    for job, (name, graph) in zip(jobs, graphs.items(), strict=True):
        outputs = run_litert(write_graph(graph), samples[name], workers=1)
        wanted = [array.reshape(SAMPLES, -1) for array in outputs]
        raw = np.frombuffer(job.outputs.read_bytes(), np.uint8).reshape(SAMPLES, -1)
        ends = np.cumsum([array[0].nbytes for array in wanted])
        assert raw.shape[1] == ends[-1]
        parts = np.split(raw, ends[:-1], axis=1)
        found = [np.ascontiguousarray(part).view(array.dtype) for part, array in zip(parts, wanted, strict=True)]
        compared[name] = Outputs(found, wanted)
    return compared


def int8_graph(case: Case) -> Graph:
    return artifact_of(float_model(case.body, case.constants, case.inputs, case.outputs)).conversion.graph


# --- every operation that edgeq writes --------------------------------------------------------------------------------


REFUSED = {"Slice-backwards"}
RUNNABLE = [case for case in CASES if set(case.becomes.split()) <= set(RULES) and case.name not in REFUSED]
RAMPS = {"GreaterOrEqual-a_sign_of_three_dimensions"}
IN_FLOAT = [case.name for case in RUNNABLE if set(case.becomes.split()) != {"QUANTIZE"}]  # of which nothing is left


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    return {case.name: int8_graph(case) for case in RUNNABLE}


@pytest.fixture(scope="module")
def int8_outputs(
    guest: GuestProgram, graphs: dict[str, Graph], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Outputs]:
    return compare(guest, graphs, tmp_path_factory.mktemp("int8"))


@pytest.fixture(scope="module")
def float_outputs(
    guest: GuestProgram, graphs: dict[str, Graph], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Outputs]:
    twins = {name: float_twin(graphs[name]) for name in IN_FLOAT}
    return compare(guest, twins, tmp_path_factory.mktemp("float"))


@needs_downloads
@pytest.mark.parametrize("name", [case.name for case in RUNNABLE])
def test_int8_is_litert_to_the_byte(int8_outputs: dict[str, Outputs], name: str) -> None:
    for found, wanted in zip(int8_outputs[name].found, int8_outputs[name].wanted, strict=True):
        np.testing.assert_array_equal(found, wanted)


@needs_downloads
@pytest.mark.parametrize("name", IN_FLOAT)
def test_float_is_litert_but_for_the_order_of_sums(float_outputs: dict[str, Outputs], name: str) -> None:
    """Of a step, which saturates in int8, the float twin is a ramp: it makes much of a last bit."""
    for found, wanted in zip(float_outputs[name].found, float_outputs[name].wanted, strict=True):
        atol = (1e-3 if name in RAMPS else 1e-5) * max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)


# --- what edgeq does not write, and where XNNPACK of 2022 is known to differ ----------------------------------------


def conv_graph(size: tuple[int, int], kernel: tuple[int, int], *, per_channel: bool) -> Graph:
    """Stride 2 and SAME padding, with the kernel smaller than the stride along an axis."""
    generator = np.random.default_rng([*size, *kernel])
    weights = generator.integers(-127, 128, (5, *kernel, 3)).astype(np.int8)
    scales = generator.uniform(0.005, 0.02, 5 if per_channel else 1).astype(np.float32)
    grid = Quantization.per_channel(scales, 0)
    bias = generator.integers(-500, 500, 5).astype(np.int32)
    tensors = [
        activation("x", (1, *size, 3), scale=0.1, zero=7),
        constant("w", weights, grid),
        constant("b", bias, Quantization.per_channel(np.float32(0.1) * scales, 0)),
    ]
    options = schema.Conv2DOptionsT(padding=0, strideH=2, strideW=2, dilationHFactor=1, dilationWFactor=1,
                                    fusedActivationFunction=0)  # fmt: skip
    rows, columns = (-(-side // 2) for side in size)
    return single("CONV_2D", tensors, activation("y", (1, rows, columns, 5), scale=0.3, zero=-5), options, version=3)


def mean_graph(axes: list[int], zero: int) -> Graph:
    """Powers of two, so that ties occur; an odd zero point, where they show."""
    shape = (1, 2, 4, 5)
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    inputs = [activation("x", shape, scale=0.5, zero=3), constant("axes", np.array(axes, np.int32))]
    return single("MEAN", inputs, activation("y", kept, scale=0.5, zero=zero), schema.ReducerOptionsT(keepDims=True))


def dense_graph() -> Graph:
    """One scale for all weights, and powers of two, so that ties occur."""
    generator = np.random.default_rng(0)
    tensors = [
        activation("x", (1, 9), scale=0.5, zero=4),
        constant("w", generator.integers(-3, 4, (12, 9)).astype(np.int8), Quantization.per_tensor(0.5, 0)),
        constant("b", generator.integers(-50, 50, 12).astype(np.int32), Quantization.per_tensor(0.25, 0)),
    ]
    result = activation("y", (1, 12), scale=2.0, zero=-3)
    return single("FULLY_CONNECTED", tensors, result, schema.FullyConnectedOptionsT(), version=4)


def resize_graph(align: bool, half: bool) -> Graph:
    options = schema.ResizeBilinearOptionsT(alignCorners=align, halfPixelCenters=half)
    inputs = [activation("x", (1, 4, 5, 3)), constant("size", np.array([7, 11], np.int32))]
    return single("RESIZE_BILINEAR", inputs, activation("y", (1, 7, 11, 3)), options, version=3)


def quantize_graph(before: str, after: str, size: int) -> Graph:
    zeros = {"uint8": 120, "int8": -9, "float32": 0}
    source = activation("x", (1, size), before, 0.1, zeros[before])
    kind = "DEQUANTIZE" if after == "float32" else "QUANTIZE"
    options = schema.DequantizeOptionsT() if after == "float32" else schema.QuantizeOptionsT()
    return single(kind, [source], activation("y", (1, size), after, 0.037, zeros[after]), options)


FOREIGN = {
    "dense": dense_graph(),
    **{f"SAME {size} {kernel} {per}": conv_graph(size, kernel, per_channel=per)
       for size in ((6, 7), (7, 8)) for kernel in ((1, 2), (1, 1), (3, 1)) for per in (False, True)},
    **{f"MEAN {axes} {zero}": mean_graph(axes, zero) for axes in ([1, 2], [1], [2, 3], [3]) for zero in (0, 51, -128)},
    **{f"RESIZE {align} {half}": resize_graph(align, half)
       for align, half in ((False, False), (True, False), (False, True))},
    **{f"{before} to {after} {size}": quantize_graph(before, after, size)
       for before, after in (("uint8", "int8"), ("int8", "uint8"), ("uint8", "uint8"), ("int8", "int8"),
                             ("float32", "int8"), ("float32", "uint8"), ("int8", "float32"), ("uint8", "float32"))
       for size in (16, 37)},
}  # fmt: skip


@pytest.fixture(scope="module")
def foreign_outputs(guest: GuestProgram, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outputs]:
    return compare(guest, FOREIGN, tmp_path_factory.mktemp("foreign"))


@needs_downloads
@pytest.mark.parametrize("name", FOREIGN)
def test_what_others_write_is_litert_to_the_byte(foreign_outputs: dict[str, Outputs], name: str) -> None:
    for found, wanted in zip(foreign_outputs[name].found, foreign_outputs[name].wanted, strict=True):
        np.testing.assert_array_equal(found, wanted)


@needs_downloads
def test_mul_is_one_code_off_at_most_and_only_where_a_product_lies_between_two_codes(
    guest: GuestProgram, tmp_path: Path
) -> None:
    """XNNPACK rounds these ties up on ARM (so does LiteRT's on aarch64) and to even on x86."""
    inputs = [activation("x", (1, 400), scale=0.5, zero=3), activation("z", (1, 400), scale=0.25, zero=-7)]
    graph = single("MUL", inputs, activation("y", (1, 400), scale=4.0, zero=5), schema.MulOptionsT())
    outputs = compare(guest, {"mul": graph}, tmp_path)["mul"]
    x, z = (array.astype(int) for array in samples_of(graph, SAMPLES))
    ties = (x - 3) * (z + 7) % 32 == 16
    difference = np.abs(outputs.found[0].astype(int) - outputs.wanted[0])
    assert difference.max() <= 1
    assert not difference[~ties].any()
    assert ties.any()


@needs_downloads
@pytest.mark.slow
def test_resnet20_with_pixels_in_and_scores_out_is_litert_to_the_byte(guest: GuestProgram, tmp_path: Path) -> None:
    from edgeq.export.float_onnx import export_float
    from edgeq.models import create_model

    network = create_model("resnet20", num_classes=10, input_shape=(3, 32, 32), seed=0)
    pixels = np.random.default_rng(0).uniform(-1, 1, (4, 3, 32, 32)).astype(np.float32)
    artifact = artifact_of(export_float(network, [(3, 32, 32)]), {"input": pixels}, io="uint8", head="softmax")
    outputs = compare(guest, {"resnet20": artifact.conversion.graph}, tmp_path)["resnet20"]
    np.testing.assert_array_equal(outputs.found[0], outputs.wanted[0])
    assert len(np.unique(outputs.wanted[0])) > 1


# --- the protocol -----------------------------------------------------------------------------------------------------


@pytest.fixture
def relu() -> Graph:
    return single("RELU", [activation("x", (1, 40), scale=0.5)], activation("y", (1, 40), scale=0.25, zero=-128))


@needs_downloads
def test_the_answer_names_each_job_and_its_runs(guest: GuestProgram, relu: Graph, tmp_path: Path) -> None:
    samples = samples_of(relu, 2)
    jobs = [make_job(f"job {i}", relu, samples, tmp_path, warm_up=i, runs=i) for i in range(3)]
    jobs.append(dataclasses.replace(jobs[0], name='with "quotes" and \\'))
    answers = [json.loads(line) for line in run_jobs(guest, jobs, tmp_path).splitlines()]
    assert [answer["name"] for answer in answers] == [job.name for job in jobs]
    assert [(answer["samples"], answer["input_bytes"], answer["output_bytes"]) for answer in answers] == [
        (2, 40, 40)
    ] * 4
    assert [len(answer["ns"]) for answer in answers] == [job.runs for job in jobs]
    assert all(time > 0 for answer in answers for time in answer["ns"])


@needs_downloads
def test_threads_change_no_byte(guest: GuestProgram, tmp_path: Path) -> None:
    graph = conv_graph((20, 20), (3, 3), per_channel=True)
    samples = samples_of(graph, 2)
    jobs = [make_job(f"{threads}", graph, samples, tmp_path, threads=threads) for threads in (1, 3)]
    run_jobs(guest, jobs, tmp_path)
    assert jobs[0].outputs.read_bytes() == jobs[1].outputs.read_bytes()


@needs_downloads
@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda job: job.samples.write_bytes(b"\0" * 41), "41 bytes are no whole samples of 40"),
        (lambda job: job.samples.write_bytes(b""), "no whole samples"),
        (lambda job: job.samples.unlink(), "cannot be read"),
        (lambda job: job.model.unlink(), "cannot be read"),
        (lambda job: job.outputs.mkdir(), "cannot be written"),
        (lambda job: job.model.write_bytes(b"x" * 400), "is no graph file"),
    ],
)
def test_a_job_that_cannot_be_done_is_one_line(
    guest: GuestProgram, relu: Graph, tmp_path: Path, spoil: Callable[[Job], object], what: str
) -> None:
    job = make_job("job", relu, samples_of(relu, 1), tmp_path)
    spoil(job)
    with pytest.raises(EdgeqError, match=what):
        run_jobs(guest, [job], tmp_path)


@needs_downloads
def test_a_grid_that_xnnpack_does_not_take_is_one_line(guest: GuestProgram, tmp_path: Path) -> None:
    source = [activation("x", (1, 4), scale=1e6), activation("z", (1, 4), scale=1e6)]
    graph = single("ADD", source, activation("y", (1, 4), scale=1e-3), schema.AddOptionsT())
    with pytest.raises(EdgeqError, match="XNNPACK refuses operations from"):
        run_jobs(guest, [make_job("job", graph, samples_of(graph, 1), tmp_path)], tmp_path)


# --- files that are not whole: the reader alone, with sanitizers, on this machine -----------------------------------

READER = """
#include "xnnpack_checks.h"
#include "xnnpack_plain.h"
int main(int count, char **arguments) {
  graph_t graph = read_graph(arguments[count - 1]);
  for (uint32_t i = 0; i < graph.counts.values; i++)
    if (graph.values[i].constant == NULL) graph.values[i].buffer = allocate(graph.values[i].bytes);
  for (uint32_t i = 0; i < graph.counts.nodes; i++) {
    const node_t *node = &graph.nodes[i];
    void *own = node->kind == MEAN ? allocate(result(&graph, node)->count * 4)
              : node->kind == SOFTMAX_INT8 ? softmax_table(operand(&graph, node, 0)->scale, node->minimum) : NULL;
    if (node->kind > XNNPACK_END) run_plain(&graph, node, own);
    free(own);
  }
  return 0;
}
"""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reads a file as the runner does and runs the plain operations in it, watched by sanitizers."""
    folder = tmp_path_factory.mktemp("reader")
    source, program = folder / "reader.c", folder / "reader"
    source.write_text(READER)
    flags = ["-g", "-O1", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined",
             "-fno-sanitize-recover=all", f"-I{native_source('xnnpack_checks.h').parent}"]  # fmt: skip
    done = subprocess.run(["gcc", *flags, "-o", program, source, "-lm"], capture_output=True, text=True, check=False)
    if "cannot find -lasan" in done.stderr or "libasan" in done.stderr:
        pytest.skip("gcc has no sanitizers here")
    assert (done.returncode, done.stderr) == (0, "")
    return program


def read(reader: Path, path: Path) -> tuple[int, list[str]]:
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run([reader, path], capture_output=True, text=True, check=False, timeout=60, env=environment)
    return done.returncode, done.stderr.splitlines()


ODD_NUMBERS: list[int] = [0, 1, 2, 5, 64, 255, 65536, 2**31, 2**32 - 1]
PLAIN = ("Softmax-channels", "AveragePool-pads_left_out", "Concat-columns", "Transpose-image", "Slice-from_the_end",
         "MaxPool-torch_pads", "ReduceMean-rows_kept", "Relu-fused", "Gemm-torch")  # fmt: skip


@needs_gcc
def test_a_truncated_graph_is_one_line_at_every_length(reader: Path, relu: Graph, tmp_path: Path) -> None:
    content, path = encode_graph(relu), tmp_path / "graph"
    path.write_bytes(content)
    assert read(reader, path) == (0, [])
    for size in {*range(0, len(content), 37), *range(len(content) - 20, len(content))}:
        path.write_bytes(content[:size])
        status, lines = read(reader, path)
        assert (status, len(lines)) == (1, 1), (size, lines)


@needs_gcc
@pytest.mark.parametrize("name", PLAIN)
def test_a_corrupted_graph_reads_nothing_that_is_not_its_own(reader: Path, tmp_path: Path, name: str) -> None:
    """Sanitizers watch; a file that happens to be whole still may run, any other is one line."""
    content = encode_graph(int8_graph(next(case for case in CASES if case.name == name)))
    tables_end = int.from_bytes(content[32:36], "little")
    generator = np.random.default_rng(0)
    path, refused = tmp_path / "graph", 0
    for _ in range(40):
        spoiled = bytearray(content)
        for _ in range(generator.integers(1, 4)):
            place = int(generator.integers(2, tables_end // 4)) * 4
            value = int(generator.choice([*ODD_NUMBERS, int(generator.integers(2**32))]))
            spoiled[place : place + 4] = value.to_bytes(4, "little")
        path.write_bytes(spoiled)
        status, lines = read(reader, path)
        assert (status, len(lines)) in ((0, 0), (1, 1)), lines[:8]
        refused += status
    assert refused


@needs_downloads
def test_a_truncated_graph_is_one_line_on_the_target(guest: GuestProgram, relu: Graph, tmp_path: Path) -> None:
    job = make_job("job", relu, samples_of(relu, 1), tmp_path)
    content = job.model.read_bytes()
    for size in (0, 8, 47, 48, 200, len(content) - 16, len(content) - 1):
        job.model.write_bytes(content[:size])
        with pytest.raises(EdgeqError, match=r"is no graph file|is truncated or corrupted"):
            run_jobs(guest, [job], tmp_path)
