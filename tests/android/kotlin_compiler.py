"""The Kotlin compiler, where it is installed: PyPI's kotlin-jupyter-kernel has it whole (80 MB, Apache-2.0, no
dependencies), and Java runs it. ``pip install kotlin-jupyter-kernel``; Debian's own Kotlin is of 2019.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

__all__ = ["compile_kotlin", "needs_kotlin", "run_java"]

COMPILER = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"


def jars() -> list[Path]:
    try:
        files = importlib.metadata.distribution("kotlin-jupyter-kernel").files or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())) for file in files if file.suffix == ".jar"]


needs_kotlin = pytest.mark.skipif(
    not jars() or shutil.which("java") is None, reason="needs Java and pip install kotlin-jupyter-kernel"
)


def standard_library() -> str:
    return os.pathsep.join(str(jar) for jar in jars() if jar.name.startswith("kotlin-stdlib"))


def java(classpath: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = ["java", "-Xmx1g", "-XX:TieredStopAtLevel=1", "-cp", classpath, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def compile_kotlin(sources: Iterable[Path], out: Path) -> None:
    """Kotlin sources, and Java ones that they may name, to classes; a warning is a failure."""
    compiler = os.pathsep.join(map(str, jars()))
    options = ("-no-stdlib", "-no-reflect", "-Werror", "-jvm-target", "17")
    done = java(compiler, COMPILER, *options, "-cp", standard_library(), "-d", out, *sources)
    assert done.returncode == 0, done.stderr + done.stdout


def run_java(classes: Path, main: str, *arguments: object) -> str:
    """What a compiled main() writes."""
    done = java(f"{classes}{os.pathsep}{standard_library()}", main, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout
