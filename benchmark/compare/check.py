"""Checks our versions of the methods of others against dense linear algebra: python check.py [FOLDER].

Prints a line of JSON for each check. FOLDER, if given, has the network and digit of the authors of arXiv 2104.14672, with
values of their bound that were computed densely and those that they published.
"""

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from methods import attack, convolution, lipsdp, operators, papers, product
from methods.network import Network

Outcome = tuple[str, bool]

torch.set_num_threads(1)


def close(a: float, b: float, tolerance: float) -> bool:
    return abs(a - b) <= tolerance * abs(b)


def norm(matrix: np.ndarray) -> float:
    return float(np.linalg.norm(matrix, 2))


def linear(weight: np.ndarray | Tensor, bias: np.ndarray | Tensor | None = None) -> nn.Linear:
    weight = torch.as_tensor(weight)
    module = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    bias = torch.zeros(len(weight), dtype=weight.dtype) if bias is None else torch.as_tensor(bias)
    module.weight, module.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)
    return module


def of_lipsdp(random: np.random.Generator) -> Iterator[Outcome]:
    one, two, three = (random.normal(size=shape) for shape in ((5, 7), (4, 5), (3, 4)))
    yield "LipSDP of an affine map is its norm", close(lipsdp.bound([one], []), norm(one), 1e-12)
    column, row = random.normal(size=(1, 6)), random.normal(size=(4, 1))
    exact = norm(column) * norm(row)
    found = lipsdp.bound([column, row], lipsdp.global_slopes([column, row]))
    yield "LipSDP of one unit is the product of two norms", exact * (1 - 1e-12) <= found <= exact * (1 + 1e-4)
    stable = [(np.array(s, float), np.array(s, float)) for s in ([1, 0, 1, 1, 0], [0, 1, 1, 1])]
    inside = three @ np.diag(stable[1][0]) @ two @ np.diag(stable[0][0]) @ one
    yield "LipSDP of stable units is the norm of a product", close(
        lipsdp.bound([one, two, three], stable), norm(inside), 1e-12
    )
    weights = [one, two, three]
    found = lipsdp.bound(weights, lipsdp.global_slopes(weights))
    patterns = itertools.product(*(itertools.product([0.0, 1.0], repeat=len(weight)) for weight in weights[:-1]))
    attained = max(norm(three @ np.diag(b) @ two @ np.diag(a) @ one) for a, b in patterns)
    yield "LipSDP is between all patterns and the product", attained <= found <= np.prod([norm(w) for w in weights])
    made = lipsdp.increments(weights, lipsdp.global_slopes(weights))
    yield "LipSDP takes no multipliers that prove nothing", lipsdp.rho_of(made, np.zeros(len(made.half))) == np.inf


def of_convolutions(random: np.random.Generator) -> Iterator[Outcome]:
    weight = random.normal(size=(4, 3, 3, 3))
    tensor = torch.from_numpy(weight)
    exact = norm(convolution.circulant(weight, 7))
    yield "Fourier gives the norm of the circulant", close(convolution.by_fourier(tensor, 7, 7), exact, 1e-12)
    steps = [convolution.by_gram(tensor, 7, 7, steps) for steps in range(9)]
    yield "Gram iteration is never below the circulant", all(step >= exact * (1 - 1e-12) for step in steps)
    yield "Gram iteration comes down to it", steps == sorted(steps, reverse=True) and close(steps[-1], exact, 1e-2)
    for stride, padding, size in ((1, 1, [3, 7, 7]), (2, 0, [3, 8, 8]), (3, 2, [3, 9, 8])):
        of = convolution.padded(tensor, stride, padding, size)
        matrix = operators.densely(of)
        dense = norm(matrix.numpy())
        name = f"stride {stride}, padding {padding}"
        y = torch.from_numpy(random.normal(size=of.out))
        adjoint = (matrix.T @ y.flatten() - of.adjoint(y).flatten()).norm()
        yield f"the adjoint of a convolution, {name}", float(adjoint) < 1e-12 * dense * float(y.norm())
        yield f"norms by svds and Gram matrix, {name}", all(
            close(found, dense, 1e-10) for found in (operators.by_svds(of), operators.by_gram_matrix(of))
        )
        power = operators.power_iteration(of, 300)
        yield f"power iteration ends at or below the norm, {name}", dense * 0.99 <= power <= dense * (1 + 1e-12)
        if stride == 1:
            above = convolution.by_fourier(tensor, size[1] + 2 * padding, size[2] + 2 * padding)
            yield f"the circulant of the padded size is above, {name}", above >= dense


def of_bounds(random: np.random.Generator) -> Iterator[Outcome]:
    one, two = random.normal(size=(6, 5)), random.normal(size=(3, 6))
    bias, x = random.normal(size=6), random.normal(size=(1, 5))
    network = Network(nn.Sequential(linear(one, bias), nn.ReLU(), linear(two)), torch.from_numpy(x), 0.5)
    epsilon = 0.7
    # The theorem, unit by unit: deviation, slope, and what moves.
    nominal = one @ x[0] + bias
    deviation = epsilon / 0.5 * np.linalg.norm(one, axis=1)
    highest = [1.0 if v > 0 else max(0.0, (v + d) / d) for v, d in zip(nominal, deviation, strict=True)]
    moves = np.array([float(v + d > 0) for v, d in zip(nominal, deviation, strict=True)])
    exact = norm(np.diag(highest) @ one) * norm(two @ np.diag(moves)) / 0.5
    yield "the papers' bound is the theorem", close(papers.bound(network, epsilon, None), exact, 1e-12)
    whole = norm(one) * norm(two) / 0.5
    yield "the product of norms", close(product.bound(network, None), whole, 1e-12)
    pool = nn.MaxPool2d(3, 2)
    yield "windows of 3 with stride 2 meet four times", papers.overlap(pool, torch.zeros(1, 2, 7, 7)) == 2.0
    found = attack.attained(network, epsilon)
    yield "what is attained is below the bound", 0 < found["centred"] <= exact and found["uniform"] <= whole
    flat = Network(nn.Sequential(linear(two), linear(np.eye(3))), torch.from_numpy(random.normal(size=(1, 6))), 1.0)
    reached = attack.attained(flat, 0.1)
    yield "an affine map attains its norm, and no more", all(
        (1 - 1e-6) * norm(two) <= value <= norm(two) for value in reached.values()
    )


def of_the_authors(folder: Path) -> Iterator[Outcome]:
    from safetensors.torch import load_file

    tensors = load_file(folder / "lenet.safetensors")
    curve = json.loads((folder / "expected.json").read_text())["curve"]

    def network(dtype: torch.dtype) -> Network:
        def conv(name: str) -> nn.Conv2d:
            module = convolution.layer(tensors[f"{name}.weight"].to(dtype), 1, 0)
            module.bias = nn.Parameter(tensors[f"{name}.bias"].to(dtype), requires_grad=False)
            return module

        def dense(name: str) -> nn.Linear:
            return linear(tensors[f"{name}.weight"].to(dtype), tensors[f"{name}.bias"].to(dtype))

        layers: list[nn.Module] = []
        for name in ("conv1", "conv2"):
            layers += [conv(name), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Flatten(), dense("fc1"), nn.ReLU(), dense("fc2"), nn.ReLU(), dense("fc3")]
        x = torch.from_numpy(np.load(folder / "eight.npy")).to(dtype).reshape(1, 1, 28, 28)
        return Network(nn.Sequential(*layers), x, 1.0)

    exactly, single = network(torch.float64), network(torch.float32)
    for point in (curve[0], curve[len(curve) // 2]):
        epsilon = point["epsilon"]
        found = papers.bound(exactly, epsilon, None)
        yield f"the authors' network at {epsilon}, norms to the end", close(found, point["exact"], 1e-6)
        found = papers.bound(single, epsilon, 100)
        yield f"the authors' network at {epsilon}, power iteration", close(found, point["published"], 8e-3)


def main() -> None:
    random = np.random.default_rng(1)
    checks = [of_lipsdp(random), of_convolutions(random), of_bounds(random)]
    if len(sys.argv) > 1:
        checks.append(of_the_authors(Path(sys.argv[1])))
    for name, holds in itertools.chain(*checks):
        print(json.dumps({"name": name, "holds": bool(holds)}), flush=True)


main()
