"""Proof: the same images through every runtime, compared in codes, and the integers of every file compared byte for
byte."""

from __future__ import annotations

from edgeq.verify.check import verify
from edgeq.verify.report import LayerParity, Verification

__all__ = ["LayerParity", "Verification", "verify"]
