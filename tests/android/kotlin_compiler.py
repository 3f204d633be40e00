"""The Kotlin compiler: PyPI's kotlin-jupyter-kernel has it whole (80 MB, Apache-2.0, no dependencies), Java runs it.
Debian's own Kotlin is of 2019.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from package_folders import package_folder

__all__ = ["compile_kotlin", "needs_kotlin", "run_java"]

COMPILER = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"


PACKAGE = "kotlin-jupyter-kernel==0.19.0.944"

needs_kotlin = pytest.mark.skipif(
    not os.environ.get("EDGEQ_TEST_DOWNLOADS") or shutil.which("java") is None,
    reason="needs Java, and EDGEQ_TEST_DOWNLOADS=1 to fetch the Kotlin compiler",
)


def jars() -> list[Path]:
    return sorted(package_folder([PACKAGE]).rglob("*.jar"))


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
