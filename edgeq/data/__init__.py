"""Images and calibration sets from outside, checked and in tensors. No network is known here."""

from __future__ import annotations

from edgeq.data.arrays import load_arrays, require_arrays
from edgeq.data.batch import PIXEL_SCALE, PIXEL_ZERO, augment, normalize
from edgeq.data.image_data import ImageData
from edgeq.data.load import load_data
from edgeq.data.unlabelled import load_images

__all__ = [
    "PIXEL_SCALE",
    "PIXEL_ZERO",
    "ImageData",
    "augment",
    "load_arrays",
    "load_data",
    "load_images",
    "normalize",
    "require_arrays",
]
