"""Symmetric weights: each form ties what its picture shows, factors give symmetric products, training keeps the tie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_training import images
from torch import nn

from edgeq.compress import Context, method_from_option
from edgeq.compress.factored_weight import Eigen, Ldl
from edgeq.compress.method import Constraint
from edgeq.compress.symmetry import AXES, TIES, find_symmetry, independent, is_symmetric, restored, tied_places
from edgeq.errors import ModelError, RecipeError
from edgeq.recipe import Recipe, recipe_from_dict

MIRRORS = {
    "transpose": lambda w: [w.T],
    "blocks": lambda w: [w[::-1], w[:, ::-1]],
    "triangles 4": lambda w: [w.T, w[::-1, ::-1].T],
    "triangles 8": lambda w: [w.T, w[:, ::-1]],
    "chunks 2": lambda w: [np.roll(w, len(w) // 2, 0)],
    "chunks 4": lambda w: [np.roll(w, len(w) // 4, 0)],
}
VALUES = {"transpose": 36, "blocks": 16, "triangles 4": 20, "triangles 8": 10, "chunks 2": 32, "chunks 4": 16}


@pytest.mark.parametrize("name", MIRRORS)
def test_a_form_is_unchanged_by_its_mirrors_and_ties_nothing_else(name: str) -> None:
    tie, _, ways = name.partition(" ")
    places = tied_places((8, 8), tie, int(ways or TIES[tie][0]), "channel")  # type: ignore[arg-type, index]
    assert places is not None
    assert all((mirrored == places).all() for mirrored in MIRRORS[name](places))
    assert places.max() + 1 == len(np.unique(places)) == VALUES[name]  # the paper's figure has as many


def test_axes_of_a_kernel() -> None:
    both, channel, spatial = (tied_places((4, 4, 3, 3), "transpose", 2, axes) for axes in AXES)
    assert channel is not None
    assert spatial is not None
    assert both is not None
    assert (channel == channel.transpose(1, 0, 2, 3)).all()
    assert (spatial == spatial.transpose(0, 1, 3, 2)).all()
    assert channel.max() + 1 == 10 * 9
    assert spatial.max() + 1 == 16 * 6
    assert both.max() + 1 == 10 * 6
    assert tied_places((4, 5, 3, 3), "transpose", 2, "channel") is None
    assert tied_places((4, 4, 1, 1), "transpose", 2, "spatial") is None
    assert tied_places((6, 6), "chunks", 4, "channel") is None


@pytest.mark.parametrize("tie", TIES)
@pytest.mark.parametrize("axes", AXES)
def test_independent_codes_restore_all(tie: str, axes: str) -> None:
    places = tied_places((8, 8, 4, 4), tie, TIES[tie][0], axes)  # type: ignore[arg-type, index]
    assert places is not None
    values = np.random.default_rng(0).integers(-7, 8, places.max() + 1).astype(np.int8)
    codes = restored(values, places)
    assert (independent(codes, places) == values).all()
    assert is_symmetric(codes, tie, TIES[tie][0], axes)  # type: ignore[arg-type, index]
    found = find_symmetry(codes)
    assert found is not None
    assert is_symmetric(codes, *found)
    codes[0, 1, 0, 1] += 1
    assert find_symmetry(codes) is None
    assert not is_symmetric(codes, tie, TIES[tie][0], axes)  # type: ignore[arg-type, index]


def test_factors_give_what_they_promise() -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 6, 3, 3)
    mean = (weight + weight.transpose(0, 1)) / 2
    eigen = Eigen()
    found = eigen(*eigen.right_inverse(weight))
    ranks = torch.linalg.matrix_rank(found.permute(2, 3, 0, 1).double(), rtol=1e-4)
    values = torch.linalg.eigvalsh(mean.permute(2, 3, 0, 1).double()).abs().sort(-1).values
    assert (ranks == 3).all()
    assert float((found - mean).square().sum()) == pytest.approx(float(values[..., :3].square().sum()), rel=1e-4)
    ldl = Ldl()
    lower, diagonal = ldl.right_inverse(weight)
    difference = (ldl(lower, diagonal) - mean).permute(2, 3, 0, 1)
    assert float((difference - difference.diagonal(dim1=-2, dim2=-1).diag_embed()).abs().max()) < 1e-4
    assert float(lower.abs().max()) <= 2 + 1e-6
    definite = mean + 20 * torch.eye(6)[..., None, None]
    torch.testing.assert_close(ldl(*ldl.right_inverse(definite)), definite, rtol=1e-4, atol=1e-4)
    zero = torch.zeros(4, 4)
    assert torch.equal(ldl(*ldl.right_inverse(zero)), zero) or float(ldl(*ldl.right_inverse(zero)).abs().max()) < 1e-20


def _network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(128, 8), nn.ReLU(), nn.Linear(8, 8, bias=False), nn.Linear(8, 3),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("form", ["soft", "eigen", "ldl", "triangular", "triangles,ways=8,axes=both", "chunks"])
def test_training_keeps_the_tie(form: str, tmp_path: Path) -> None:
    from edgeq.train import train

    method, model, data = method_from_option(f"symmetric,form={form}"), _network(), images()
    constraints: list[Constraint] = []
    for done in range(method.rounds):
        found = method.apply(model, Context(data, Recipe(), round=done))
        constraints = [] if found is None else [found]
        assert method.facts(model)["symmetric_layers"] == (3 if "both" in form else 2)
        last = done == method.rounds - 1
        extra = {"bits": 4} if last else {"method": "post-training"}
        recipe = recipe_from_dict({"train": {"epochs": 2, "batch_size": 16, "precision": "fp32"}, **extra})
        before = {name: value.clone() for name, value in model.state_dict().items()}
        train(model, data, recipe, tmp_path / str(done), constraints=constraints)
        assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for name in ("2", "7"):
        weight = model.get_submodule(name).weight.detach()  # type: ignore[operator]
        places = method.places(tuple(weight.shape))  # type: ignore[attr-defined]
        one_each = weight.numpy().reshape(-1)[np.unique(places, return_index=True)[1]]
        assert (one_each[places] == weight.numpy()).all()


def test_an_averaged_step_is_that_of_the_average_parameterization() -> None:
    from torch.nn.utils import parametrize

    class Average(nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return (weight + weight.T) / 2

    projected, reference = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
    reference.load_state_dict(projected.state_dict())
    parametrize.register_parametrization(reference, "weight", Average())
    (constraint,) = [
        method_from_option("symmetric").apply(net := nn.Sequential(projected), Context(images(), Recipe()))
    ]
    assert constraint is not None
    given, wanted = torch.randn(20, 6), torch.randn(20, 6)
    for model, project in ((net, constraint.project), (reference, lambda: None)):
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            (model(given) - wanted).square().mean().backward()
            optimizer.step()
            project()
    torch.testing.assert_close(projected.weight, reference.weight, rtol=1e-4, atol=1e-5)


def test_a_penalty_makes_weights_more_symmetric(tmp_path: Path) -> None:
    from edgeq.train import train

    left = {}
    for rho in (0.0, 0.1):
        model, data = _network(), images()
        method = method_from_option(f"symmetric,form=soft,rho={rho},axes=both")
        constraint = method.apply(model, Context(data, Recipe()))
        assert constraint is not None
        recipe = recipe_from_dict({"method": "post-training", "train": {"epochs": 3, "batch_size": 16}})
        train(model, data, recipe, tmp_path / str(rho), constraints=[constraint])
        weight = model.get_submodule("2").weight.detach()  # type: ignore[operator]
        left[rho] = float((weight - weight.transpose(0, 1)).norm() / weight.norm())
    assert left[0.1] < left[0.0] / 2


@pytest.mark.parametrize(
    "option",
    ["symmetric,ways=4", "symmetric,form=blocks,ways=8", "symmetric,form=eigen,axes=spatial", "symmetric,rho=-1.0"],
)
def test_options_that_make_no_sense_are_refused(option: str) -> None:
    with pytest.raises(RecipeError, match="compress symmetric"):
        method_from_option(option)


def test_a_scale_a_channel_is_refused() -> None:
    with pytest.raises(RecipeError, match="codes that are not"):
        recipe_from_dict({"regularizer": {"scale": "channel"}, "compress": [{"method": "symmetric"}]})


@pytest.mark.parametrize("first", [{"method": "prune-magnitude", "sparsity": 0.5}, {"method": "symmetric"}])
def test_weights_that_are_kept_are_not_tied_after_that(first: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="put symmetric before"):
        recipe_from_dict({"compress": [first, {"method": "symmetric", "axes": "spatial"}]})


def test_batch_norms_are_not_folded_into_tied_weights() -> None:
    fold, tie = {"method": "fold-batch-norm", "epochs": 1}, {"method": "symmetric"}
    with pytest.raises(RecipeError, match="put fold-batch-norm before symmetric"):
        recipe_from_dict({"compress": [tie, fold]})
    assert recipe_from_dict({"compress": [fold, tie]}).compress[1].name == "symmetric"


def test_a_network_without_a_square_layer_is_refused() -> None:
    with pytest.raises(ModelError, match="no layer can be symmetric"):
        method_from_option("symmetric").apply(nn.Sequential(nn.Linear(4, 3)), Context(images(), Recipe()))


def test_symmetric_codes_are_so_in_both_files_up_to_the_signs_of_rows(tmp_path: Path) -> None:
    """A batch norm with a negative factor turns its channel's signs at the fold; the package keeps one code for two."""
    import onnx

    import edgeq
    from edgeq.grid import Grid
    from edgeq.packing.package import pack_bytes
    from edgeq.snap import snap
    from edgeq.tflite.read import read_file

    for name, factors in (("positive", [1.0] * 8), ("mixed", [1.0, 1.0, -1.0] + [1.0] * 5)):
        torch.manual_seed(2)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8),
            nn.Flatten(), nn.Linear(512, 3),
        ).eval()  # fmt: skip
        with torch.no_grad():
            model.get_submodule("3").weight.copy_(torch.tensor(factors))  # type: ignore[operator]
        method_from_option("symmetric,form=triangular").apply(model, Context(images(), Recipe()))
        table = snap(model, Grid(8))
        samples = np.random.default_rng(0).uniform(-1, 1, (4, 3, 8, 8)).astype(np.float32)
        result = edgeq.export(model, (3, 8, 8), samples, tmp_path / name, grid=table)
        assert is_symmetric(table["2"].codes)
        graph = read_file(result.tflite)
        (stored,) = (item.data for item in graph.tensors if item.name == "2.weight" and item.data is not None)
        signs = np.sign(factors).astype(np.int8)[:, None, None, None]
        tflite = stored.reshape(8, 3, 3, 8).transpose(0, 3, 1, 2)
        assert is_symmetric(tflite * signs)
        assert is_symmetric(tflite) == (name == "positive")
        proto = onnx.load(result.onnx)
        (codes,) = (
            item for item in proto.graph.initializer if item.name.startswith("2.weight") and len(item.dims) == 4
        )
        assert (onnx.numpy_helper.to_array(codes) == tflite).all()
        (form,) = (
            packed.form
            for packed in pack_bytes(result.tflite.read_bytes()).parts
            if packed.part.name == "2.weight" and packed.part.role == "weights"
        )
        assert ("tied" in form) == (name == "positive")
