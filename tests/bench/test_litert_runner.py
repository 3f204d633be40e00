from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from int8_models import artifact_of, float_proto
from numpy.typing import NDArray
from operation_cases import CASES

from edgeq.bench.jobs import Job, pack_samples, read_results, unpack_outputs, write_job_file
from edgeq.bench.litert_library import litert_library
from edgeq.bench.toolchain import build_program, native_source
from edgeq.tflite.read import read_graph
from edgeq.verify.litert import run as run_python

# One of each: an image through a convolution, a matrix, two inputs of different sizes, two outputs.
CHOSEN = ("Conv-plain", "Gemm-torch", "Concat-channels", "Relu-one_of_two_readers")
SAMPLES = 3


@dataclass(frozen=True)
class Runner:
    """A runner on this machine: the command before the job file, and its variables."""

    command: tuple[str, ...]
    environment: dict[str, str]

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [*self.command, *map(str, arguments)]
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)


@dataclass(frozen=True)
class Model:
    """A small artifact, inputs for it and what LiteRT gives in Python."""

    content: bytes
    inputs: list[NDArray[Any]]
    outputs: list[NDArray[Any]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEQ_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", params=["C", "Python"])
def runner(request: pytest.FixtureRequest, cache: None, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """The runner of LiteRT's C library, and the one of tflite-runtime with LiteRT's interpreter in that one's place."""
    if request.param == "Python":
        package = tmp_path_factory.mktemp("site") / "tflite_runtime"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "interpreter.py").write_text("from ai_edge_litert.interpreter import Interpreter\n")
        script = str(native_source("tflite_runtime_runner.py"))
        return Runner((sys.executable, script), {"EDGEQ_TFLITE_RUNTIME": str(package.parent)})
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    program = build_program("litert_runner.c", "host", flags=("-Wextra", "-Werror"), libraries=("dl",))
    return Runner((str(program),), {"EDGEQ_LITERT": str(litert_library("host").runtime)})


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    made = {}
    for case in CASES:
        if case.name in CHOSEN:
            model = ir.from_proto(float_proto(case.body, case.constants, case.inputs, case.outputs))
            content = artifact_of(model).content
            graph = read_graph(content)
            generator = np.random.default_rng(0)
            shapes = [(SAMPLES, *graph.tensors[index].shape[1:]) for index in graph.inputs]
            inputs = [generator.integers(-128, 128, shape).astype(np.int8) for shape in shapes]
            made[case.name] = Model(content, inputs, run_python(content, inputs, workers=1))
    assert set(made) == set(CHOSEN)
    return made


@pytest.fixture
def make_job(models: dict[str, Model], tmp_path: Path) -> Callable[..., Job]:
    def make(name: str = CHOSEN[0], **values: Any) -> Job:
        job = Job(name, tmp_path / f"{name}.tflite", tmp_path / f"{name}.in", tmp_path / f"{name}.out", **values)
        job.model.write_bytes(models[name].content)
        job.samples.write_bytes(pack_samples(models[name].inputs))
        return job

    return make


def test_every_job_gives_the_bytes_of_litert_in_python(
    runner: Runner, models: dict[str, Model], make_job: Callable[..., Job], tmp_path: Path
) -> None:
    jobs = [make_job(name, warm_up=i, runs=i, threads=1 + i % 2) for i, name in enumerate(CHOSEN)]
    write_job_file(jobs, tmp_path / "jobs")
    done = runner(tmp_path / "jobs")
    assert (done.returncode, done.stderr) == (0, "")
    for job, result in zip(jobs, read_results(done.stdout, jobs), strict=True):
        model = models[job.name]
        assert (result.samples, len(result.nanoseconds)) == (SAMPLES, job.runs)
        assert all(time > 0 for time in result.nanoseconds)
        outputs = unpack_outputs(job.outputs.read_bytes(), read_graph(model.content), SAMPLES)
        for found, wanted in zip(outputs, model.outputs, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_the_answer_tells_the_bytes_of_a_sample(runner: Runner, make_job: Callable[..., Job], tmp_path: Path) -> None:
    write_job_file([make_job("Concat-channels")], tmp_path / "jobs")
    answer = json.loads(runner(tmp_path / "jobs").stdout)
    assert answer["input_bytes"] == 6 * 11 * (3 + 4)
    assert answer["output_bytes"] == 6 * 11 * 7


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    """The line of a runner that failed, without its name."""
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line.split(": ", 1)[1]


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 40, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_model_is_refused(
    runner: Runner, make_job: Callable[..., Job], tmp_path: Path, kept: float
) -> None:
    job = make_job()
    content = job.model.read_bytes()
    job.model.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    write_job_file([job], tmp_path / "jobs")
    assert str(job.model) in only_line(runner(tmp_path / "jobs"))
    assert not job.outputs.exists()


def test_a_dynamic_shape_is_refused(
    runner: Runner, models: dict[str, Model], make_job: Callable[..., Job], tmp_path: Path
) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    job = make_job()
    model = schema.ModelT.InitFromPackedBuf(models[job.name].content, 0)
    tensor = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
    tensor.shapeSignature = [-1, *list(tensor.shape)[1:]]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    job.model.write_bytes(builder.Output())
    write_job_file([job], tmp_path / "jobs")
    assert "dynamic shape" in only_line(runner(tmp_path / "jobs"))


def test_an_operation_that_the_runtime_lacks_is_named(
    runner: Runner, models: dict[str, Model], make_job: Callable[..., Job], tmp_path: Path
) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    job = make_job()
    model = schema.ModelT.InitFromPackedBuf(models[job.name].content, 0)
    code = model.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"Unheard"
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    job.model.write_bytes(builder.Output())
    write_job_file([job], tmp_path / "jobs")
    assert "Unheard" in only_line(runner(tmp_path / "jobs"))


@pytest.mark.parametrize("size", [0, 1, 6 * 11 * 3 - 1, 6 * 11 * 3 + 1])
def test_an_input_that_is_no_whole_samples_is_refused(
    runner: Runner, make_job: Callable[..., Job], tmp_path: Path, size: int
) -> None:
    job = make_job()
    job.samples.write_bytes(bytes(size))
    write_job_file([job], tmp_path / "jobs")
    assert ("not a multiple of the 198 bytes" if size else "empty") in only_line(runner(tmp_path / "jobs"))


@pytest.mark.parametrize("lost", ["model", "samples"])
def test_a_missing_file_is_named(runner: Runner, make_job: Callable[..., Job], tmp_path: Path, lost: str) -> None:
    job = make_job()
    path: Path = getattr(job, lost)
    path.unlink()
    write_job_file([job], tmp_path / "jobs")
    line = only_line(runner(tmp_path / "jobs"))
    assert str(path) in line
    assert "No such file" in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told(runner: Runner, make_job: Callable[..., Job], tmp_path: Path) -> None:
    job = make_job()
    job.outputs.symlink_to("/dev/full")
    write_job_file([job], tmp_path / "jobs")
    assert "No space left" in only_line(runner(tmp_path / "jobs"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "empty"),
        ("name\tmodel\tinput\toutput\t1\t1\n", "6 fields"),
        ("name\tmodel\tinput\toutput\t1\t1\t1\t1\n", "8 fields"),
        ("name\tMODEL\tINPUT\toutput\t-1\t1\t1\n", "warm-up runs '-1'"),
        ("name\tMODEL\tINPUT\toutput\t1\t1e3\t1\n", "measured runs '1e3'"),
        ("name\tMODEL\tINPUT\toutput\t1\t99999999999999999999\t1\n", "measured runs"),
        ("name\tMODEL\tINPUT\toutput\t1\t1\t0\n", "threads '0'"),
    ],
)
def test_a_wrong_job_file_is_refused(
    runner: Runner, make_job: Callable[..., Job], tmp_path: Path, line: str, message: str
) -> None:
    job = make_job()
    (tmp_path / "jobs").write_text(line.replace("MODEL", str(job.model)).replace("INPUT", str(job.samples)))
    assert message in only_line(runner(tmp_path / "jobs"))


def test_jobs_before_a_bad_one_are_answered(runner: Runner, make_job: Callable[..., Job], tmp_path: Path) -> None:
    good, bad = make_job(), make_job("Gemm-torch")
    bad.model.unlink()
    write_job_file([good, bad], tmp_path / "jobs")
    done = runner(tmp_path / "jobs")
    assert "Gemm-torch" in only_line(done)
    assert len(read_results(done.stdout, [good])) == 1


def test_a_runner_wants_one_job_file(runner: Runner, tmp_path: Path) -> None:
    assert "usage" in only_line(runner())
    assert "No such file" in only_line(runner(tmp_path / "none"))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize(("library", "message"), [("", "EDGEQ_LITERT"), ("/no/such.so", "/no/such.so")])
def test_a_missing_library_is_told(
    cache: None, make_job: Callable[..., Job], tmp_path: Path, library: str, message: str
) -> None:
    write_job_file([make_job()], tmp_path / "jobs")
    program = build_program("litert_runner.c", "host", flags=("-Wextra", "-Werror"), libraries=("dl",))
    assert message in only_line(Runner((str(program),), {"EDGEQ_LITERT": library})(tmp_path / "jobs"))
