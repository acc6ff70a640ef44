"""What is attained: ratios and Jacobians at points that were visited. Every true constant is at least this.

What rounding may have added is taken off: the magnitudes of all products, added up, times the roundings that a value has
seen. So a bound below what is told here is wrong, however little.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .network import Network

STEPS = 60
ROUNDOFF = 2.0**-53


def jacobian(network: Network, x: Tensor) -> Tensor:
    """The Jacobian at a point, one row for each output."""
    x = x.detach().requires_grad_()
    y = network.layers(x).flatten()
    rows = [torch.autograd.grad(value, x, retain_graph=True)[0].flatten() for value in y]
    return torch.stack(rows)


def magnitudes(network: Network, x: Tensor, biases: bool) -> tuple[Tensor, int]:
    """What the network makes of `x` with all coefficients by their magnitudes, and how often a value is rounded."""
    roundings = 0
    for layer in network.layers:
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            bias = layer.bias.abs() if biases else None
            weight = layer.weight.abs()
            roundings += weight[0].numel() + 2
            if isinstance(layer, nn.Linear):
                x = F.linear(x, weight, bias)
            else:
                x = F.conv2d(x, weight, bias, stride=layer.stride, padding=layer.padding)
        elif isinstance(layer, nn.MaxPool2d):
            x = F.avg_pool2d(x, layer.kernel_size, layer.stride) * layer.kernel_size**2
            roundings += layer.kernel_size**2
        elif not isinstance(layer, nn.ReLU):
            x = layer(x)
    return x, roundings


def error_of_values(network: Network, reach: float) -> float:
    """What the computed outputs may be off, for inputs within `reach` of the centre in every element."""
    size, roundings = magnitudes(network, network.input.abs() + reach, biases=True)
    return 2 * roundings * ROUNDOFF * float(size.detach().norm())


def error_of_jacobians(network: Network) -> float:
    """What the norm of a computed Jacobian may be off, by the largest sums of rows and columns of magnitudes."""
    ones = torch.ones_like(network.input).requires_grad_()
    rows, roundings = magnitudes(network, ones, biases=False)
    (columns,) = torch.autograd.grad(rows.sum(), ones)
    size = float(rows.detach().max()) ** 0.5 * float(columns.max()) ** 0.5
    return 2 * (2 * roundings + network.input.numel()) * ROUNDOFF * size


def ascend(network: Network, start: Tensor, epsilon: float, of_norm: bool) -> Tensor:
    """The best point of a gradient ascent on the ratio, or on the movement itself, that stays in the ball."""
    nominal = network.layers(network.input).detach()
    step, best, where = start, 0.0, start
    for turn in range(STEPS):
        step = step.detach().requires_grad_()
        moved = (network.layers(network.input + step) - nominal).norm()
        value = moved if of_norm else moved / step.norm()
        if float(value.detach()) > best:
            best, where = float(value.detach()), step.detach()
        (gradient,) = torch.autograd.grad(value, step)
        if not float(gradient.norm()) > 0:
            break
        step = step.detach() + epsilon / (4 + turn) * gradient / gradient.norm()
        step = step * min(1.0, epsilon / float(step.norm()))
    return network.input + where


def attained(network: Network, epsilon: float) -> dict[str, float]:
    """The largest ratio from the centre, the largest Jacobian, and the largest movement over epsilon, that were found."""
    torch.manual_seed(0)
    x, epsilon = network.input, epsilon / network.deviation
    nominal = network.layers(x).detach()
    value_error, jacobian_error = error_of_values(network, epsilon), error_of_jacobians(network)
    whole = torch.linalg.svd(jacobian(network, x), full_matrices=False)
    top = whole.Vh[0].reshape(x.shape)
    found = {"centred": 0.0, "uniform": float(whole.S[0]) - jacobian_error, "movement": 0.0}
    for direction in (top, -top, torch.randn_like(x)):
        for length, of_norm in ((1.0, True), (1.0, False), (0.3, False), (0.01, False)):
            start = direction * (length * epsilon / float(direction.norm()))
            point = ascend(network, start, epsilon * (1 - 1e-9), of_norm)
            moved = float((network.layers(point) - nominal).norm().detach()) * (1 - 1e-12) - 2 * value_error
            found["movement"] = max(found["movement"], moved / epsilon)
            found["centred"] = max(found["centred"], moved / float((point - x).norm()))
            norm = float(torch.linalg.matrix_norm(jacobian(network, point), 2)) - jacobian_error
            found["uniform"] = max(found["uniform"], norm * (1 - 1e-12))
    found["uniform"] = max(found["uniform"], found["centred"])
    return {kind: value / network.deviation for kind, value in found.items()}
