"""Training's memory: what a step frees, the next one gets without a page fault."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

STEPS = """
import resource, sys
import numpy as np
from edgeq.cli.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def step():
    tensors = [np.ones(1 << 20, np.float32) for _ in range(24)]
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES_A_STEP = 24 * (4 << 20) // os.sysconf("SC_PAGE_SIZE")


def faults(keep: str, **environment: str) -> int:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", STEPS, keep]
    return int(subprocess.run(command, env={**kept, **environment}, capture_output=True, check=True).stdout)


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="another C library than glibc")
def test_what_a_step_frees_the_next_one_gets_at_once() -> None:
    assert faults("as it is") > PAGES_A_STEP
    assert faults("keep") < PAGES_A_STEP / 10


def test_settings_of_the_environment_hold() -> None:
    assert faults("keep", MALLOC_TRIM_THRESHOLD_="1048576") == pytest.approx(
        faults("as it is", MALLOC_TRIM_THRESHOLD_="1048576"), rel=0.1
    )
