from __future__ import annotations

from pathlib import Path

import narrow_nets
import pytest
import torch
from narrow_nets import CLASSES, NARROW
from network_parity import export_and_compare, randomize

# A channel shuffle is a TRANSPOSE each, the two mixings of a mixer's block one each, an attention's heads two.
TRANSPOSES = {"ds_cnn_1d": 1, "mixer": 4, "shufflenet_v2": 3, "vit": 4}


@pytest.mark.parametrize("name", NARROW)
def test_every_family_runs_alike_in_every_runtime(name: str, tmp_path: Path) -> None:
    """Fed equal codes, an operation differs by one code at most; whole networks add such codes up."""
    torch.manual_seed(0)
    model = getattr(narrow_nets, name)()
    randomize(model, NARROW[name])
    reference = f"{narrow_nets.__file__}:{name}"
    found = export_and_compare(reference, model, NARROW[name], tmp_path, classes=CLASSES, samples=16)
    assert found["layer_difference"] <= 1
    assert found["transposes"] <= TRANSPOSES.get(name, 0)
    assert found["top1"] >= 90
    assert found["final_difference"]["onnxruntime"] <= 2 * found["operations"]
