"""Calibration: the recipes in ``calibration/`` and the ranges that activations are given by them."""

from __future__ import annotations

from edgeq.calibrate.ranges import calibrate
from edgeq.calibrate.recipe import CalibrationRecipe, load_calibration

__all__ = ["CalibrationRecipe", "calibrate", "load_calibration"]
