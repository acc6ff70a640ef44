"""LipSDP with one multiplier for each neuron (Fazlyab et al., NeurIPS 2019, arXiv 1906.04893), in our words, on CVXPY.

A unit with secant slopes in [low, high] has `dz = c dv + e` with `|e| <= d |dv|`, c the middle and d the half-width. All
pre-activations dv and the output dy are then linear in (dx, e), and `|dy|^2 <= rho |dx|^2` follows from

    rho |dx|^2 + sum lambda (e^2 - d^2 dv^2) - |dy|^2 >= 0   for all (dx, e),   lambda >= 0,

a linear matrix inequality in rho and lambda. Slopes [0, 1] give the global constant, those over a ball a local one. A
unit of one slope has no e. What the solver returns is not trusted: rho is computed anew from its lambda.
"""

import contextlib
from dataclasses import dataclass

import cvxpy as cp
import numpy as np

Slopes = list[tuple[np.ndarray, np.ndarray]]

# Up to this size Clarabel's interior point method is the faster solver; beyond, SCS.
INTERIOR = 60

# How near to the optimum SCS is to come; it is also taken where Clarabel gives up.
PRECISELY = {"eps_abs": 1e-6, "eps_rel": 1e-6, "max_iters": 20000}


@dataclass
class Increments:
    """The uncertain pre-activations, and the output, as matrices on (dx, e); half-widths of the uncertain slopes."""

    units: np.ndarray
    output: np.ndarray
    half: np.ndarray
    inputs: int


def global_slopes(weights: list[np.ndarray]) -> Slopes:
    return [(np.zeros(len(weight)), np.ones(len(weight))) for weight in weights[:-1]]


def increments(weights: list[np.ndarray], slopes: Slopes) -> Increments:
    # Only the part of dx in the row space of the first matrix matters, and it is no longer than dx.
    first = np.linalg.qr(weights[0].T, mode="r").T if weights[0].shape[1] > len(weights[0]) else weights[0]
    chain, inputs = [first, *weights[1:]], first.shape[1]
    uncertain = [np.flatnonzero(high > low) for low, high in slopes]
    size = inputs + sum(map(len, uncertain))
    reached = np.eye(inputs, size)
    rows, halves, place = [], [], inputs
    for weight, (low, high), loose in zip(chain[:-1], slopes, uncertain, strict=True):
        units = weight @ reached
        rows.append(units[loose])
        halves.append((high - low)[loose] / 2)
        reached = ((low + high) / 2)[:, None] * units
        reached[loose, place + np.arange(len(loose))] = 1
        place += len(loose)
    units = np.concatenate([*rows, np.zeros((0, size))])
    return Increments(units, chain[-1] @ reached, np.concatenate([*halves, []]), inputs)


def rho_of(made: Increments, multipliers: np.ndarray) -> float:
    """The least rho that goes with the multipliers, or infinity where there is none."""
    scaled = np.sqrt(multipliers) * made.half
    matrix = (scaled[:, None] * made.units).T @ (scaled[:, None] * made.units) + made.output.T @ made.output
    n = made.inputs
    inner = np.diag(multipliers) - matrix[n:, n:]
    if len(multipliers) > 0:
        try:
            root = np.linalg.cholesky(inner)
        except np.linalg.LinAlgError:
            return np.inf
        tall = np.linalg.solve(root, matrix[n:, :n])
        return float(np.linalg.eigvalsh(matrix[:n, :n] + tall.T @ tall).max())
    return float(np.linalg.eigvalsh(matrix[:n, :n]).max())


def solve(made: Increments) -> np.ndarray:
    """Multipliers by a solver of cones."""
    size, count = made.units.shape[1], len(made.half)
    multipliers, rho = cp.Variable(count, nonneg=True), cp.Variable()
    scaled = made.half[:, None] * made.units
    diagonal = cp.diag(cp.hstack([rho * np.ones(made.inputs), multipliers]))
    matrix = diagonal - scaled.T @ cp.diag(multipliers) @ scaled - made.output.T @ made.output
    problem = cp.Problem(cp.Minimize(rho), [(matrix + matrix.T) / 2 >> 0])
    solved = False
    if size <= INTERIOR:
        with contextlib.suppress(cp.SolverError):
            problem.solve(solver=cp.CLARABEL)
            solved = True
    if not solved:
        problem.solve(solver=cp.SCS, **PRECISELY)
    if multipliers.value is None:
        raise RuntimeError(f"the solver ended with status {problem.status}")
    return np.maximum(multipliers.value, 0)


def bound(weights: list[np.ndarray], slopes: Slopes) -> float:
    """A constant of the network with the given slopes: of the optimum, as far as the solver comes."""
    # Matrices of norm one are what solvers like; the constant is homogeneous in each.
    norms = [float(np.linalg.norm(weight, 2)) for weight in weights]
    made = increments([weight / norm for weight, norm in zip(weights, norms, strict=True)], slopes)
    if len(made.half) == 0:
        return float(np.linalg.norm(made.output, 2)) * float(np.prod(norms))
    multipliers = solve(made)
    # The solver stops near the cone, at times outside: larger multipliers lead back into it.
    tries = [0.0, *np.logspace(-9, 0, 19)]
    least = min(
        rho_of(made, multipliers * (1 + more) + less) for more in tries for less in (0.0, 1e-8 * multipliers.max())
    )
    return float(np.sqrt(least)) * float(np.prod(norms))
