"""Bits by layer: a search for the fewest of weights and of data that keep the accuracy of a trained network."""

from __future__ import annotations

from edgeq.widths.result import BitSearch, FrontPoint, LayerBits
from edgeq.widths.source import search_build

__all__ = ["BitSearch", "FrontPoint", "LayerBits", "search_build"]
