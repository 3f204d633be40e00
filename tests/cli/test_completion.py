"""Completion on TAB, as the shells ask for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ended

from edgeq.cli.completion import SHELLS, model_names
from edgeq.cli.main import COMMANDS
from edgeq.resources import data_names


def complete(*words: str) -> list[str]:
    """What bash is offered for the last word."""
    environment = os.environ | {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    environment["_EDGEQ_COMPLETE"] = "bash_complete"
    script = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('HEAVY', *{'torch', 'numpy', 'onnx', 'rich'} & sys.modules.keys()))\n"
        "from edgeq.cli import main\nmain([])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    *found, heavy = ended.stdout.splitlines()
    assert heavy == "HEAVY", "a TAB must not wait for torch"
    return found


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["edgeq", ""], [f"plain,{name}" for name in COMMANDS]),
        (["edgeq", "build", "--model", "resnet2"], ["plain,resnet20"]),
        (["edgeq", "build", "--model", "nets.py"], ["file,nets.py"]),
        (["edgeq", "bench", "out", "--target", "cortex-a7"], ["plain,cortex-a7", "plain,cortex-a75"]),
        (["edgeq", "quantize", "--calibration", ""], [f"plain,{name}" for name in data_names("calibration")]),
        (["edgeq", "peak", "--via", "l"], ["plain,local"]),
        (["edgeq", "build", "--android", "--regul"], ["plain,--regularizer", "plain,--regularizer-form"]),
    ],
)
def test_names_are_offered(words: list[str], offered: list[str]) -> None:
    assert complete(*words) == offered


def test_the_networks_are_those_that_there_are() -> None:
    from edgeq.models import MODELS

    assert model_names() == list(MODELS)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one_of_the_shell(tmp_path: Path, edgeq: Callable[..., Ended], shell: str) -> None:
    ended = edgeq("completion", shell)
    assert (ended.code, ended.err) == (0, "")
    assert f"_EDGEQ_COMPLETE={shell}_complete" in ended.out
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} to read it")
    script = tmp_path / "script"
    script.write_text(ended.out)
    subprocess.run([shell, "-n", str(script)], check=True, timeout=30)
