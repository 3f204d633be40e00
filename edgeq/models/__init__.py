"""Networks by name, built in or the user's own, and their weights in files. Nothing here trains."""

from __future__ import annotations

from edgeq.models.create import MODELS, build_network, check_name, create_model
from edgeq.models.prepare import prepare_network
from edgeq.models.weights import load_weights, save_weights

__all__ = ["MODELS", "build_network", "check_name", "create_model", "load_weights", "prepare_network", "save_weights"]
