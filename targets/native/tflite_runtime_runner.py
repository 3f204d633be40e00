"""Runs .tflite files in tflite-runtime: ``tflite_runtime_runner.py JOBFILE``, for a board or a guest with Python 3.

It speaks the protocol of litert_runner.c: a job is a line of tab-separated fields (name, model, input file, output
file, warm-up runs, measured runs, threads), the answer a line of JSON; an error is one line on stderr and exit 1.

Stands alone on purpose: Python 3.9 or later, numpy < 2 and tflite_runtime, whose folder EDGEQ_TFLITE_RUNTIME may name.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

MARKER = 0x65647165  # targets/native/count.c watches for it
FIELDS = 7
MAX_JOBFILE_BYTES = 1 << 20
MAX_RUNS = 1_000_000
MAX_THREADS = 256
MAX_SAMPLE_BYTES = 1 << 30


def fail(what: str) -> NoReturn:
    print("tflite_runtime_runner: " + " ".join(what.split()), file=sys.stderr)
    raise SystemExit(1)


def number(text: str, what: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        fail(f"{what} {text!r}: not in {low} to {high}")
    return int(text)


def read_jobs(path: str) -> list[list[str]]:
    if os.path.getsize(path) > MAX_JOBFILE_BYTES:
        fail(f"job file {path}: more than {MAX_JOBFILE_BYTES} bytes")
    with open(path, encoding="utf-8") as file:
        jobs = [line.rstrip("\n").split("\t") for line in file]
    if not jobs:
        fail(f"job file {path}: empty")
    for i, fields in enumerate(jobs):
        if len(fields) != FIELDS:
            fail(f"job file {path}: line {i + 1} has {len(fields)} fields, not {FIELDS}")
    return jobs


@contextlib.contextmanager
def notices_dropped() -> Iterator[None]:
    """What the library tells on stderr while it loads ("INFO: Created ... delegate") is no error."""
    saved, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)


def load(path: str, threads: int) -> Any:
    """An interpreter with fixed shapes and its tensors allocated."""
    from tflite_runtime.interpreter import Interpreter

    content = Path(path).read_bytes()
    if content[4:8] != b"TFL3":
        fail(f"model {path}: not a .tflite file")
    try:
        with notices_dropped():
            interpreter = Interpreter(model_content=content, num_threads=threads)
        for side in (interpreter.get_input_details(), interpreter.get_output_details()):
            for detail in side:
                if any(size < 1 for size in (*detail["shape"], *(abs(size) for size in detail["shape_signature"]))):
                    fail(f"model {path}: {detail['name']} has no elements")
                if any(size < 0 for size in detail["shape_signature"]):
                    fail(f"model {path}: {detail['name']} has a dynamic shape; give the model fixed shapes")
            if sum(map(tensor_bytes, side)) > MAX_SAMPLE_BYTES:
                fail(f"model {path}: a sample takes more than {MAX_SAMPLE_BYTES} bytes")
        with notices_dropped():
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        fail(f"model {path}: tflite-runtime refuses the file: {error}")
    return interpreter


def tensor_bytes(detail: Any) -> int:
    count = 1
    for size in detail["shape"]:
        count *= int(size)
    return count * int(detail["dtype"]().itemsize)


def set_inputs(interpreter: Any, sample: memoryview) -> None:
    import numpy

    start = 0
    for detail in interpreter.get_input_details():
        end = start + tensor_bytes(detail)
        values = numpy.frombuffer(sample[start:end], detail["dtype"])
        interpreter.set_tensor(detail["index"], values.reshape(detail["shape"]))
        start = end


def do_job(fields: list[str], region: int, mark: Any) -> None:
    name, model, input_path, output_path = fields[:4]
    warm_up = number(fields[4], "warm-up runs", 0, MAX_RUNS)
    measured = number(fields[5], "measured runs", 0, MAX_RUNS)
    interpreter = load(model, number(fields[6], "threads", 1, MAX_THREADS))
    sample_bytes = sum(map(tensor_bytes, interpreter.get_input_details()))
    outputs = interpreter.get_output_details()

    size = os.path.getsize(input_path)
    if size == 0:
        fail(f"input {input_path}: empty")
    if size % sample_bytes:
        fail(f"input {input_path}: {size} bytes, not a multiple of the {sample_bytes} bytes of a sample")
    samples = size // sample_bytes
    with open(input_path, "rb") as source, open(output_path, "wb") as out:
        for _ in range(samples):
            set_inputs(interpreter, memoryview(source.read(sample_bytes)))
            interpreter.invoke()
            for detail in outputs:
                out.write(interpreter.get_tensor(detail["index"]).tobytes())
        source.seek(0)
        set_inputs(interpreter, memoryview(source.read(sample_bytes)))

    for _ in range(warm_up):
        interpreter.invoke()
    times = []
    for _ in range(measured):
        mark(MARKER, region, 1, 0, 0)
        start = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        interpreter.invoke()
        end = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        mark(MARKER, region, 0, 0, 0)
        times.append(end - start)
    answer = {"name": name, "samples": samples, "input_bytes": sample_bytes}
    print(json.dumps({**answer, "output_bytes": sum(map(tensor_bytes, outputs)), "ns": times}), flush=True)


def main() -> None:
    if len(sys.argv) != 2:
        fail("usage: tflite_runtime_runner.py JOBFILE")
    folder = os.environ.get("EDGEQ_TFLITE_RUNTIME")
    if folder:
        sys.path.insert(0, folder)
    mark = ctypes.CDLL(None).prctl
    mark.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    name = ""
    try:
        for region, fields in enumerate(read_jobs(sys.argv[1])):
            name = f"job {fields[0]!r}: "
            do_job(fields, region, mark)
    except OSError as error:
        fail(f"{name}{error.filename or 'standard output'}: {error.strerror}")
    except (ImportError, MemoryError, RuntimeError, UnicodeError) as error:
        fail(f"{name}{error or type(error).__name__}")


if __name__ == "__main__":
    main()
