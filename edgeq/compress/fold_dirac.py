"""Folding: weights that were computed from other parameters become plain ones, which the periodic term can pull."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from edgeq.compress.method import Context, Method
from edgeq.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FoldDirac"]

IMAGES = 32
LARGEST_ERROR = 1e-5


@dataclass(frozen=True, kw_only=True)
class FoldDirac(Method):
    """Fold Dirac weights into plain convolutions; the outputs before and after are compared.

    Source: Zagoruyko and Komodakis 2017, arXiv:1706.00388, section 3.
    """

    name: ClassVar[str] = "fold-dirac"

    def apply(self, model: nn.Module, context: Context) -> None:
        import torch

        from edgeq.models.fold import fold_weights

        images, _ = context.images(IMAGES)
        with torch.no_grad():
            before = model(images)
            if not fold_weights(model):
                raise ModelError(
                    "the network has no weights to fold", where=f"compress {self.name}", got=context.recipe.model,
                    wanted="a network with Dirac weights, such as diracnet16_1",
                )  # fmt: skip
            error = float((model(images) - before).abs().max() / before.abs().max())
        if not error <= LARGEST_ERROR:
            raise ModelError(
                "folding changed the outputs", where=f"compress {self.name}",
                got=f"a relative difference of {error:.2g}", wanted=f"at most {LARGEST_ERROR:g}",
            )  # fmt: skip
