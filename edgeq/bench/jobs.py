"""Jobs for the runners, which all speak the same protocol: a text file of jobs in, a JSON line a job out.

A job names a model, a file of samples (all inputs of a sample back to back) and a file for the outputs. The runner runs
every sample once and writes all outputs; then it warms up and makes the measured runs on the first sample.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import FormatError
from edgeq.tflite.model import Graph

__all__ = ["Job", "JobResult", "pack_samples", "read_results", "unpack_outputs", "write_job_file"]


@dataclass(frozen=True, slots=True)
class Job:
    """What a runner does with one model.

    Attributes:
        name: without tabs and line ends.
        model, samples, outputs: the job's files; the runner writes the last.
        warm_up, runs: how often the first sample is run before and in the measured region.
        threads: of the runtime.
    """

    name: str
    model: Path
    samples: Path
    outputs: Path
    warm_up: int = 1
    runs: int = 1
    threads: int = 1


@dataclass(frozen=True, slots=True)
class JobResult:
    """A runner's line about a job: how many samples it ran, and the nanoseconds of each measured run."""

    name: str
    samples: int
    nanoseconds: tuple[int, ...]


def write_job_file(jobs: Sequence[Job], path: Path) -> None:
    """Write the runner's input, a line a job, in the order of the marked regions."""
    lines = []
    for job in jobs:
        name = " ".join(job.name.split())
        lines.append(f"{name}\t{job.model}\t{job.samples}\t{job.outputs}\t{job.warm_up}\t{job.runs}\t{job.threads}\n")
    path.write_text("".join(lines), encoding="utf-8")


def read_results(stdout: str, jobs: Sequence[Job]) -> list[JobResult]:
    """The runner's lines, one a job.

    Raises:
        FormatError: they are not what the protocol says, as from a runner of another version.
    """
    lines = [line for line in stdout.splitlines() if line.startswith("{")]
    if len(lines) != len(jobs):
        raise FormatError("the runner answered for another number of jobs", got=len(lines), wanted=len(jobs))
    return [_result(line, job) for line, job in zip(lines, jobs, strict=True)]


def _result(line: str, job: Job) -> JobResult:
    try:
        found: Any = json.loads(line)
        samples, times = int(found["samples"]), tuple(int(value) for value in found["ns"])
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError("the runner's answer cannot be read", where=job.name, got=line[:120]) from error
    if len(times) != job.runs:
        raise FormatError("the runner made another number of runs", where=job.name, got=len(times), wanted=job.runs)
    return JobResult(job.name, samples, times)


def pack_samples(inputs: Sequence[NDArray[Any]]) -> bytes:
    """Samples as the runner reads them.

    Args:
        inputs: an array an input, samples first.
    """
    count = len(inputs[0])
    return b"".join(np.ascontiguousarray(array[i]).tobytes() for i in range(count) for array in inputs)


def unpack_outputs(content: bytes, graph: Graph, samples: int) -> list[NDArray[Any]]:
    """What the runner wrote, an array an output of the graph: [N * B, ...] for a tensor [B, ...].

    Raises:
        FormatError: another number of bytes than the graph's outputs have.
    """
    tensors = [graph.tensors[index] for index in graph.outputs]
    sizes = [int(np.prod(tensor.shape)) * np.dtype(tensor.dtype).itemsize for tensor in tensors]
    if len(content) != samples * sum(sizes):
        raise FormatError("the runner wrote another number of bytes", got=len(content), wanted=samples * sum(sizes))
    rows = np.frombuffer(content, np.uint8).reshape(samples, sum(sizes))
    arrays, start = [], 0
    for tensor, size in zip(tensors, sizes, strict=True):
        part = np.ascontiguousarray(rows[:, start : start + size]).view(tensor.dtype)
        arrays.append(part.reshape((samples * tensor.shape[0], *tensor.shape[1:]) if tensor.shape else samples))
        start += size
    return arrays
