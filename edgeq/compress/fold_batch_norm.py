"""Folding batch norms into the layers before them, in the network: what is trained on is what will be rounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgeq.compress.method import Constraint, Context, Method
from edgeq.errors import ModelError, RecipeError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgeq.recipe import Recipe

__all__ = ["FoldBatchNorm", "check_folded", "fold_batch_norms"]

TOLERANCE = 1e-3
"""Of the largest output: float32 sums in another order differ by about 1e-5."""


@dataclass(frozen=True, kw_only=True)
class FoldBatchNorm(Method):
    """Put each batch norm that follows a convolution or dense layer into its weight and bias.

    Without it the export folds a batch norm into the steps, one a channel. With it a layer has one step for all its
    channels, as fixed-point hardware wants it; and the periodic term pulls the weights that the file will hold.

    Attributes:
        learning_rate: of the retraining; 0 takes a tenth of ``train.learning_rate``, at which a ResNet-20 without its
            batch norms diverged.

    Source: Jacob et al. 2017, arXiv:1712.05877, section 3.2.
    """

    name: ClassVar[str] = "fold-batch-norm"

    learning_rate: float = 0.001

    def check(self, recipe: Recipe) -> None:
        place = next(index for index, method in enumerate(recipe.compress) if method is self)
        if any(method.name == "symmetric" for method in recipe.compress[:place]):
            raise self.refuse("after symmetric: a factor an output channel parts weights that are tied",
                              "put fold-batch-norm before symmetric")  # fmt: skip
        if recipe.method == "periodic" and not any(method.epochs for method in recipe.compress[place:]):
            raise self.refuse(
                "weights are pulled onto their grid before the fold, which takes them off it",
                'give it epochs, or method = "post-training"',
            )

    def apply(self, model: nn.Module, context: Context) -> Constraint | None:
        images, _ = context.images(8)
        fold_batch_norms(model, images)
        return None

    def facts(self, model: nn.Module) -> Mapping[str, float]:
        return {"batch_norms": float(len(_norms(model)))}


def fold_batch_norms(model: nn.Module, images: Tensor) -> int:
    """Fold every batch norm that reads a convolution's or dense layer's output, in place, and note the structure.

    Args:
        model: float32, in eval mode.
        images: a few, as the network takes them: they show which batch norm reads which layer, and that the network
            computes what it did.

    Returns:
        How many were folded.

    Raises:
        ModelError: there is none, a batch norm that follows no layer, or outputs that are not the same any more.
    """
    import torch

    from edgeq.models.structure import note, replace

    with torch.inference_mode():
        before = model(images)
    pairs = _pairs(model, images)
    with torch.no_grad():
        for path, (layer, norm) in pairs.items():
            _fold(layer[1], norm)
            note(model, layer[0])
            replace(model, path, [torch.nn.Identity()])
    with torch.inference_mode():
        after = model(images)
    error = float((after - before).abs().max() / before.abs().max().clamp(min=1e-6))
    if not error < TOLERANCE:
        raise ModelError(
            "the network computes something else without its batch norms", where=f"compress {FoldBatchNorm.name}",
            got=f"a relative difference of {error:.2g}", wanted=f"less than {TOLERANCE}",
            remedy="something else reads a layer's output beside its batch norm",
        )  # fmt: skip
    return len(pairs)


def check_folded(model: nn.Module, methods: Sequence[Method]) -> None:
    """Refuse a network with batch norms for scales that are powers of two, unless a method folds them.

    Raises:
        RecipeError: a batch norm's factor a channel would become part of the steps.
    """
    if _norms(model) and not any(method.name == FoldBatchNorm.name for method in methods):
        raise RecipeError(
            "a batch norm has a factor a channel that is no power of two", where="quantize.scale_format",
            got=next(iter(_norms(model))), remedy=f"add --compress {FoldBatchNorm.name}",
        )  # fmt: skip


def _norms(model: nn.Module) -> dict[str, nn.Module]:
    from torch import nn

    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}


def _pairs(model: nn.Module, images: Tensor) -> dict[str, tuple[tuple[str, Any], Any]]:
    """By the path of a batch norm, the layer (with its path) whose output it reads, and itself."""
    import torch
    from torch import nn

    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    norms = _norms(model)
    made: list[tuple[Tensor, str]] = []  # kept alive, so that no other tensor gets the place of one
    found: dict[str, str | None] = {}
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: made.append((output, name)))
        for name, module in layers.items()
    ]
    hooks += [
        module.register_forward_pre_hook(
            lambda _module, inputs, name=name: found.update(
                {name: next((layer for output, layer in made if output is inputs[0]), None)}
            )
        )
        for name, module in norms.items()
    ]
    try:
        with torch.inference_mode():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    used = [layer for layer in found.values() if layer is not None]
    alone = [name for name, layer in found.items() if layer is None or used.count(layer) > 1]
    if not found or alone:
        raise ModelError(
            "a batch norm has no layer of its own to fold it into" if alone else "the network has no batch norm",
            where=f"compress {FoldBatchNorm.name}",
            got=alone[0] if alone else None,
            remedy="leave the method out",
        )
    return {name: ((layer, layers[layer]), norms[name]) for name, layer in found.items() if layer is not None}


def _fold(layer: Any, norm: Any) -> None:
    """Into weight and bias, computed in float64."""
    import torch

    factor = 1 / torch.sqrt(norm.running_var.double() + norm.eps)
    shift = -norm.running_mean.double()
    if layer.bias is not None:
        shift = shift + layer.bias.double()
    if norm.affine:
        factor = factor * norm.weight.double()
    bias = shift * factor
    if norm.affine:
        bias = bias + norm.bias.double()
    weight = layer.weight.double() * factor.reshape(-1, *[1] * (layer.weight.dim() - 1))
    layer.weight.copy_(weight)
    layer.bias = torch.nn.Parameter(bias.to(layer.weight.dtype))
