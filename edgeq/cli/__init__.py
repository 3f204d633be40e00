"""The command line: each command parses its options, calls the library and prints the result. Nothing is computed
here."""

from __future__ import annotations

from edgeq.cli.main import main

__all__ = ["main"]
