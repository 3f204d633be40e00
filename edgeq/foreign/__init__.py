"""Bring the QDQ or QOperator ONNX of any producer to the form that edgeq lowers, each step exact or said."""

from __future__ import annotations

from edgeq.foreign.canonical import make_canonical

__all__ = ["make_canonical"]
