from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import images
from torch import nn
from torch.nn.functional import conv2d

from edgeq.compress.fold_dirac import FoldDirac
from edgeq.compress.method import Context
from edgeq.errors import ModelError
from edgeq.models import load_weights, save_weights
from edgeq.models.diracnet import Dirac, DiracNet
from edgeq.models.fold import computed_weights, fold_weights
from edgeq.recipe import Recipe, TrainRecipe
from edgeq.train import train
from edgeq.train.optimizer import make_optimizer


def network(seed: int = 0) -> DiracNet:
    """Every parameter drawn anew, so that no a is 1 and no b 0.1."""
    torch.manual_seed(seed)
    model = DiracNet(10, 1, 3, (3, 8, 8)).eval()
    for name, value in model.named_parameters():
        if name.endswith(("identity", "rest")):
            nn.init.uniform_(value, 0.3, 1.2)
    return model


def test_a_weight_is_the_papers_formula() -> None:
    """x + filters, one by one: a_o x_o + b_o sum_i (W_oi / |W_o|) * x_i."""
    model = network()
    layer = model.get_submodule("group1.1.0")
    parts: Any = layer.parametrizations
    dirac, original = parts["weight"][0], parts["weight"].original
    x = torch.randn(2, 16, 6, 5)
    filters = torch.stack([row / row.pow(2).sum().sqrt() for row in original])
    wanted = dirac.identity.view(-1, 1, 1) * x + dirac.rest.view(-1, 1, 1) * conv2d(x, filters, padding=1)
    assert torch.allclose(layer(x), wanted, atol=1e-5)


def test_it_starts_as_the_paper_says_and_scales_do_not_decay() -> None:
    torch.manual_seed(0)
    model = DiracNet(16, 1, 10, (3, 32, 32))
    diracs = [layer for layer in model.modules() if isinstance(layer, Dirac)]
    assert len(diracs) == 3 * 4
    assert all((item.identity == 1).all() and torch.allclose(item.rest, torch.tensor(0.1)) for item in diracs)
    parts: Any = model.get_submodule("group3.1.0").parametrizations
    original = parts["weight"].original
    assert float(original.detach().std()) == pytest.approx(1, abs=0.02)
    decay = {
        id(p): group["weight_decay"] for group in make_optimizer(model, TrainRecipe()).param_groups
        for p in group["params"]
    }  # fmt: skip
    assert all(not decay[id(item.identity)] and not decay[id(item.rest)] for item in diracs)
    assert decay[id(original)]


def test_the_sizes_are_near_the_papers() -> None:
    with torch.device("meta"):
        sizes = [sum(p.numel() for p in DiracNet(28, k, 10, (3, 32, 32)).parameters()) / 1e6 for k in (5, 10)]
    assert sizes == pytest.approx([9.1, 36.5], rel=0.01)


def test_folding_keeps_the_outputs_and_the_file_has_plain_weights(tmp_path: Path) -> None:
    model = network()
    x = torch.randn(4, 3, 8, 8)
    before = model(x)
    assert len(computed_weights(model)) == 6
    FoldDirac().apply(model, Context(images(), Recipe()))
    assert not computed_weights(model)
    assert torch.allclose(model(x), before, rtol=1e-6, atol=1e-6)
    save_weights(model, tmp_path / "w.safetensors")
    other = network(1)
    load_weights(other, tmp_path / "w.safetensors")
    assert torch.equal(other.eval()(x), model(x))
    with pytest.raises(ModelError, match="no weights to fold"):
        FoldDirac().apply(model, Context(images(), Recipe(model="x")))


def test_it_is_trained_before_it_is_folded_and_no_other_way(tmp_path: Path) -> None:
    plain = TrainRecipe(epochs=1, batch_size=16, crop_padding=1, device="cpu", learning_rate=0.02)
    model = network()
    with pytest.raises(ModelError, match=r"group1\.0\.0.*computed from other parameters.*got method periodic"):
        train(model, images(), Recipe(train=plain), tmp_path)
    before = {name: value.clone() for name, value in model.named_parameters()}
    train(model, images(), Recipe(method="post-training", train=plain), tmp_path)
    assert all(not torch.equal(value, before[name]) for name, value in model.named_parameters())
    fold_weights(model)
    train(model, images(), Recipe(train=plain), tmp_path)
