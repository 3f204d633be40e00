"""How wide the accumulators of an int8 .tflite file must be: proved from its codes, seen on data, tried narrower."""

from __future__ import annotations

from edgeq.accumulate.analysis import Accumulators, ChainProof, LayerAccumulator, NarrowRun, analyse

__all__ = ["Accumulators", "ChainProof", "LayerAccumulator", "NarrowRun", "analyse"]
