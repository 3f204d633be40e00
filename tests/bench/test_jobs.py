from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgeq.bench.jobs import Job, pack_samples, read_results, unpack_outputs, write_job_file
from edgeq.errors import FormatError
from edgeq.tflite.model import Graph, Tensor


def job(name: str = "whole", runs: int = 2) -> Job:
    return Job(name, Path("m"), Path("i"), Path("o"), warm_up=1, runs=runs)


def answer(**values: object) -> str:
    return json.dumps({"name": "whole", "samples": 3, "input_bytes": 1, "output_bytes": 1, "ns": [5, 6]} | values)


def test_a_job_is_a_line(tmp_path: Path) -> None:
    write_job_file([job("a\tb\nc"), job("d")], tmp_path / "jobs")
    assert (tmp_path / "jobs").read_text() == "a b c\tm\ti\to\t1\t2\t1\nd\tm\ti\to\t1\t2\t1\n"


def test_answers_are_read_in_order_and_chatter_passed_over() -> None:
    (found,) = read_results(f"INFO: a delegate\n{answer()}\n", [job()])
    assert (found.name, found.samples, found.nanoseconds) == ("whole", 3, (5, 6))


@pytest.mark.parametrize(
    ("stdout", "message"),
    [
        ("", "another number of jobs"),
        (answer() + "\n" + answer(), "another number of jobs"),
        ('{"name": ', "cannot be read"),
        (answer(ns=[1]), "another number of runs"),
        (answer(ns=["x", 1]), "cannot be read"),
        (answer(samples=None), "cannot be read"),
    ],
)
def test_a_wrong_answer_is_one_error(stdout: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_results(stdout, [job()])


def test_samples_and_outputs_keep_their_order() -> None:
    first, second = np.arange(6, dtype=np.int8).reshape(3, 2), np.arange(3, dtype=np.float32).reshape(3, 1)
    content = pack_samples([first, second])
    graph = Graph((Tensor("a", (1, 2), "int8"), Tensor("b", (1, 1), "float32")), (), (), (0, 1))
    back = unpack_outputs(content, graph, 3)
    np.testing.assert_array_equal(back[0], first)
    np.testing.assert_array_equal(back[1], second)
    with pytest.raises(FormatError, match=r"another number of bytes.*got 17, wanted 18"):
        unpack_outputs(content[:-1], graph, 3)
