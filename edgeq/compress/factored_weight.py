"""Symmetric weights as products, trained by their factors: parametrizations of torch that are taken off again.

A kernel is a stack of square matrices over its channels, one for each of its places; a linear layer has one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["FORMS", "Eigen", "Ldl", "is_factored", "take_factors_off", "train_by_factors"]


class Eigen(nn.Module):
    """``V diag(l) V^T`` with half as many columns in V as the matrix has: about half the values of the matrix."""

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """V [..., N, (N + 1) / 2] and l [..., (N + 1) / 2]: of the mean of a matrix and its transpose, the eigenvalues
        that are largest in size."""
        matrices = _matrices(weight)
        values, vectors = torch.linalg.eigh((matrices + matrices.mT) / 2)
        count = (values.shape[-1] + 1) // 2
        order = values.abs().argsort(-1, descending=True)[..., :count]
        kept = vectors.gather(-1, order[..., None, :].expand(*vectors.shape[:-1], count))
        return kept.to(weight.dtype).contiguous(), values.gather(-1, order).to(weight.dtype)

    def forward(self, vectors: Tensor, values: Tensor) -> Tensor:
        return _weight(vectors * values[..., None, :] @ vectors.mT)


class Ldl(nn.Module):
    """``L diag(d) L^T`` with L lower triangular and 1 on its diagonal."""

    largest = 2.0

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """L [..., N, N], of which what is below the diagonal counts, and d [..., N], of the mean of a matrix and its
        transpose.

        Pivots so small that L would have an entry above 2 are made larger: training steps through a large L are too
        long. The product then differs from the mean, though on its diagonal only (as in a modified Cholesky).
        """
        matrices = _matrices(weight)
        rest = (matrices + matrices.mT) / 2
        size = rest.shape[-1]
        least = torch.finfo(torch.float32).eps * rest.abs().amax((-2, -1)).clamp_min(1e-30)
        lower, pivots = torch.eye(size, dtype=rest.dtype).expand_as(rest).clone(), []
        for step in range(size):
            pivot = rest[..., step, step]
            below = rest[..., step:, step].abs()
            below[..., 0] = least
            magnitude = torch.maximum(pivot.abs(), below.amax(-1) / self.largest)
            pivot = torch.where(pivot < 0, -1.0, 1.0) * magnitude
            column = rest[..., :, step] / pivot[..., None]
            lower[..., step + 1 :, step] = column[..., step + 1 :]
            rest = rest - pivot[..., None, None] * column[..., :, None] * column[..., None, :]
            pivots.append(pivot)
        return lower.to(weight.dtype), torch.stack(pivots, -1).to(weight.dtype)

    def forward(self, lower: Tensor, diagonal: Tensor) -> Tensor:
        ones = torch.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device)
        left = lower.tril(-1) + ones
        return _weight(left * diagonal[..., None, :] @ left.mT)


FORMS: dict[str, type[Eigen] | type[Ldl]] = {"eigen": Eigen, "ldl": Ldl}


def train_by_factors(layer: nn.Module, form: str) -> None:
    """Let a layer with as many inputs as outputs compute its weight from factors, which start from it."""
    parametrize.register_parametrization(layer, "weight", FORMS[form](), unsafe=True)


def take_factors_off(layer: nn.Module) -> None:
    """Put the product in place of the factors."""
    if is_factored(layer):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def is_factored(layer: nn.Module) -> bool:
    """Whether a layer computes its weight from factors."""
    return parametrize.is_parametrized(layer, "weight")


def _matrices(weight: Tensor) -> Tensor:
    """[..., N, N] in float64 of [N, N] or [N, N, KH, KW]."""
    moved = weight.detach().double()
    return moved if moved.dim() == 2 else moved.permute(2, 3, 0, 1)


def _weight(matrices: Tensor) -> Tensor:
    return matrices if matrices.dim() == 2 else matrices.permute(2, 3, 0, 1)
