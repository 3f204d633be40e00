"""Matrices and kernels as products of smaller ones: truncated SVD and Tucker-2. In float64, nothing of networks.

All of them are best approximations in the Frobenius norm, or, for Tucker-2, near one.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["balanced", "singular_values", "svd_factors", "tucker2"]

ITERATIONS = 5


def singular_values(matrix: Tensor) -> Tensor:
    """Of matrices [..., M, N], falling, float64 [..., min(M, N)]."""
    values: Tensor = torch.linalg.svdvals(matrix.double())
    return values


def svd_factors(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The best product of two factors of so many columns, the singular values shared between them by their root.

    Args:
        matrix: [..., M, N].
        rank: R, up to min(M, N).

    Returns:
        ``U S^1/2`` [..., M, R] and ``S^1/2 V^T`` [..., R, N], float64.
    """
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    root = values[..., :rank].sqrt()
    return left[..., :rank] * root[..., None, :], root[..., :, None] * right[..., :rank, :]


def tucker2(kernel: Tensor, ranks: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """A kernel as a core between two matrices over its channels: a truncated HOSVD, bettered by HOOI.

    Its squared error is between the larger and the sum of what the two truncations leave out; with full ranks it is 0.

    Args:
        kernel: [O, I, KH, KW].
        ranks: of the output and input channels, (RO, RI).

    Returns:
        The matrix [O, RO] with orthonormal columns, the core [RO, RI, KH, KW] and the matrix [RI, I] with orthonormal
        rows, float64.

    Source: Kim et al. 2016, arXiv:1511.06530, section 3.2; De Lathauwer et al. 2000, "On the best rank-1 and
    rank-(R1, ..., RN) approximation", algorithm 4.2.
    """
    kernel = kernel.double()
    into = _leading(kernel.transpose(0, 1), ranks[1])
    for _ in range(ITERATIONS):
        out = _leading(torch.einsum("oihw,ir->orhw", kernel, into), ranks[0])
        into = _leading(torch.einsum("oihw,or->rihw", kernel, out).transpose(0, 1), ranks[1])
    core = torch.einsum("oihw,or,is->rshw", kernel, out, into)
    return out, core, into.T


def balanced(*factors: Tensor) -> list[Tensor]:
    """The same product of factors, each with the same Frobenius norm, so that a step of training moves all alike."""
    norms = torch.stack([factor.norm() for factor in factors])
    if not bool((norms > 0).all()):
        return list(factors)
    mean = norms.log().mean().exp()
    return [factor * (mean / norm) for factor, norm in zip(factors, norms, strict=True)]


def _leading(tensor: Tensor, rank: int) -> Tensor:
    """The first left singular vectors of a tensor unfolded along its first axis: [N, R]."""
    rows = tensor.reshape(tensor.shape[0], -1)
    vectors: Tensor = torch.linalg.eigh(rows @ rows.T).eigenvectors  # rising
    return vectors[:, -rank:].flip(1)
