"""The runner itself is tested in test_litert_runner.py, with the host's interpreter; here what surrounds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from int8_models import artifact_of, float_proto
from needs import needs_downloads
from operation_cases import CASES

from edgeq.bench import sysroot, wheels
from edgeq.bench.guest import run_jobs
from edgeq.bench.jobs import Job, pack_samples, unpack_outputs
from edgeq.bench.litert_library import litert_guest
from edgeq.bench.tflite_runtime import tflite_runtime_guest
from edgeq.targets import load_target
from edgeq.tflite.read import read_graph
from edgeq.verify.litert import run as run_on_host


def test_the_guest_is_python_with_its_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def guest_root(arch: str, target: object, packages: tuple[str, ...], progress: object) -> Path:
        asked.update(arch=arch, packages=packages)
        return tmp_path

    def make_wheel(wheel: wheels.Wheel, folder: Path) -> Path:
        asked["wheel"] = str(wheel)
        return folder

    def unpack(path: Path, members: dict[str, int], folder: Path) -> None:
        for name in members:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).touch()

    monkeypatch.setenv("EDGEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sysroot, "guest_root", guest_root)
    monkeypatch.setattr(wheels, "_download", make_wheel)
    monkeypatch.setattr(wheels, "_unpack", unpack)
    guest = tflite_runtime_guest(load_target("cortex-a7"))
    assert asked["arch"] == "armhf"
    assert {"libc6", "python3.11-minimal", "python3-numpy"} <= set(asked["packages"])
    assert asked["wheel"] == "tflite-runtime 2.14.0 for manylinux_2_34_armv7l"
    assert guest.program == tmp_path / "usr" / "bin" / "python3.11"
    assert Path(guest.arguments[-1]).name == "tflite_runtime_runner.py"
    assert (Path(guest.environment["EDGEQ_TFLITE_RUNTIME"]) / "tflite_runtime" / "interpreter.py").is_file()
    assert all(path.is_file() for path in guest.symbols)


@needs_downloads
@pytest.mark.slow
@pytest.mark.parametrize(
    ("lane", "target_name", "apart"), [("litert", "cortex-a75", 0), ("tflite-runtime", "cortex-a7", 1)]
)
def test_a_lane_computes_what_the_host_does(tmp_path: Path, lane: str, target_name: str, apart: int) -> None:
    """Kernels of another kind may round a tie to the other side: one code."""
    target = load_target(target_name)
    guest = litert_guest(target) if lane == "litert" else tflite_runtime_guest(target)
    (case,) = (case for case in CASES if case.name == "Conv-plain")
    content = artifact_of(ir.from_proto(float_proto(case.body, case.constants, case.inputs))).content
    graph = read_graph(content)
    shape = (4, *graph.tensors[graph.inputs[0]].shape[1:])
    inputs = [np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)]
    job = Job("conv", tmp_path / "model", tmp_path / "in", tmp_path / "out", warm_up=1, runs=2)
    job.model.write_bytes(content)
    job.samples.write_bytes(pack_samples(inputs))
    (result,), _ = run_jobs(guest, target, [job], tmp_path / "jobs", count=False, timeout_s=120)
    assert result.samples == 4
    (found,) = unpack_outputs(job.outputs.read_bytes(), graph, 4)
    (wanted,) = run_on_host(content, inputs, workers=1)
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= apart
