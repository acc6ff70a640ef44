"""The local bound of Avant and Morgansen (arXiv 2008.06141 and 2104.14672), in our words.

Each affine map with its ReLU has the constant `norm(R A D)`: D leaves out what does not move over the ball, R has for
each unit the largest slope of a secant through its nominal value. The row norms that R needs are taken with the squared
kernel in one pass, where the authors' programs push one unit vector per output through the layer; the numbers are the
same. With `steps`, norms are estimated by power iteration, as the authors do, which ends below the norm.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .network import Network
from .operators import exactly, masked, operator, power_iteration


def deviations(layer: nn.Module, moves: Tensor, epsilon: float) -> Tensor:
    """How far each pre-activation moves: epsilon times the norm of its row, over the columns that move."""
    if isinstance(layer, nn.Linear):
        squares = moves @ layer.weight.square().T
    else:
        squares = F.conv2d(moves, layer.weight.square(), stride=layer.stride, padding=layer.padding)
    return epsilon * squares.clamp(min=0).sqrt()


def slopes(nominal: Tensor, deviation: Tensor) -> Tensor:
    """The largest slope of a secant of the ReLU from the nominal value to one within the deviation."""
    below = torch.where(nominal + deviation > 0, (nominal + deviation) / deviation, torch.zeros_like(nominal))
    return torch.where(nominal > 0, torch.ones_like(nominal), below)


def overlap(pool: nn.MaxPool2d, like: Tensor) -> float:
    """The constant of a max pool: the root of the number of windows that one element is in, at most."""
    x = torch.zeros_like(like[:, :1])
    kernel, stride = pool.kernel_size, pool.stride
    columns = F.unfold(x, kernel, stride=stride)
    count = F.fold(torch.ones_like(columns), x.shape[2:], kernel, stride=stride)
    return float(count.max()) ** 0.5


def norm_of(layer: nn.Module, x: Tensor, rows: Tensor | float, columns: Tensor | float, steps: int | None) -> float:
    product = masked(operator(layer, x), rows, columns)
    return exactly(product) if steps is None else power_iteration(product, steps)


@torch.no_grad()
def bound(network: Network, epsilon: float, steps: int | None) -> float:
    """The product of the layers' constants over the ball; `steps` of power iteration, or None for exact norms."""
    x, total = network.input, 1.0
    epsilon = epsilon / network.deviation
    moves = torch.ones_like(x)
    layers = list(network.layers)
    for place, layer in enumerate(layers):
        if isinstance(layer, nn.ReLU):
            continue
        constant = 1.0
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nominal = layer(x)
            if place + 1 < len(layers) and isinstance(layers[place + 1], nn.ReLU):
                deviation = deviations(layer, moves, epsilon)
                constant = norm_of(layer, x, slopes(nominal, deviation), moves, steps)
                x = nominal.relu()
                moves = (nominal + deviation > 0).to(x)
            else:
                constant = norm_of(layer, x, 1.0, moves, steps)
                x, moves = nominal, torch.ones_like(nominal)
        elif isinstance(layer, nn.MaxPool2d):
            constant = overlap(layer, x)
            x, moves = layer(x), layer(moves)
        else:
            x, moves = layer(x), layer(moves)
        epsilon, total = epsilon * constant, total * constant
    return total / network.deviation
