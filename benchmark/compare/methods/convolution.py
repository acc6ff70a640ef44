"""Norms of convolutions: with zero padding, and of the circulant that circular padding makes.

A convolution with zero padding p of an image of n x n is a part of the circulant on a grid of n + 2p: its norm is at
most that of the circulant. On a grid of n, which is what circular padding means, that need not be so: it is another map.
"""

import numpy as np
import torch
from torch import Tensor, nn

from .operators import Operator, operator


def layer(weight: Tensor, stride: int, padding: int) -> nn.Conv2d:
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], tuple(weight.shape[2:]), stride, padding, bias=False)
    conv.weight = nn.Parameter(weight, requires_grad=False)
    return conv


def padded(weight: Tensor, stride: int, padding: int, shape: list[int]) -> Operator:
    """The convolution as it is, with zero padding."""
    return operator(layer(weight, stride, padding), torch.zeros(1, *shape, dtype=weight.dtype))


def symbols(weight: Tensor, height: int, width: int) -> Tensor:
    """The blocks of the circulant on a grid: one matrix from channels to channels for each frequency."""
    transform = torch.fft.fft2(weight, s=(height, width))
    return transform.permute(2, 3, 0, 1).reshape(-1, *weight.shape[:2])


def by_fourier(weight: Tensor, height: int, width: int) -> float:
    """The norm of the circulant: the largest singular value of a block (Sedghi, Gupta and Long, ICLR 2019)."""
    return float(torch.linalg.matrix_norm(symbols(weight, height, width), 2).max())


def by_gram(weight: Tensor, height: int, width: int, steps: int = 6) -> float:
    """An upper bound of it: Frobenius norms of repeated Gram matrices (Delattre et al., ICML 2023), in our words.

    The Frobenius norm of a matrix is at least its spectral norm, and taking G^H G squares the latter; so does every step,
    and the root undoes it. Matrices are scaled to norm one before each step, and the logarithms of the scales are kept.
    """
    blocks = symbols(weight, height, width)
    logarithm = torch.zeros(len(blocks), dtype=weight.dtype)
    for step in range(steps + 1):
        norms = torch.linalg.matrix_norm(blocks, "fro")
        logarithm += norms.log() / 2**step
        if step < steps:
            blocks = blocks / norms[:, None, None]
            blocks = blocks.mH @ blocks
    return float(logarithm.max().exp())


def circulant(weight: np.ndarray, size: int) -> np.ndarray:
    """The matrix of the convolution with circular padding, entry by entry; for tests."""
    out, channels, height, width = weight.shape
    matrix = np.zeros((out, size, size, channels, size, size))
    for row, column, i, j in np.ndindex(size, size, height, width):
        matrix[:, row, column, :, (row + i) % size, (column + j) % size] += weight[:, :, i, j]
    return matrix.reshape(out * size * size, -1)
