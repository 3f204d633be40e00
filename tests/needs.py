"""Marks of tests that need what a machine may lack. ``.ci/run`` provides all of it."""

from __future__ import annotations

import importlib.util
import os
from typing import get_args

import pytest
from browser import find_chromium

from edgeq.bench.toolchain import find_compiler, find_qemu
from edgeq.errors import EdgeqError
from edgeq.targets import Arch

__all__ = ["needs_chromium", "needs_downloads", "needs_qemu", "needs_ray"]


def _tools_are_there() -> bool:
    try:
        for arch in get_args(Arch):
            find_qemu(arch)
            find_compiler(arch)
    except EdgeqError:
        return False
    return True


_TOOLS = _tools_are_there()

needs_qemu = pytest.mark.skipif(not _TOOLS, reason="no QEMU with plugins and cross compilers: make qemu-tools")
needs_downloads = pytest.mark.skipif(
    not (_TOOLS and os.environ.get("EDGEQ_TEST_DOWNLOADS")),
    reason="needs make qemu-tools, and EDGEQ_TEST_DOWNLOADS=1 to fetch Debian packages and wheels for ARM",
)
needs_chromium = pytest.mark.skipif(find_chromium() is None, reason="no Chromium: apt-get install chromium")
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="no Ray: pip install 'edgeq[ray]'")
