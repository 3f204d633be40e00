"""Activations that a training rounds to the grids they will have in the artifact, straight-through."""

from __future__ import annotations

from edgeq.activations.attach import rounded
from edgeq.activations.rounding import ActivationRounding
from edgeq.activations.sites import Sites, find_sites

__all__ = ["ActivationRounding", "Sites", "find_sites", "rounded"]
