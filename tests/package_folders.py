"""Packages that cannot share edgeq's environment, each set in a folder of the cache and used by a Python of its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgeq.bench.cache import cached, content_key

__all__ = ["needs_packages", "package_folder", "run_script"]

INSTALL_S = 600
RUN_S = 300

needs_packages = pytest.mark.skipif(
    not os.environ.get("EDGEQ_TEST_DOWNLOADS") or (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="needs EDGEQ_TEST_DOWNLOADS=1 to fetch packages that are built for Linux on x86-64",
)


def package_folder(requirements: Sequence[str]) -> Path:
    """A folder with these packages and no others: what they depend on is to be named too."""

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary=:all:", f"--target={folder}", *requirements]
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
        assert done.returncode == 0, done.stderr

    return cached("python-packages", content_key(sys.version, *requirements), make)


def run_script(script: str, packages: Path, *arguments: object) -> str:
    """What a script prints that sees the standard library and a folder of packages, and nothing of this environment."""
    command = [sys.executable, "-S", "-c", script, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(packages), "MPLCONFIGDIR": "/nonexistent"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout
