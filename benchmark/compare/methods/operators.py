"""Linear maps between tensors, and their norms: by power iteration, by singular values, densely."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Map = Callable[[Tensor], Tensor]


@dataclass
class Operator:
    """A linear map, its adjoint, and the shapes that they take; one example each, with a batch dimension."""

    forward: Map
    adjoint: Map
    shape: torch.Size
    out: torch.Size
    dtype: torch.dtype


def operator(layer: nn.Module, like: Tensor) -> Operator:
    """The linear part of an affine layer, for inputs like `like`."""
    if isinstance(layer, nn.Linear):
        weight = layer.weight
        return Operator(
            lambda x: x @ weight.T, lambda y: y @ weight, like.shape, torch.Size([1, len(weight)]), like.dtype
        )
    if not isinstance(layer, nn.Conv2d):
        raise TypeError(f"{type(layer).__name__} is no affine layer")
    stride, padding = layer.stride, layer.padding

    def forward(x: Tensor) -> Tensor:
        return F.conv2d(x, layer.weight, stride=stride, padding=padding)

    # What the stride leaves over at the far side has no gradient, but is not to be cut off with the padding either.
    out = forward(like).shape
    rest = [like.shape[2 + i] + 2 * padding[i] - layer.kernel_size[i] - (out[2 + i] - 1) * stride[i] for i in range(2)]

    def adjoint(y: Tensor) -> Tensor:
        return F.conv_transpose2d(y, layer.weight, stride=stride, padding=padding, output_padding=rest)

    return Operator(forward, adjoint, like.shape, out, like.dtype)


def masked(inner: Operator, rows: Tensor | float, columns: Tensor | float) -> Operator:
    """`diag(rows) A diag(columns)`."""
    return Operator(
        lambda x: rows * inner.forward(columns * x),
        lambda y: columns * inner.adjoint(rows * y),
        inner.shape,
        inner.out,
        inner.dtype,
    )


def power_iteration(of: Operator, steps: int = 100, tolerance: float = 0.0) -> float:
    """An estimate from below: the norm of A v after some steps, or as soon as it changes by less than `tolerance` of it."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(of.shape, generator=generator, dtype=of.dtype)
    norm = 0.0
    for _ in range(steps):
        y = of.forward(x / x.norm())
        before, norm = norm, float(y.norm())
        if norm == 0 or abs(norm - before) <= tolerance * norm:
            break
        x = of.adjoint(y)
    return norm


def by_svds(of: Operator) -> float:
    """The largest singular value by SciPy's ARPACK, in double precision to its default tolerance."""
    from scipy.sparse.linalg import LinearOperator, svds

    def vector(values: np.ndarray, shape: torch.Size) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).reshape(shape)

    matrix = LinearOperator(
        (of.out.numel(), of.shape.numel()),
        matvec=lambda v: of.forward(vector(v, of.shape)).flatten().numpy(),
        rmatvec=lambda v: of.adjoint(vector(v, of.out)).flatten().numpy(),
        dtype=np.float64,
    )
    (norm,) = svds(matrix, k=1, return_singular_vectors=False, random_state=np.random.default_rng(0))
    return float(norm)


def densely(of: Operator) -> Tensor:
    """The matrix: what becomes of the unit vectors, in batches."""
    unit = torch.eye(of.shape.numel(), dtype=of.dtype)
    parts = [of.forward(part.reshape(-1, *of.shape[1:])).flatten(1) for part in unit.split(256)]
    return torch.cat(parts).T


def by_gram_matrix(of: Operator) -> float:
    """The root of the largest eigenvalue of the Gram matrix; of the smaller of the two."""
    matrix = densely(of)
    gram = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
    return float(torch.linalg.eigvalsh(gram).max().sqrt())


def exactly(of: Operator, dense: int = 2500) -> float:
    """The norm to the rounding of double precision, or to the tolerance of ARPACK where a matrix would be large."""
    small = min(of.shape.numel(), of.out.numel()) <= dense and of.shape.numel() * of.out.numel() <= 2e7
    return by_gram_matrix(of) if small else by_svds(of)
