"""edgeq: a PyTorch vision model to a verified int8 artifact on ARM, with every trained integer kept."""

__version__ = "0.1.0"
