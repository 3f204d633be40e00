"""``edgeq doctor``."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import sys

import click

from edgeq.cli.console import print_table
from edgeq.cli.options import output_options, verbosity

__all__ = ["command"]

# The dependencies of pyproject.toml; click is not among them, for without it this would not run.
NEEDED = (
    "ai-edge-litert",
    "flatbuffers",
    "jinja2",
    "lightning",
    "markupsafe",
    "ml-dtypes",
    "numpy",
    "onnx",
    "onnx-ir",
    "onnxruntime",
    "onnxscript",
    "pillow",
    "rich",
    "safetensors",
    "scikit-learn",
    "tensorboard",
    "torch",
)
# Of extras, and what for.
OPTIONAL = {"capstone": "edgeq[bench]", "paramiko": "edgeq[ssh]"}
MIN_FREE_BYTES = 200_000_000


@click.command(
    "doctor",
    epilog="""\b
Examples:
  edgeq doctor
  edgeq doctor --json | jq '.[] | select(.state == "missing")'""",
)
@output_options
def command(as_json: bool, quiet: bool, verbose: bool) -> None:
    """Say what is installed, what is missing and what that costs."""
    verbosity(quiet, verbose)
    packages = [_package(name) for name in NEEDED]
    whole = all(state == "ok" for _, state, _ in packages)
    rows = [_python(), *packages, *([_processor()] if whole else []), _disk(), *map(_optional, OPTIONAL), *_tools()]
    missing = [name for name, state, _ in rows if state == "missing"]
    if as_json:
        click.echo(json.dumps([{"name": name, "state": state, "detail": text} for name, state, text in rows], indent=2))
    else:
        print_table("", ["", "state", ""], [list(row) for row in rows])
    if missing:
        from edgeq.errors import EdgeqError

        raise EdgeqError("something that edgeq needs is missing", got=", ".join(missing), remedy="run make setup")


def _python() -> tuple[str, str, str]:
    return "python", "ok" if sys.version_info >= (3, 11) else "missing", platform.python_version()


def _package(name: str) -> tuple[str, str, str]:
    try:
        return name, "ok", importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return name, "missing", f"pip install {name}"


def _optional(name: str) -> tuple[str, str, str]:
    name, state, text = _package(name)
    return name, "ok" if state == "ok" else "absent", text if state == "ok" else f"pip install '{OPTIONAL[name]}'"


def _tools() -> list[tuple[str, str, str]]:
    """What the bench under QEMU needs besides; all else does without."""
    from edgeq.bench.toolchain import tool_states

    adb = shutil.which("adb")
    return [*tool_states(), ("adb", "ok" if adb else "absent", adb or "install it: sudo apt-get install adb")]


def _processor() -> tuple[str, str, str]:
    from edgeq.train.device import resolve_device, resolve_precision

    device = resolve_device("auto")
    precision = resolve_precision("auto", device)
    speed = "" if precision == "bf16" else "; trains in float32, about three times slower than bf16"
    return "training", "ok", f"{device.type}, {precision}, {os.cpu_count()} cores{speed}"


def _disk() -> tuple[str, str, str]:
    free = shutil.disk_usage(".").free
    state = "ok" if free > MIN_FREE_BYTES else "low"
    return "disk", state, f"{free / 1e9:.1f} GB free here"
